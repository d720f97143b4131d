//! Who a container's processes are to the kernel: user and groups, capabilities, and what limits them further.

mod accounts;
mod capabilities;

pub use accounts::{Identity, User, identify};
pub use capabilities::{assume, available, plan};

use crate::seccomp::Filter;
use serde::{Deserialize, Serialize};

/// Decided by the agent from the pod and the image; the names in it are looked up inside the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Privileges {
    pub user: User,
    pub supplemental_groups: Vec<u32>,
    /// Without the `CAP_` prefix.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Filter,
}
