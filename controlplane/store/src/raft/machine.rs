//! The state machine as openraft wants it. It applies what is committed to the replica and answers the callers.

use super::command::Batch;
use super::snapshot::{self, Content, SnapshotFile};
use super::waiting::Waiting;
use super::{LogId, Membership, SnapshotMeta, Types};
use crate::Term;
use crate::limits::{SNAPSHOT_LOG_BYTES, SNAPSHOT_LOG_ENTRIES};
use crate::replica::Replica;
use crate::state::Image;
use futures::{Stream, TryStreamExt};
use openraft::alias::SnapshotOf;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A handle; all handles share one state.
#[derive(Clone)]
pub struct Machine(Arc<Shared>);

struct Shared {
    replica: Arc<Replica>,
    waiting: Arc<Waiting>,
    applied: Mutex<Applied>,
    growth: Growth,
    snapshots: PathBuf,
}

#[derive(Clone, Default)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
}

/// How much the log has grown since the last snapshot began.
#[derive(Default)]
struct Growth {
    bytes: AtomicU64,
    entries: AtomicU64,
    last_snapshot_bytes: AtomicU64,
    due: Notify,
}

impl Growth {
    fn add(&self, bytes: usize) {
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let entries = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        let bearable = SNAPSHOT_LOG_BYTES + self.last_snapshot_bytes.load(Ordering::Relaxed);
        if bytes > bearable || entries > SNAPSHOT_LOG_ENTRIES {
            self.due.notify_one();
        }
    }

    fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.entries.store(0, Ordering::Relaxed);
    }
}

impl Machine {
    pub fn new(replica: Arc<Replica>, waiting: Arc<Waiting>, snapshots: PathBuf) -> Machine {
        let shared = Shared { replica, waiting, applied: Mutex::default(), growth: Growth::default(), snapshots };
        Machine(Arc::new(shared))
    }

    /// Takes over what a snapshot says, at the start or from the leader.
    pub fn restore(&self, content: Content, length: u64) {
        let Content { meta, image } = content;
        self.0.replica.install(image);
        self.0.growth.last_snapshot_bytes.store(length, Ordering::Relaxed);
        self.0.growth.reset();
        *self.applied() = Applied { last: meta.last_log_id, membership: meta.last_membership };
    }

    /// The term of the last entry that was applied here.
    pub fn applied_term(&self) -> Option<Term> {
        self.applied().last.map(|last| Term(last.leader_id.term))
    }

    /// Returns when the log has grown so much that it should be replaced by a snapshot.
    pub async fn snapshot_due(&self) {
        self.0.growth.due.notified().await;
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.0.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates the transactions of one entry, each for itself, and answers whoever waits for them here.
    fn apply_batch(&self, batch: &Batch, ruling: Term) {
        for proposal in &batch.proposals {
            let outcome = self.0.replica.apply(proposal, ruling, batch.at);
            self.0.waiting.answer(proposal.id, outcome);
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let Applied { last, membership } = self.applied().clone();
        Ok((last, membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => {
                    self.apply_batch(&Batch::decode(command)?, Term(entry.log_id.leader_id.term));
                    self.0.growth.add(command.0.len());
                }
                EntryPayload::Membership(membership) => {
                    self.applied().membership = Membership::new(Some(entry.log_id), membership.clone());
                }
            }
            self.applied().last = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    /// Between two calls of `apply`, so the image and the log id belong together.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let Applied { last, membership } = self.applied().clone();
        self.0.growth.reset();
        Builder { machine: self.clone(), meta: snapshot::meta(last, membership), image: self.0.replica.image() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let dir = self.0.snapshots.clone();
        let expected = meta.clone();
        let installed = blocking(move || {
            let (content, length) = snapshot.read()?;
            if content.meta != expected {
                return Err(crate::wire::invalid("the snapshot is not the one that was announced"));
            }
            snapshot::write(&dir, &content)?;
            Ok((content, length))
        });
        let (content, length) = installed.await?;
        self.restore(content, length);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotFile>>> {
        let dir = self.0.snapshots.clone();
        blocking(move || {
            let Some((_, file)) = snapshot::newest(&dir)? else { return Ok(None) };
            let meta = file.meta()?;
            Ok(Some(SnapshotOf::<Types, _> { meta, snapshot: file }))
        })
        .await
    }
}

/// Writes the state of one moment while the machine goes on.
pub struct Builder {
    machine: Machine,
    meta: SnapshotMeta,
    image: Image,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotFile>> {
        let content = Content { meta: self.meta.clone(), image: self.image.clone() };
        let dir = self.machine.0.snapshots.clone();
        let (file, length) = blocking(move || snapshot::write(&dir, &content)).await?;
        self.machine.0.growth.last_snapshot_bytes.store(length, Ordering::Relaxed);
        Ok(SnapshotOf::<Types, _> { meta: self.meta.clone(), snapshot: file })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| io::Error::other(error.to_string()))?
}
