//! Who is asking: a client certificate, a bearer token, or nobody known.

use crate::registry::Registry;
use crate::user::{AUTHENTICATED, MASTERS, UserInfo};
use coracle_proto::ApiError;
use coracle_proto::status::Reason;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// `certificate` is who the connection's client certificate names, if it has shown one.
pub fn authenticate(
    registry: &Registry,
    certificate: Option<&UserInfo>,
    headers: &HeaderMap,
) -> Result<UserInfo, ApiError> {
    let user = match (certificate, headers.get(AUTHORIZATION)) {
        (Some(user), _) => user.clone(),
        (None, Some(value)) => {
            let token = value.to_str().ok().and_then(bearer).ok_or_else(unauthorised)?;
            registry.authenticate_token(token).ok_or_else(unauthorised)?
        }
        (None, None) => UserInfo::anonymous(),
    };
    impersonate(user, headers)
}

pub fn unauthorised() -> ApiError {
    ApiError::new(Reason::Unauthorized, "Unauthorized")
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whom the headers name, and the groups. What cannot be honoured is refused: the caller's own identity would be more.
fn wanted(headers: &HeaderMap) -> Result<Option<(&str, Vec<&str>)>, ApiError> {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for (header, value) in headers.iter().filter(|(header, _)| header.as_str().starts_with("impersonate-")) {
        let list = match header.as_str() {
            "impersonate-user" => &mut users,
            "impersonate-group" => &mut groups,
            other => return Err(ApiError::bad_request(format!("impersonation by {other} is not supported"))),
        };
        match value.to_str() {
            Ok(text) if !text.is_empty() => list.push(text),
            _ => return Err(ApiError::bad_request(format!("{header} is empty or no text"))),
        }
    }
    match users.as_slice() {
        [] if groups.is_empty() => Ok(None),
        [] => Err(ApiError::bad_request("requested impersonation without impersonating a user")),
        [user] => Ok(Some((user, groups))),
        _ => Err(ApiError::bad_request("requested impersonation of more than one user")),
    }
}

/// `kubectl --as`: for those who may do everything anyway.
fn impersonate(user: UserInfo, headers: &HeaderMap) -> Result<UserInfo, ApiError> {
    let Some((name, groups)) = wanted(headers)? else { return Ok(user) };
    if !user.in_group(MASTERS) {
        let why = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            user.name
        );
        return Err(ApiError::new(Reason::Forbidden, why));
    }
    let groups: Vec<&str> = groups.into_iter().filter(|g| *g != AUTHENTICATED).collect();
    if name == crate::user::ANONYMOUS {
        return Ok(UserInfo::anonymous());
    }
    Ok(UserInfo::new(name, &groups))
}
