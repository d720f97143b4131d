//! The normal forms of values that are text in JSON and more than text to Kubernetes.

use crate::quantity::Quantity;
use crate::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// `1000m` → `1`.
pub fn quantity_text(text: &str) -> Result<String, String> {
    Quantity::parse(text.trim()).map(|q| q.to_string()).map_err(|e| e.to_string())
}

/// RFC 3339 in UTC.
pub fn time_text(text: &str, micro: bool) -> Result<String, String> {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let refused = || format!("parsing time {text:?} as {layout:?}: not an RFC 3339 time");
    // Go takes neither a space for the `T` nor a bracketed zone, which jiff would.
    if text.as_bytes().get(10) != Some(&b'T') || text.contains('[') {
        return Err(refused());
    }
    let at = time::parse(text).ok_or_else(refused)?;
    Ok(if micro { time::render_micro(at) } else { time::render(at) })
}

/// Checks base64, and drops the line breaks that Go allows in it.
pub fn base64_text(text: &str) -> Result<Cow<'_, str>, String> {
    let text: Cow<'_, str> = match text.contains(['\r', '\n']) {
        true => text.replace(['\r', '\n'], "").into(),
        false => text.into(),
    };
    match STANDARD.decode(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            // The library may look at the end first; Go names the first byte that cannot be.
            let foreign = |b: u8| !b.is_ascii_alphanumeric() && !b"+/=".contains(&b);
            let at = text.bytes().position(foreign).unwrap_or(at);
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", text.len() / 4 * 4)),
    }
}
