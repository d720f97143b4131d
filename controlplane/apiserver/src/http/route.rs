//! What a path means. Pure.

use percent_encoding::percent_decode_str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`, `/livez`, `/readyz`, and one check of them.
    Health {
        endpoint: String,
        check: Option<String>,
    },
    Version,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`
    Resources {
        group: String,
        version: String,
    },
    /// Everything below `/openapi/`.
    OpenApi(String),
    JsonWebKeys,
    OpenIdConfiguration,
    Resource(Target),
    Unknown,
}

/// A resource, an object, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub plural: String,
    pub name: String,
    pub subresource: String,
}

/// `None` where the path is not text once unescaped.
pub fn route(path: &str) -> Option<Route> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        let part = percent_decode_str(part).decode_utf8().ok()?;
        // An escaped slash would reach another object's key.
        if part.contains(['/', '\0']) {
            return None;
        }
        parts.push(part.into_owned());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Some(match parts.as_slice() {
        [endpoint @ ("healthz" | "livez" | "readyz")] => Route::Health { endpoint: (*endpoint).into(), check: None },
        [endpoint @ ("healthz" | "livez" | "readyz"), check] => {
            Route::Health { endpoint: (*endpoint).into(), check: Some((*check).into()) }
        }
        ["version"] => Route::Version,
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).into()),
        ["api", version] => Route::Resources { group: String::new(), version: (*version).into() },
        ["apis", group, version] => Route::Resources { group: (*group).into(), version: (*version).into() },
        ["openapi", rest @ ..] => Route::OpenApi(rest.join("/")),
        ["openid", "v1", "jwks"] => Route::JsonWebKeys,
        [".well-known", "openid-configuration"] => Route::OpenIdConfiguration,
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Route::Unknown,
    })
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Route {
    let target = |namespace: &str, plural: &str, name: &str, subresource: &str| {
        Route::Resource(Target {
            group: group.into(),
            version: version.into(),
            namespace: namespace.into(),
            plural: plural.into(),
            name: name.into(),
            subresource: subresource.into(),
        })
    };
    match rest {
        // A namespace's own parts look like resources in it; these two never are.
        ["namespaces", name, sub @ ("status" | "finalize")] => target("", "namespaces", name, sub),
        ["namespaces", namespace, plural] => target(namespace, plural, "", ""),
        ["namespaces", namespace, plural, name] => target(namespace, plural, name, ""),
        ["namespaces", namespace, plural, name, sub] => target(namespace, plural, name, sub),
        [plural] => target("", plural, "", ""),
        [plural, name] => target("", plural, name, ""),
        [plural, name, sub] => target("", plural, name, sub),
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(parts: [&str; 6]) -> Option<Route> {
        let [group, version, namespace, plural, name, subresource] = parts.map(str::to_owned);
        Some(Route::Resource(Target { group, version, namespace, plural, name, subresource }))
    }

    #[test]
    fn paths_mean_what_upstreams_mean() {
        let table = [
            ("/api/v1/pods", target(["", "v1", "", "pods", "", ""])),
            ("/api/v1/nodes/a/status", target(["", "v1", "", "nodes", "a", "status"])),
            ("/api/v1/namespaces", target(["", "v1", "", "namespaces", "", ""])),
            ("/api/v1/namespaces/a", target(["", "v1", "", "namespaces", "a", ""])),
            ("/api/v1/namespaces/a/status", target(["", "v1", "", "namespaces", "a", "status"])),
            ("/api/v1/namespaces/a/pods/b/log", target(["", "v1", "a", "pods", "b", "log"])),
            ("/apis/apps/v1/namespaces/a/deployments", target(["apps", "v1", "a", "deployments", "", ""])),
            ("/api/v1/namespaces/a/pods/%62", target(["", "v1", "a", "pods", "b", ""])),
            ("/api/v1/namespaces/a/pods/b%2Fc", None),
            ("/api/v1/namespaces/a/pods/%ff", None),
            ("/apis/apps", Some(Route::Group("apps".into()))),
            ("/", Some(Route::Unknown)),
            ("/api/v1/a/b/c/d/e/f", Some(Route::Unknown)),
            ("/readyz/ping", Some(Route::Health { endpoint: "readyz".into(), check: Some("ping".into()) })),
        ];
        for (path, expected) in table {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
