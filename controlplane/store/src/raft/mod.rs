//! The store that survives: the state machine behind openraft, the log in sled, snapshots in files.

mod command;
mod dir;
mod log;
mod machine;
mod network;
mod open;
mod proposer;
mod snapshot;
mod store;
mod waiting;

pub use open::{Acknowledge, OpenError, RaftConfig};
pub use store::RaftStore;

use command::Command;
use openraft::impls::BasicNode;
use openraft::vote::leader_id_std;

/// A member of the cluster, for as long as its data directory lives.
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// openraft's view of the store. The answers to clients take another way (`waiting.rs`), so there is no response.
    pub Types:
        D = Command,
        R = (),
        NodeId = NodeId,
        Node = BasicNode,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub type Entry = openraft::alias::EntryOf<Types>;
pub type LogId = openraft::alias::LogIdOf<Types>;
pub type Vote = openraft::alias::VoteOf<Types>;
pub type Membership = openraft::alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
type Raft = openraft::Raft<Types, machine::Machine>;

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader_id_std::CommittedLeaderId::new(term), index)
}

#[cfg(test)]
mod tests;
