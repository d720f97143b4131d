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

/// `kubectl --as`: for those who may do everything anyway.
fn impersonate(user: UserInfo, headers: &HeaderMap) -> Result<UserInfo, ApiError> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().filter_map(text).collect();
    let Some(name) = headers.get("impersonate-user").and_then(text) else {
        if !groups.is_empty() || headers.contains_key("impersonate-uid") {
            return Err(ApiError::bad_request("requested impersonation without impersonating a user"));
        }
        return Ok(user);
    };
    if !user.in_group(MASTERS) {
        let why = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            user.name
        );
        return Err(ApiError::new(Reason::Forbidden, why));
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).filter(|g| *g != AUTHENTICATED).collect();
    if name == crate::user::ANONYMOUS {
        return Ok(UserInfo::anonymous());
    }
    Ok(UserInfo::new(name, &groups))
}
