//! GET of an object, a subresource, a list.

use super::dispatch::Asked;
use super::negotiate::{As, Format};
use super::query::Query;
use super::respond::{self, Body};
use super::table::Include;
use crate::registry::Call;
use coracle_proto::{ApiError, ListOptions};
use http::{Response, StatusCode};

pub async fn get(asked: &Asked, call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let object = asked.registry.get(call, asked.query.get_at()?).await?;
    if call.subresource == "scale" {
        return respond::tree(StatusCode::OK, &object.tree()?, Format { as_: As::Object, ..asked.format });
    }
    respond::object(StatusCode::OK, call.kind, &object, asked.format, Include::from_query(&asked.query)?)
}

pub async fn list(asked: &Asked, call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let options = options(asked)?;
    let list = asked.registry.list(call, &options).await?;
    respond::list(call.kind, &list, asked.format, Include::from_query(&asked.query)?)
}

pub fn options(asked: &Asked) -> Result<ListOptions, ApiError> {
    let query = &asked.query;
    let limit = query.number("limit")?.filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
    Ok(ListOptions {
        limit,
        continue_token: Some(query.get("continue").to_owned()).filter(|t| !t.is_empty()),
        at: query.read_at()?,
        ..selection(query)?
    })
}

/// Of the options of a list only what selects.
pub fn selection(query: &Query) -> Result<ListOptions, ApiError> {
    Ok(ListOptions { labels: query.labels()?, fields: query.fields()?, ..ListOptions::default() })
}
