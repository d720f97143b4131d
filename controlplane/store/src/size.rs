//! How large a transaction may be. Checked before it is proposed, so that nothing too large ever reaches the log.

use crate::limits::{KEY_BYTES, TXN_BYTES, TXN_OPS};
use crate::{Action, StoreError, Txn};

/// What the log needs for an operation besides its key and value.
const OP_OVERHEAD: usize = 32;

pub fn of(txn: &Txn) -> usize {
    let ops = txn.ops.iter().map(|op| {
        let value = match &op.action {
            Action::Put(value) => value.len(),
            Action::Delete | Action::Check => 0,
        };
        op.key.len() + value + OP_OVERHEAD
    });
    ops.sum()
}

/// How large it is, if it is not too large.
pub fn check(txn: &Txn) -> Result<usize, StoreError> {
    let bytes = of(txn);
    if bytes > TXN_BYTES {
        return Err(StoreError::TooLarge { bytes, max: TXN_BYTES });
    }
    if let Some(op) = txn.ops.iter().find(|op| op.key.len() > KEY_BYTES) {
        return Err(StoreError::TooLarge { bytes: op.key.len(), max: KEY_BYTES });
    }
    if txn.ops.len() > TXN_OPS {
        return Err(StoreError::TooManyOps { ops: txn.ops.len(), max: TXN_OPS });
    }
    Ok(bytes)
}
