//! Which system calls a container may make: profiles in the OCI form, the default one, and their way into the kernel.

mod compile;
mod default;
mod profile;
mod syscalls;

pub use compile::Program;
pub use profile::{Profile, parse};

use crate::privilege::Privileges;
use serde::{Deserialize, Serialize};

/// What a container's processes run behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    Unconfined,
    RuntimeDefault,
    Profile(Profile),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    #[error("the seccomp profile is not valid: {0}")]
    Profile(String),
    #[error("the seccomp filter could not be loaded: {0}")]
    Load(String),
}

/// The filters to be loaded, in any order: the kernel takes the strictest answer.
pub fn compile(privileges: &Privileges) -> Result<Vec<Program>, SeccompError> {
    match &privileges.seccomp {
        Filter::Unconfined => Ok(Vec::new()),
        Filter::RuntimeDefault => compile::compile(&default::profile(&privileges.capabilities)),
        Filter::Profile(profile) => compile::compile(profile),
    }
}

/// Loads them into this process, for good.
pub fn load(programs: &[Program]) -> Result<(), SeccompError> {
    programs.iter().try_for_each(|program| {
        crate::sys::load_seccomp(program).map_err(|error| SeccompError::Load(error.to_string()))
    })
}
