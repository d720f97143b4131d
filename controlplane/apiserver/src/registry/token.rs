//! `serviceaccounts/token`: issuing tokens, and reading them back into identities.

use super::{Call, Registry, get, keys};
use crate::auth::Claims;
use crate::limits::{MAX_TOKEN_SECONDS, MIN_TOKEN_SECONDS, TOKEN_SECONDS};
use crate::user::{SERVICE_ACCOUNT_PREFIX, UserInfo};
use crate::validate::{Errors, items, text};
use coracle_proto::field::FieldError;
use coracle_proto::resource::{PODS, SECRETS};
use coracle_proto::{ApiError, Object, ObjectKey, Resource, Tree, meta, time};
use coracle_store::View;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Registry {
    pub(super) async fn issue_token(&self, call: &Call<'_>, request: &Tree) -> Result<Object, ApiError> {
        let view = self.view(coracle_proto::api::ReadAt::Latest).await?;
        let account = self.read(call, &*view)?.tree()?;
        let seconds = lifetime(call, request)?;
        let bound = bound_object(call, request, &*view)?;
        self.admit_token(call, bound.as_ref().map(|(_, object)| object))?;
        let now = Timestamp::now().as_second();
        let signer = &self.config.signer;
        let mut audiences: Vec<String> =
            items(&request["spec"], "audiences").iter().filter_map(|a| a.as_str().map(Into::into)).collect();
        if audiences.is_empty() {
            audiences.push(signer.issuer().into());
        }
        let claims = Claims {
            aud: audiences.clone(),
            exp: now + seconds,
            iat: now,
            nbf: now,
            iss: signer.issuer().into(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", call.key.namespace, call.key.name),
            kubernetes: private_claims(call, &account, bound.as_ref()),
        };
        let token = signer.sign(&claims).map_err(ApiError::internal)?;
        let expires = Timestamp::from_second(claims.exp).map_err(ApiError::internal)?;
        let mut answer = request.clone();
        answer["apiVersion"] = "authentication.k8s.io/v1".into();
        answer["kind"] = "TokenRequest".into();
        answer["metadata"] = json!({
            "name": call.key.name, "namespace": call.key.namespace, "creationTimestamp": time::render(Timestamp::now()),
        });
        answer["spec"]["audiences"] = json!(audiences);
        answer["spec"]["expirationSeconds"] = seconds.into();
        answer["status"] = json!({"token": token, "expirationTimestamp": time::render(expires)});
        Ok(get::from_tree(&answer, 0))
    }

    /// The identity a bearer token stands for; `None` if it is not good (any more).
    pub fn authenticate_token(&self, token: &str) -> Option<UserInfo> {
        self.token_user(token, &[self.config.signer.issuer()]).map(|(user, _)| user)
    }

    /// As [`Self::authenticate_token`] for other audiences; also says which the token is for.
    pub(super) fn token_user(&self, token: &str, audiences: &[&str]) -> Option<(UserInfo, Vec<String>)> {
        let claims = self.config.signer.check(token, audiences)?;
        let (namespace, name) = claims.sub.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
        let view = self.store.view();
        let key = ObjectKey::new(namespace, name);
        let uid = text(&claims.kubernetes["serviceaccount"], "uid").to_owned();
        if !alive(&*view, &format!("serviceaccounts/{key}"), &uid) {
            return None;
        }
        let mut extra = BTreeMap::from([(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![format!("JTI={}", claims.jti)],
        )]);
        for (part, storage) in [("pod", "pods"), ("secret", "secrets")] {
            let bound = &claims.kubernetes[part];
            if bound.is_object() {
                let key = ObjectKey::new(namespace, text(bound, "name"));
                if !alive(&*view, &format!("{storage}/{key}"), text(bound, "uid")) {
                    return None;
                }
                if part == "pod" {
                    extra.insert("authentication.kubernetes.io/pod-name".into(), vec![text(bound, "name").into()]);
                    extra.insert("authentication.kubernetes.io/pod-uid".into(), vec![text(bound, "uid").into()]);
                }
            }
        }
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let user = UserInfo { uid, extra, ..UserInfo::new(claims.sub.clone(), &groups) };
        Some((user, claims.aud))
    }
}

/// Whether the object a token is bound to still is that object.
fn alive(view: &dyn View, key: &str, uid: &str) -> bool {
    let Some(entry) = view.get(key) else { return false };
    serde_json::from_slice::<Tree>(&entry.value).is_ok_and(|object| meta::uid(&object) == uid)
}

fn lifetime(call: &Call<'_>, request: &Tree) -> Result<i64, ApiError> {
    let path = "spec.expirationSeconds";
    let mut errors = Errors::new();
    let seconds = match &request["spec"]["expirationSeconds"] {
        Value::Null => TOKEN_SECONDS,
        value => value.as_i64().unwrap_or_default(),
    };
    if seconds < MIN_TOKEN_SECONDS {
        errors.push(FieldError::invalid(path, seconds, "may not specify a duration less than 10 minutes"));
    } else if seconds > MAX_TOKEN_SECONDS {
        errors.push(FieldError::invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    if errors.is_empty() {
        return Ok(seconds);
    }
    Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", &call.key.name, &errors))
}

/// The Pod or Secret whose end is also the token's.
fn bound_object(call: &Call<'_>, request: &Tree, view: &dyn View) -> Result<Option<(&'static str, Tree)>, ApiError> {
    let reference = &request["spec"]["boundObjectRef"];
    if reference.is_null() {
        return Ok(None);
    }
    let (part, resource): (_, &Resource) = match (text(reference, "apiVersion"), text(reference, "kind")) {
        ("v1", "Pod") => ("pod", &PODS),
        ("v1", "Secret") => ("secret", &SECRETS),
        (version, kind) => {
            let why = format!(
                "cannot bind token for serviceaccount {:?} to object of type {version}, Kind={kind}",
                call.key.name
            );
            return Err(ApiError::bad_request(why));
        }
    };
    let name = text(reference, "name");
    let key = ObjectKey::new(call.key.namespace.as_str(), name);
    let kind = crate::catalog::of(resource).expect("pods and secrets are in the catalog");
    let entry = view.get(&keys::object(kind, &key)).ok_or_else(|| ApiError::not_found(resource, name))?;
    let object = super::replace::parse(&entry)?;
    let (wanted, present) = (text(reference, "uid"), meta::uid(&object));
    if !wanted.is_empty() && wanted != present {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(resource, name, why));
    }
    if part == "pod" && text(&object["spec"], "serviceAccountName") != call.key.name {
        let why = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            call.key.name
        );
        return Err(ApiError::bad_request(why));
    }
    Ok(Some((part, object)))
}

fn private_claims(call: &Call<'_>, account: &Tree, bound: Option<&(&'static str, Tree)>) -> Value {
    let mut claims = json!({
        "namespace": call.key.namespace,
        "serviceaccount": {"name": call.key.name, "uid": meta::uid(account)},
    });
    if let Some((part, object)) = bound {
        claims[*part] = json!({"name": meta::name(object), "uid": meta::uid(object)});
        let node = text(&object["spec"], "nodeName");
        if *part == "pod" && !node.is_empty() {
            claims["node"] = json!({"name": node});
        }
    }
    claims
}
