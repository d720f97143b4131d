//! The suite that every runtime has to pass; `survival` is about what only the embedded one has.

pub mod ground;
pub mod life;
pub mod logs;
pub mod resources;
pub mod security;
pub mod sessions;
pub mod surroundings;
pub mod survival;
