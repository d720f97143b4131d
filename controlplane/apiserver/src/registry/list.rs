//! Lists: selectors, and pages at a fixed revision.

use super::select::Filter;
use super::{Call, Registry, get, keys};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_proto::api::ReadAt;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, ObjectList};
use coracle_store::{Entry, View};
use serde::{Deserialize, Serialize};

/// What a continue token holds, base64 around it.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Token {
    v: String,
    rv: u64,
    /// The last key of the page before.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.";

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token of strings and a number is JSON"))
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: String| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|e| invalid(e.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        if token.v != TOKEN_VERSION {
            return Err(invalid("server does not recognize this encoded version".into()));
        }
        Ok(token)
    }
}

impl Registry {
    pub async fn list(&self, call: &Call<'_>, options: &ListOptions) -> Result<ObjectList, ApiError> {
        self.authorise_selected(call, "list", Some(&options.fields))?;
        self.list_authorised(call, options).await
    }

    pub(super) async fn list_authorised(&self, call: &Call<'_>, options: &ListOptions) -> Result<ObjectList, ApiError> {
        let filter = Filter::new(call.kind, options.labels.clone(), options.fields.clone())?;
        let (view, after) = match &options.continue_token {
            Some(token) => {
                let token = Token::decode(token)?;
                let view = self.view(ReadAt::Exact(token.rv)).await.map_err(expired_token)?;
                (view, Some(token.start))
            }
            None => (self.view(options.at).await?, None),
        };
        page(call, &*view, &filter, options.limit, after.as_deref())
    }
}

fn expired_token(error: ApiError) -> ApiError {
    if error.reason == Reason::Expired { ApiError::expired(EXPIRED) } else { error }
}

/// One page of what matches, in key order.
fn page(
    call: &Call<'_>,
    view: &dyn View,
    filter: &Filter,
    limit: Option<usize>,
    after: Option<&str>,
) -> Result<ObjectList, ApiError> {
    let mut list = ObjectList { revision: view.revision().0, ..ObjectList::default() };
    let namespace = Some(call.key.namespace.as_str()).filter(|n| !n.is_empty()).or(filter.namespace());
    if let Some(name) = filter.name().filter(|_| namespace.is_some() || !call.resource().namespaced) {
        let key = ObjectKey::new(namespace.unwrap_or_default(), name);
        let found = view.get(&keys::object(call.kind, &key)).filter(|e| filter.matches(&e.value));
        list.items = found.map(|e| get::served(call.kind, e)).transpose()?.into_iter().collect();
        return Ok(list);
    }
    let prefix = keys::prefix(call.kind, namespace.unwrap_or_default());
    if after.is_some_and(|start| !start.starts_with(&prefix)) {
        return Err(ApiError::bad_request("continue key is not valid: it does not belong to this list"));
    }
    let mut entries = view.range(&prefix, after);
    let mut last = None;
    while let Some(entry) = entries.next() {
        if limit.is_some_and(|limit| limit > 0 && list.items.len() >= limit) {
            finish_page(&mut list, entry, last, entries, filter);
            break;
        }
        if filter.matches(&entry.value) {
            last = Some(entry.key.clone());
            list.items.push(get::served(call.kind, entry)?);
        }
    }
    Ok(list)
}

/// Sets the token if anything else matches; counts the rest where no selector hides some of it, as upstream.
fn finish_page(
    list: &mut ObjectList,
    next: Entry,
    last: Option<std::sync::Arc<str>>,
    rest: impl Iterator<Item = Entry>,
    filter: &Filter,
) {
    let Some(last) = last else { return };
    if filter.is_empty() {
        list.remaining = Some(1 + rest.count());
    } else if !filter.matches(&next.value) && !rest.into_iter().any(|e| filter.matches(&e.value)) {
        return;
    }
    let token = Token { v: TOKEN_VERSION.into(), rv: list.revision, start: last.to_string() };
    list.continue_token = Some(token.encode());
}

/// The objects of an [`ObjectList`] joined into one JSON list, without decoding any.
pub fn render(list: &ObjectList, api_version: &str, kind: &str) -> Vec<u8> {
    let size: usize = list.items.iter().map(|o| o.json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let meta = list_meta(list);
    out.extend_from_slice(
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":[").as_bytes(),
    );
    for (at, Object { json, .. }) in list.items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(json);
    }
    out.extend_from_slice(b"]}\n");
    out
}

/// `metav1.ListMeta`.
pub fn list_meta(list: &ObjectList) -> serde_json::Value {
    let mut meta = serde_json::json!({"resourceVersion": list.revision.to_string()});
    if let Some(token) = &list.continue_token {
        meta["continue"] = token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_and_nonsense_does_not() {
        let token = Token { v: TOKEN_VERSION.into(), rv: 7, start: "pods/default/a".into() };
        assert_eq!(Token::decode(&token.encode()).expect("own token"), token);
        for bad in ["", "%", "bm9uc2Vuc2U", "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6IiJ9"] {
            assert!(Token::decode(bad).is_err(), "{bad}");
        }
    }
}
