//! Opening a data directory: hold it, check all of it, start the replica, and lead if nobody else can.

use super::dir::Dir;
pub use super::log::Acknowledge;
use super::log::{Loaded, LogFiles};
use super::machine::Machine;
use super::snapshot::{self, Content};
use super::store::RaftStore;
use super::waiting::Waiting;
use super::{NodeId, Raft, network::NoPeers};
use crate::limits::{HistoryLimits, LEAD_TIMEOUT};
use crate::replica::Replica;
use crate::{Stamp, StoreError};
use openraft::{BasicNode, Config, ServerState, SnapshotPolicy};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Made if it is not there. One process at a time.
    pub dir: PathBuf,
    /// This server's number; must stay the same for the life of the directory.
    pub node: NodeId,
    pub stamp: Stamp,
    pub history: HistoryLimits,
    #[doc(hidden)]
    pub acknowledge: Acknowledge,
}

impl RaftConfig {
    pub fn new(dir: impl Into<PathBuf>, node: NodeId, stamp: Stamp) -> RaftConfig {
        let history = HistoryLimits::default();
        RaftConfig { dir: dir.into(), node, stamp, history, acknowledge: Acknowledge::default() }
    }
}

/// Why a store did not open. Nothing was deleted or changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    #[error("the data in {} is damaged: {what}", at.display())]
    Damaged { what: String, at: PathBuf },
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("the replica did not start: {0}")]
    Start(String),
}

impl OpenError {
    pub(super) fn io(doing: String) -> impl FnOnce(io::Error) -> OpenError {
        move |source| OpenError::Io { doing, source }
    }

    pub(super) fn damaged(what: impl Into<String>, at: impl Into<PathBuf>) -> OpenError {
        OpenError::Damaged { what: what.into(), at: at.into() }
    }

    /// For data that is read: what it says can be wrong, or the device can.
    fn reading(at: &Path) -> impl Fn(io::Error) -> OpenError + use<'_> {
        move |error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => OpenError::damaged(error.to_string(), at),
            _ => OpenError::io(format!("read {}", at.display()))(error),
        }
    }
}

/// Everything that was found on disk, checked.
struct Found {
    dir: Dir,
    log: LogFiles,
    snapshot: Option<(Content, u64)>,
}

/// Reads and checks everything, and changes nothing but what an interrupted write left behind.
fn find(path: &Path) -> Result<Found, OpenError> {
    let dir = Dir::open(path)?;
    snapshot::remove_leftovers(&dir.snapshots()).map_err(OpenError::io("remove an unfinished snapshot".into()))?;
    let newest = snapshot::newest(&dir.snapshots()).map_err(OpenError::reading(&dir.snapshots()))?;
    let snapshot = match newest {
        Some((path, file)) => Some(file.read().map_err(OpenError::reading(&path))?),
        None => None,
    };
    let log = LogFiles::open(&dir.log(), &dir.mark()).map_err(OpenError::reading(&dir.log()))?;
    let covered = snapshot.as_ref().and_then(|(content, _)| content.meta.last_log_id);
    let Loaded { purged, last } = log.loaded();
    let next = |id: Option<super::LogId>| id.map_or(0, |id| id.index + 1);
    if next(purged) > next(covered) {
        let (purged, covered) = (next(purged), next(covered));
        let what = format!("the log begins with entry {purged}, but the newest snapshot ends before entry {covered}");
        return Err(OpenError::damaged(what, dir.snapshots()));
    }
    if next(last) < next(covered) {
        let (last, covered) = (next(last), next(covered));
        let what = format!("the log ends before entry {last}, but a snapshot was made of the entries before {covered}");
        return Err(OpenError::damaged(what, dir.log()));
    }
    Ok(Found { dir, log, snapshot })
}

pub async fn open(config: RaftConfig) -> Result<RaftStore, OpenError> {
    let path = config.dir.clone();
    // sled panics over some damage; that must not take the process with it.
    let found = tokio::task::spawn_blocking(move || find(&path)).await;
    let Found { dir, log, snapshot } = found.map_err(|error| OpenError::damaged(panic_text(error), &config.dir))??;

    let replica = Arc::new(Replica::new(config.stamp, config.history));
    let waiting = Arc::new(Waiting::default());
    let machine = Machine::new(replica.clone(), waiting.clone(), dir.snapshots());
    if let Some((content, length)) = snapshot {
        machine.restore(content, length);
    }
    let stop = replica.clone();
    let failed = move |error: &io::Error| {
        tracing::error!(%error, "the log cannot be written; the store serves no more");
        stop.stop(StoreError::Unavailable(format!("the log cannot be written: {error}")));
    };
    let (log, thread) =
        log.start(config.acknowledge, failed, dir).map_err(OpenError::io("start the log's thread".into()))?;
    let started = Raft::new(config.node, Arc::new(raft_config()?), NoPeers, log, machine.clone()).await;
    let raft = started.map_err(|fatal| OpenError::Start(fatal.to_string()))?;
    lead(&raft, config.node).await?;
    Ok(RaftStore::start(raft, machine, replica, waiting, thread))
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "reading it was cancelled".into() };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("reading it failed: {}", text.unwrap_or_default())
}

/// A single member needs no clock: it has nobody to send heartbeats to and nobody to wait for. So nothing ticks, and
/// elections are called by hand. A network between members turns both on.
fn raft_config() -> Result<Config, OpenError> {
    let config = Config {
        cluster_name: "coracle".into(),
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        enable_pre_vote: Some(true),
        // Every start is a term of its own, so that nothing bound to an earlier run of this process applies any more.
        enable_leader_restore: Some(false),
        // The machine says when one is due: by bytes, not only by entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(64),
        ..Config::default()
    };
    config.validate().map_err(|error| OpenError::Start(error.to_string()))
}

/// Makes a cluster of this one server if there is none yet, and has it win the election that it takes part in alone.
async fn lead(raft: &Raft, node: NodeId) -> Result<(), OpenError> {
    let start = |error: String| OpenError::Start(error);
    if raft.is_initialized().await.map_err(|fatal| start(fatal.to_string()))? {
        let voters = raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect::<Vec<_>>());
        let voters = voters.await.map_err(|fatal| start(fatal.to_string()))?;
        if voters != [node] {
            return Err(start(format!("this server is {node}, but the data belongs to the members {voters:?}")));
        }
        raft.trigger().elect(false).await.map_err(|fatal| start(fatal.to_string()))?;
    } else {
        // A new cluster calls its first election by itself.
        let members = BTreeMap::from([(node, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| start(error.to_string()))?;
    }
    let wait = raft.wait(Some(LEAD_TIMEOUT));
    let leads = wait.metrics(
        |metrics| {
            let applied = metrics.last_applied.map(|last| last.leader_id.term);
            metrics.state == ServerState::Leader && applied == Some(metrics.current_term)
        },
        "lead and apply an entry of the own term",
    );
    leads.await.map(|_| ()).map_err(|error| start(error.to_string()))
}
