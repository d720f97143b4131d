//! The suite that every runtime has to pass.

pub mod ground;
pub mod life;
