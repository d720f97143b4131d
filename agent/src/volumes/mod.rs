//! A pod's volumes and the files the node gives every container.

mod atomic;
mod etc;
mod host_path;
mod mounts;
mod ownership;
mod render;
mod setup;
mod subpath;
mod tokens;

pub use etc::{EtcFiles, hostname, write_etc};
pub use mounts::{PodFolder, container_mounts};
pub use setup::{VolumeFailure, VolumeInputs, follows_content, set_up};
pub use subpath::remove_below;
pub use tokens::{Token, Tokens, tokens_of};
