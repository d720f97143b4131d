//! The way to the other members. A cluster of one has none; a network between servers takes this place.

use super::machine::Machine;
use super::{NodeId, Types, Vote};
use openraft::alias::SmSnapshotOf;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, OptionalSend, storage::RaftStateMachine};

pub struct NoPeers;

/// A member that cannot be reached, because this server knows no network.
pub struct Nobody(NodeId);

impl Nobody {
    fn unreachable(&self) -> Unreachable<Types> {
        Unreachable::from_string(format!("member {} is not reachable: this server has no peers", self.0))
    }
}

impl RaftNetworkFactory<Types> for NoPeers {
    type Network = Nobody;

    async fn new_client(&mut self, target: NodeId, _: &BasicNode) -> Nobody {
        Nobody(target)
    }
}

impl RaftNetworkV2<Types> for Nobody {
    type SnapshotData = <Machine as RaftStateMachine<Types>>::SnapshotData;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(&mut self, _: VoteRequest<Types>, _: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: SmSnapshotOf<Types, Machine>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
