//! Bounds on what an image from outside may ask of this node.

/// Bytes of one layer's files, holes in sparse files included; also of a whole decompressed archive.
pub const LAYER_BYTES: u64 = 64 << 30;
/// Members of one layer.
pub const LAYER_ENTRIES: u64 = 2_000_000;
/// overlayfs takes no more lower directories than this.
pub const IMAGE_LAYERS: usize = 500;
/// A member's path or link target; the kernel's own bound.
pub const PATH_BYTES: usize = 4095;
/// One component of a path.
pub const NAME_BYTES: usize = 255;
/// Directories above a member.
pub const PATH_DEPTH: usize = 256;
/// All PAX and GNU extension headers before one member together, extended attributes among it.
pub const EXTENSION_BYTES: u64 = 1 << 20;
/// Pieces of data in a sparse file.
pub const SPARSE_EXTENTS: usize = 65_536;
/// A manifest, index or configuration.
pub const DOCUMENT_BYTES: u64 = 4 << 20;
/// The store's own index.
pub const INDEX_BYTES: u64 = 64 << 20;
/// Images in one archive.
pub const ARCHIVE_IMAGES: usize = 1_000;
/// Members of an archive of images; each is held in memory by name.
pub const ARCHIVE_ENTRIES: usize = 100_000;
/// Indexes inside indexes of an OCI layout, links to links in a docker-archive.
pub const NESTING: usize = 4;
/// Manifests one OCI index may list.
pub const INDEX_MANIFESTS: usize = 10_000;
/// A registry must answer a connection and each read within this.
pub const REGISTRY_SECONDS: u64 = 30;
/// A manifest must have come as a whole within this, so that a slow one can't go on for ever; a configuration too.
pub const DOCUMENT_SECONDS: u64 = 60;
/// And a layer within this.
pub const LAYER_SECONDS: u64 = 4 * 3600;
/// Steps of progress that wait to be told.
pub const REPORTS: usize = 16;
