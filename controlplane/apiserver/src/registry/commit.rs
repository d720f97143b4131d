//! The last step of every write.

use super::{Call, Registry, errors, get};
use crate::stamp;
use bytes::Bytes;
use coracle_proto::{ApiError, Object, Tree};
use coracle_store::{Action, Committed, Expect, Op, StoreError, Txn};
use std::sync::Arc;

/// What came of a commit that the store could decide.
pub enum Committing {
    Done(Committed),
    /// The precondition on this key failed; nothing happened.
    Conflict(Arc<str>),
}

impl Registry {
    pub(super) async fn commit(&self, call: &Call<'_>, ops: Vec<Op>) -> Result<Committing, ApiError> {
        match self.store.commit(Txn { ops, term: call.term }).await {
            Ok(committed) => Ok(Committing::Done(committed)),
            Err(StoreError::Conflict { key, .. }) => Ok(Committing::Conflict(key)),
            Err(other) => Err(errors::write_error(other)),
        }
    }
}

pub fn put(key: Arc<str>, expect: Expect, object: &Tree) -> Op {
    Op { key, expect, action: Action::Put(stamp::canonical(object)) }
}

/// A note that something is taken, and by whom.
pub fn claim(key: Arc<str>, owner: &str) -> Op {
    Op { key, expect: Expect::Absent, action: Action::Put(Bytes::from(owner.to_owned())) }
}

pub fn release(key: Arc<str>) -> Op {
    Op { key, expect: Expect::Anything, action: Action::Delete }
}

pub fn check(key: Arc<str>, expect: Expect) -> Op {
    Op { key, expect, action: Action::Check }
}

pub fn remove(key: Arc<str>, expect: Expect) -> Op {
    Op { key, expect, action: Action::Delete }
}

/// The object of the first op, which is always the one the call is about.
pub fn first(call: &Call<'_>, committed: Committed) -> Result<Object, ApiError> {
    let entry = committed.entries.into_iter().next().flatten();
    let entry = entry.ok_or_else(|| ApiError::internal("the store returned no entry for a put"))?;
    get::served(call.kind, entry)
}
