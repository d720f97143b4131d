//! Packet rules, purely: what the kernel should hold for a set of services, how that reads, and what changes from one
//! set to the next. Nothing here touches the kernel; `nft` carries it there.

mod diff;
mod display;
mod endpoints;
mod filter;
mod render;
mod ruleset;

pub use diff::{Change, diff};
pub(crate) use render::gateway;
pub use render::{HostPortBinding, State, group, render, table_name};
pub use ruleset::{
    Chain, ChainKind, Field, Hook, Key, KeyKind, Match, Refusal, Rule, Ruleset, Set, SetData, Statement, Target,
    Verdict,
};
