//! What a store does, whichever way it keeps its data: a revisioned key-value map with transactions and watches.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::sync::Arc;

/// Counts changes to the whole store. An empty store is at 1, as etcd's; every transaction that changes something gets
/// its own revision; it is not the Raft index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Revision(pub u64);

/// A Raft term, for writes that must not outlive a leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Term(pub u64);

/// One key's value. Readers and watchers share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Arc<str>,
    /// As [`Stamp`] made it from the proposed bytes.
    pub value: Bytes,
    pub created: Revision,
    pub modified: Revision,
}

/// Writes the revision into a proposed value, once per change. Pure: every replica calls it with the same arguments.
pub type Stamp = fn(&Bytes, Revision) -> Bytes;

/// All of `ops` happen at one revision, or none does.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Txn {
    pub ops: Vec<Op>,
    /// Refuse the transaction unless this term still rules when it is applied.
    pub term: Option<Term>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Op {
    pub key: Arc<str>,
    pub expect: Expect,
    pub action: Action,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Action {
    Put(Bytes),
    /// Deleting what is not there is no error unless `expect` says so.
    Delete,
    /// Change nothing: the op is only its precondition.
    Check,
}

/// What the key must be like for the transaction to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Expect {
    Anything,
    Absent,
    /// Present, last modified at exactly this revision.
    At(Revision),
}

/// A transaction that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub revision: Revision,
    /// For each op, the entry after a put, the last entry before a delete, the present one of a check.
    pub entries: Vec<Option<Entry>>,
}

/// One change, as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    pub key: Arc<str>,
    /// The entry before, `None` if the key was created.
    pub before: Option<Entry>,
    /// The entry after, `None` if the key was deleted.
    pub after: Option<Entry>,
}

/// What a watch yields: changes in order, each once; or an error, which ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Change(Change),
    /// Nothing else happened under the prefix up to this revision. A quiet watch is told every few seconds
    /// ([`crate::limits::PROGRESS_INTERVAL`]), if there is something new to tell.
    Progress(Revision),
}

pub type Watch = BoxStream<'static, Result<Notice, StoreError>>;

/// The map at one revision. O(1) to take and to clone; never changes.
pub trait View: Send + Sync {
    fn revision(&self) -> Revision;
    fn get(&self, key: &str) -> Option<Entry>;
    /// Entries whose key starts with `prefix` and is greater than `after`, in key order.
    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Box<dyn Iterator<Item = Entry> + Send + 'a>;
    /// How many entries start with `prefix`.
    fn count(&self, prefix: &str) -> usize;
}

/// One suite (`tests/suite`) holds every implementation to this.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns once the change is durable and visible to [`Store::view`] here.
    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError>;

    /// Waits until [`Store::view`] includes every change acknowledged anywhere before the call: a linearizable read.
    async fn read_barrier(&self) -> Result<(), StoreError>;

    /// Waits, within a bound, until [`Store::view`] includes `revision`.
    async fn wait_for(&self, revision: Revision) -> Result<(), StoreError>;

    /// The newest local state.
    fn view(&self) -> Arc<dyn View>;

    /// The state at an earlier revision, if it is still kept (for paging).
    fn view_at(&self, revision: Revision) -> Result<Arc<dyn View>, StoreError>;

    /// Changes under `prefix` after `after`.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;

    /// The term this server leads in, once it has applied an entry of its own term; `None` while it does not lead.
    fn leading(&self) -> Option<Term>;
}

/// Why a store refused. Nothing was changed, except where a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A precondition failed; `actual` is what the key holds.
    #[error("the precondition on {key} does not hold")]
    Conflict { key: Arc<str>, actual: Option<Entry> },
    #[error("revision {requested:?} is too old; the oldest kept is {oldest:?}")]
    Compacted { requested: Revision, oldest: Revision },
    #[error("revision {requested:?} is in the future; the newest is {newest:?}")]
    Future { requested: Revision, newest: Revision },
    #[error("the term the write was bound to is over")]
    Deposed,
    #[error("the transaction is too large: {bytes} bytes, at most {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("the transaction has too many operations: {ops}, at most {max}")]
    TooManyOps { ops: usize, max: usize },
    /// A watcher must see each key at most once per revision.
    #[error("the transaction writes {key} twice")]
    WrittenTwice { key: Arc<str> },
    #[error("the watcher fell too far behind")]
    Lagged,
    /// Whether the write happened is unknown.
    #[error("no answer from the cluster in time")]
    Timeout,
    #[error("the store does not serve: {0}")]
    Unavailable(String),
}
