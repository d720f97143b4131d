//! API requests over the link.

use super::tls::Dialer;
use crate::config::TlsConfig;
use crate::error::AgentError;
use crate::limits;
use coracle_proto::nodelink::node_link_client::NodeLinkClient;
use coracle_proto::nodelink::{CallRequest, Verb};
use coracle_proto::{ApiError, ObjectKey, Resource, Tree};
use http::Uri;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

/// The connection. Cheap to clone; connects when first used and again whenever it broke.
///
/// Logs, execs and port-forwards have a connection of their own: HTTP/2 shares one window among all streams of a
/// connection, and a few terminals that nobody reads must not hold up the node's lease.
#[derive(Clone)]
pub struct Link {
    client: NodeLinkClient<Channel>,
    streams: NodeLinkClient<Channel>,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The API answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Nobody answered: it may have happened or not.
    #[error("the control plane did not answer: {0}")]
    Unreachable(String),
}

impl CallError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(e) if e.is_not_found())
    }

    /// Another object has the name: final, unlike a conflict from races that were lost.
    pub fn is_other_uid(&self) -> bool {
        matches!(self, Self::Api(e) if e.is_conflict() && e.message.contains("UID in precondition"))
    }

    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Api(e) if e.is_already_exists())
    }
}

impl Link {
    /// Checks address and credentials; the connection itself is made when first used.
    pub fn new(server: &str, tls: &TlsConfig) -> Result<Self, AgentError> {
        let dialer = Dialer::new(server, tls)?;
        let bad = |_| AgentError::Address { address: server.to_owned() };
        let endpoint = Endpoint::from_shared(format!("https://{server}"))
            .map_err(bad)?
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .http2_keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_adaptive_window(true);
        let client = || {
            let dialer = dialer.clone();
            let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| dialer.connect()));
            NodeLinkClient::new(channel)
                .max_decoding_message_size(limits::MESSAGE_MAX_BYTES)
                .max_encoding_message_size(limits::MESSAGE_MAX_BYTES)
        };
        Ok(Self { client: client(), streams: client() })
    }

    pub(super) fn client(&self) -> NodeLinkClient<Channel> {
        self.client.clone()
    }

    pub(super) fn streams(&self) -> NodeLinkClient<Channel> {
        self.streams.clone()
    }

    /// `subresource` is empty or e.g. `token`, then the name says of which object.
    pub async fn create(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: &Tree,
    ) -> Result<Tree, CallError> {
        self.call(request(Verb::Create, resource, key, subresource, Some(body))).await
    }

    pub async fn patch(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        subresource: &str,
        body: &Tree,
    ) -> Result<Tree, CallError> {
        self.call(request(Verb::PatchMerge, resource, key, subresource, Some(body))).await
    }

    /// Deletes at once, but only the object of that UID.
    pub async fn delete_now(&self, resource: &Resource, key: &ObjectKey, uid: &str) -> Result<(), CallError> {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid},
        });
        self.call(request(Verb::Delete, resource, key, "", Some(&options))).await.map(drop)
    }

    async fn call(&self, request: CallRequest) -> Result<Tree, CallError> {
        let unreachable = |why: &dyn std::fmt::Display| CallError::Unreachable(why.to_string());
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(limits::CALL_TIMEOUT, client.call(request))
            .await
            .map_err(|_| unreachable(&format_args!("no answer in {} s", limits::CALL_TIMEOUT.as_secs())))?
            .map_err(|status| unreachable(&status))?
            .into_inner();
        let tree: Tree = match answer.body.as_slice() {
            [] => Tree::Null,
            body => {
                serde_json::from_slice(body).map_err(|e| unreachable(&format_args!("its answer is not JSON: {e}")))?
            }
        };
        if answer.code < 400 {
            return Ok(tree);
        }
        Err(ApiError::from_status(&tree)
            .unwrap_or_else(|| ApiError::internal(format_args!("code {}", answer.code)))
            .into())
    }
}

fn request(verb: Verb, resource: &Resource, key: &ObjectKey, subresource: &str, body: Option<&Tree>) -> CallRequest {
    CallRequest {
        verb: verb.into(),
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        resource: resource.plural.to_string(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        subresource: subresource.to_owned(),
        body: body.map(|b| b.to_string().into_bytes()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_proto::resource::PODS;

    #[test]
    fn a_lost_race_is_no_other_object() {
        let why = "Precondition failed: UID in precondition: a, UID in object meta: b";
        assert!(CallError::Api(ApiError::conflict(&PODS, "p", why)).is_other_uid());
        assert!(!CallError::Api(ApiError::modified(&PODS, "p")).is_other_uid());
    }
}
