//! nf_tables over netlink: what `nft` does, without it. Sent is one batch of messages, which the kernel applies as a
//! whole or not at all. Layout of messages: the kernel's `include/uapi/linux/netfilter/nf_tables.h`.

mod attributes;
mod batch;
mod compile;
mod constants;
mod encode;
mod expressions;
mod listing;
mod socket;

pub use batch::Batch;
pub use encode::{change, replace_table};
pub use listing::{ForeignChain, ForeignRule, Table};
pub use socket::{Rejected, Socket};
