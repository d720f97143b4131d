//! Store errors in the words of the API.

use coracle_proto::ApiError;
use coracle_proto::status::{Cause, Details, Reason};
use coracle_store::StoreError;

/// For errors of a commit that are not conflicts, which each verb reads in its own way.
pub fn write_error(error: StoreError) -> ApiError {
    match error {
        StoreError::TooLarge { bytes, max } => ApiError::new(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: the object takes {bytes} bytes, at most {max}"),
        ),
        StoreError::Timeout => ApiError::timeout("Timeout: request did not complete within requested timeout"),
        StoreError::Deposed => ApiError::unavailable("this server no longer leads"),
        StoreError::Unavailable(why) => ApiError::unavailable(format!("the store does not serve: {why}")),
        other => ApiError::internal(other),
    }
}

pub fn read_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {} ({})", requested.0, oldest.0))
        }
        StoreError::Future { requested, newest } => too_large(requested.0, newest.0),
        StoreError::Lagged => ApiError::expired("the watcher fell too far behind"),
        other => write_error(other),
    }
}

/// The client knows of a revision that this server has not seen.
fn too_large(requested: u64, newest: u64) -> ApiError {
    let mut error = ApiError::timeout(format!("Timeout: Too large resource version: {requested}, current: {newest}"));
    error.details = Some(Box::new(Details {
        retry_after_seconds: 1,
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        }],
        ..Details::default()
    }));
    error
}
