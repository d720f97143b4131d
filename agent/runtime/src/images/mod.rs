//! Images on this node: a content-addressed store on disk that several processes use at once, what fills it (archives,
//! registries, the built-in demo), and the safe unpacking of layers for overlayfs.
//!
//! ```text
//! <dir>/index.json                  names → images, replaced by rename under `lock`
//! <dir>/blobs/sha256/<hex>          image configurations
//! <dir>/layers/<chain hex>/diff     one unpacked layer, with `layer.json` beside it
//! <dir>/leases/<holder>             what a container uses: its image's layers stay while it is there
//! <dir>/staging/                    work in progress; swept when nobody works (`work.lock`)
//! ```

mod archive;
pub mod builtin;
mod digest;
mod fault;
mod files;
mod import;
mod index;
mod layers;
mod lease;
mod limits;
mod name;
mod pull;
mod store;
mod tar;
mod unpack;

pub use digest::Digest;
pub use import::{Progress, Report, Step, silent};
pub use name::{ImageName, Sought};
pub use store::ImageStore;
