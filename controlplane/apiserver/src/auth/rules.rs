//! What the built-in identities may do, in the manner of upstream's bootstrap roles. RBAC will add to this, not replace it.

use super::Attributes;
use crate::user::{AUTHENTICATED, CONTROLLER_MANAGER, MASTERS, SCHEDULER, UserInfo};
use coracle_proto::Tree;
use serde_json::json;

/// As an RBAC rule; `*` is everything.
struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    /// With the subresource: `pods/status`.
    resources: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
const STATUS: &[&str] = &["get", "update", "patch"];

/// All controllers share one process here, so one identity; still only what they do.
static CONTROLLER_RULES: [Rule; 13] = [
    // The garbage collector and the namespace controller look at everything, and remove it.
    Rule {
        verbs: &["get", "list", "watch", "delete", "deletecollection", "patch", "update"],
        groups: &["", "apps", "discovery.k8s.io", "coordination.k8s.io"],
        resources: &[
            "configmaps",
            "endpoints",
            "endpointslices",
            "leases",
            "persistentvolumeclaims",
            "pods",
            "replicasets",
            "deployments",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    },
    Rule {
        verbs: &["list", "watch", "delete", "deletecollection"],
        groups: &["events.k8s.io"],
        resources: &["events"],
    },
    Rule { verbs: WRITE, groups: &[""], resources: &["events"] },
    Rule { verbs: &["deletecollection"], groups: &[""], resources: &["events"] },
    Rule { verbs: &["get", "list", "watch", "delete", "update", "patch"], groups: &[""], resources: &["namespaces"] },
    Rule { verbs: &["update"], groups: &[""], resources: &["namespaces/finalize"] },
    Rule { verbs: STATUS, groups: &[""], resources: &["namespaces/status", "nodes/status", "pods/status"] },
    Rule { verbs: &["get", "list", "watch", "update", "patch", "delete"], groups: &[""], resources: &["nodes"] },
    Rule { verbs: &["create"], groups: &[""], resources: &["pods", "serviceaccounts", "configmaps", "endpoints"] },
    Rule { verbs: &["create"], groups: &["discovery.k8s.io"], resources: &["endpointslices"] },
    Rule { verbs: &["create"], groups: &["coordination.k8s.io"], resources: &["leases"] },
    Rule { verbs: &["create"], groups: &["apps"], resources: &["replicasets", "deployments"] },
    Rule {
        verbs: STATUS,
        groups: &["apps"],
        resources: &["deployments/status", "replicasets/status", "deployments/scale", "replicasets/scale"],
    },
];

static SCHEDULER_RULES: [Rule; 6] = [
    Rule {
        verbs: READ,
        groups: &[""],
        resources: &["nodes", "pods", "namespaces", "services", "persistentvolumes", "persistentvolumeclaims"],
    },
    Rule { verbs: READ, groups: &["apps"], resources: &["replicasets"] },
    Rule { verbs: &["create"], groups: &[""], resources: &["pods/binding", "bindings"] },
    Rule { verbs: &["delete"], groups: &[""], resources: &["pods"] },
    Rule { verbs: &["update", "patch"], groups: &[""], resources: &["pods/status"] },
    Rule { verbs: &["create", "update", "patch"], groups: &["", "events.k8s.io"], resources: &["events"] },
];

/// Everyone who is authenticated may ask about themselves.
static BASIC_RULES: [Rule; 2] = [
    Rule {
        verbs: &["create"],
        groups: &["authorization.k8s.io"],
        resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
    Rule { verbs: &["create"], groups: &["authentication.k8s.io"], resources: &["selfsubjectreviews"] },
];

const PUBLIC_PATHS: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
const DISCOVERY_PATHS: [&str; 8] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/openapi",
    "/openapi/*",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
];

fn rule_allows(rules: &[Rule], asked: &Attributes<'_>) -> bool {
    let resource = if asked.subresource.is_empty() {
        asked.resource.to_owned()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    let mut rules = rules.iter();
    rules.any(|r| {
        r.verbs.contains(&asked.verb) && r.groups.contains(&asked.group) && r.resources.contains(&resource.as_str())
    })
}

/// By name, for the components that come with the cluster.
fn own_rules(user: &UserInfo) -> &'static [Rule] {
    match user.name.as_str() {
        CONTROLLER_MANAGER => &CONTROLLER_RULES,
        SCHEDULER => &SCHEDULER_RULES,
        _ => &[],
    }
}

pub fn allows(user: &UserInfo, asked: &Attributes<'_>) -> bool {
    rule_allows(own_rules(user), asked) || (user.in_group(AUTHENTICATED) && rule_allows(&BASIC_RULES, asked))
}

/// Everything this user may do, as `SelfSubjectRulesReview` lists it. What the node authoriser would decide object by
/// object is left out.
pub fn listed(user: &UserInfo) -> (Vec<Tree>, Vec<Tree>) {
    if user.in_group(MASTERS) {
        let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        return (vec![everything], vec![json!({"verbs": ["*"], "nonResourceURLs": ["*"]})]);
    }
    let basic: &[Rule] = if user.in_group(AUTHENTICATED) { &BASIC_RULES } else { &[] };
    let one = |r: &Rule| json!({"verbs": r.verbs, "apiGroups": r.groups, "resources": r.resources});
    let mut paths = PUBLIC_PATHS.to_vec();
    if user.in_group(AUTHENTICATED) {
        paths.extend(DISCOVERY_PATHS);
    }
    let resources = own_rules(user).iter().chain(basic).map(one).collect();
    (resources, vec![json!({"verbs": ["get"], "nonResourceURLs": paths})])
}

/// Whether anyone may read this path.
fn public_path(path: &str) -> bool {
    PUBLIC_PATHS.contains(&path) || ["/healthz/", "/livez/", "/readyz/"].iter().any(|prefix| path.starts_with(prefix))
}

pub fn allows_path(user: &UserInfo, verb: &str, path: &str) -> bool {
    if verb != "get" && verb != "head" {
        return false;
    }
    let discovery = || {
        DISCOVERY_PATHS.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path.trim_end_matches('/') == *pattern,
        })
    };
    public_path(path) || (user.in_group(AUTHENTICATED) && discovery())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(verb: &'a str, group: &'a str, resource: &'a str, subresource: &'a str) -> Attributes<'a> {
        Attributes { verb, group, resource, subresource, namespace: "default", name: "", fields: None }
    }

    #[test]
    fn identities_may_do_their_work_and_no_more() {
        let table = [
            (UserInfo::scheduler(), asked("create", "", "pods", "binding"), true),
            (UserInfo::scheduler(), asked("list", "", "secrets", ""), false),
            (UserInfo::scheduler(), asked("create", "", "pods", ""), false),
            (UserInfo::controller_manager(), asked("create", "", "pods", ""), true),
            (UserInfo::controller_manager(), asked("create", "", "pods", "exec"), false),
            (UserInfo::controller_manager(), asked("create", "", "nodes", ""), false),
            (UserInfo::new("system:serviceaccount:default:default", &[]), asked("list", "", "pods", ""), false),
            (
                UserInfo::new("someone", &[]),
                asked("create", "authorization.k8s.io", "selfsubjectaccessreviews", ""),
                true,
            ),
            (UserInfo::anonymous(), asked("create", "authorization.k8s.io", "selfsubjectaccessreviews", ""), false),
        ];
        for (user, asked, allowed) in table {
            assert_eq!(allows(&user, &asked), allowed, "{} {asked:?}", user.name);
        }
    }

    #[test]
    fn anonymous_reads_health_and_version_only() {
        for (path, anonymous, authenticated) in [
            ("/healthz", true, true),
            ("/livez/ping", true, true),
            ("/version", true, true),
            ("/api", false, true),
            ("/apis/apps/v1", false, true),
            ("/openapi/v3", false, true),
            ("/metrics", false, false),
            ("/", false, false),
        ] {
            assert_eq!(allows_path(&UserInfo::anonymous(), "get", path), anonymous, "{path}");
            assert_eq!(allows_path(&UserInfo::new("u", &[]), "get", path), authenticated, "{path}");
            assert!(!allows_path(&UserInfo::new("u", &[]), "post", path), "{path}");
        }
    }
}
