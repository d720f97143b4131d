//! Who a request comes from.

use std::collections::BTreeMap;

pub const ANONYMOUS: &str = "system:anonymous";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
pub const AUTHENTICATED: &str = "system:authenticated";
/// May do everything.
pub const MASTERS: &str = "system:masters";
pub const NODES: &str = "system:nodes";
pub const NODE_PREFIX: &str = "system:node:";
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
pub const SCHEDULER: &str = "system:kube-scheduler";
/// The API server itself.
pub const API_SERVER: &str = "system:apiserver";

/// An identity as authentication found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// An authenticated user in these groups.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        groups.push(AUTHENTICATED.into());
        Self { name: name.into(), groups, ..Self::default() }
    }

    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// The API server's own identity.
    pub fn loopback() -> Self {
        Self::new(API_SERVER, &[MASTERS])
    }

    pub fn controller_manager() -> Self {
        Self::new(CONTROLLER_MANAGER, &[])
    }

    pub fn scheduler() -> Self {
        Self::new(SCHEDULER, &[])
    }

    pub fn node(name: &str) -> Self {
        Self::new(format!("{NODE_PREFIX}{name}"), &[NODES])
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node this is, if it is one.
    pub fn node_name(&self) -> Option<&str> {
        if self.in_group(NODES) { self.name.strip_prefix(NODE_PREFIX) } else { None }
    }
}
