//! Service account tokens for projected volumes: asked for once per pod and audience, renewed at 80 % of their life.

use crate::link::{CallError, Link};
use bytes::Bytes;
use coracle_proto::resource::SERVICE_ACCOUNTS;
use coracle_proto::{ObjectKey, Tree, time};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What tells one token from another within a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenKey {
    pub account: String,
    pub audience: Option<String>,
    pub seconds: i64,
}

#[derive(Clone, PartialEq)]
pub struct Token {
    pub text: Bytes,
    pub renew_at: Timestamp,
}

pub type Tokens = BTreeMap<TokenKey, Token>;

const DEFAULT_SECONDS: i64 = 3600;

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

impl TokenKey {
    pub fn of(pod: &Pod, source: &ServiceAccountTokenProjection) -> Self {
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).filter(|a| !a.is_empty());
        Self {
            account: account.unwrap_or_else(|| "default".to_owned()),
            audience: source.audience.clone().filter(|a| !a.is_empty()),
            seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }
}

/// The tokens a pod's volumes ask for.
pub fn tokens_of(pod: &Pod) -> BTreeSet<TokenKey> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let sources = volumes.filter_map(|v| v.projected.as_ref()).flat_map(|p| p.sources.iter().flatten());
    sources.filter_map(|s| s.service_account_token.as_ref()).map(|source| TokenKey::of(pod, source)).collect()
}

impl Token {
    /// Bound to the pod: it ends with it.
    pub async fn request(link: &Link, pod: &Pod, key: &TokenKey, now: Timestamp) -> Result<Self, CallError> {
        let metadata = &pod.metadata;
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": key.audience.iter().collect::<Vec<_>>(), "expirationSeconds": key.seconds,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata.name, "uid": metadata.uid},
            },
        });
        let account = ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), key.account.clone());
        let answer = link.create(&SERVICE_ACCOUNTS, &account, "token", &body).await?;
        Self::read(&answer, key, now).ok_or_else(|| CallError::Unreachable("the answer holds no token".into()))
    }

    fn read(answer: &Tree, key: &TokenKey, now: Timestamp) -> Option<Self> {
        let text = answer["status"]["token"].as_str()?.to_owned();
        let expires = answer["status"]["expirationTimestamp"].as_str().and_then(time::parse);
        let life = expires.map_or(key.seconds, |at| at.duration_since(now).as_secs()).max(1);
        let renew_at =
            now.saturating_add(SignedDuration::from_secs(life.saturating_mul(8) / 10)).unwrap_or(Timestamp::MAX);
        Some(Self { text: text.into(), renew_at })
    }

    #[cfg(test)]
    pub fn for_test(text: &'static str) -> Self {
        Self { text: Bytes::from_static(text.as_bytes()), renew_at: Timestamp::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life() {
        let key = TokenKey { account: "a".into(), audience: None, seconds: 3607 };
        let now = Timestamp::UNIX_EPOCH;
        let answer = json!({"status": {"token": "t", "expirationTimestamp": "1970-01-01T00:10:00Z"}});
        let token = Token::read(&answer, &key, now).expect("a token");
        assert_eq!(token.renew_at, now + SignedDuration::from_secs(480));
        assert!(Token::read(&json!({}), &key, now).is_none());
        assert!(!format!("{token:?}").contains("\"t\""));
    }
}
