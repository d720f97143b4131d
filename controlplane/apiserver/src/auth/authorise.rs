//! The decision about one request. Denied unless something here says otherwise.

use super::{node, rules};
use crate::catalog;
use crate::registry::{Call, Registry};
use crate::user::{MASTERS, UserInfo};
use coracle_proto::ApiError;
use coracle_proto::selector::FieldSelector;
use coracle_proto::status::Reason;

/// What is asked for, as `SubjectAccessReview` has it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Of a list or watch.
    pub fields: Option<&'a FieldSelector>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// With the reason, empty where there is nothing to say.
    Deny(&'static str),
}

impl Registry {
    pub fn decide(&self, user: &UserInfo, asked: &Attributes<'_>) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow;
        }
        if let Some(name) = user.node_name() {
            return node::decide(name, asked, self.local_view().as_ref());
        }
        if rules::allows(user, asked) { Decision::Allow } else { Decision::Deny("") }
    }

    pub(crate) fn authorise(&self, call: &Call<'_>, verb: &str) -> Result<(), ApiError> {
        self.authorise_selected(call, verb, None)
    }

    /// As [`Self::authorise`], for verbs whose field selector matters.
    pub(crate) fn authorise_selected(
        &self,
        call: &Call<'_>,
        verb: &str,
        fields: Option<&FieldSelector>,
    ) -> Result<(), ApiError> {
        let resource = call.resource();
        let asked = Attributes {
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource: call.subresource,
            namespace: if call.kind.facts().storage == "namespaces" { &call.key.name } else { &call.key.namespace },
            name: &call.key.name,
            fields,
        };
        match self.decide(call.user, &asked) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(refused(call.user, resource, &asked, why)),
        }
    }

    /// For paths that are no resource.
    pub fn authorise_path(&self, user: &UserInfo, verb: &str, path: &str) -> Result<(), ApiError> {
        if user.in_group(MASTERS) || rules::allows_path(user, verb, path) {
            return Ok(());
        }
        let why = format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name);
        let mut error = ApiError::new(Reason::Forbidden, why);
        error.details = Some(Box::default());
        Err(error)
    }

    /// For kinds that are only reviewed.
    pub(crate) fn authorise_review(&self, user: &UserInfo, review: &catalog::Review) -> Result<(), ApiError> {
        let resource = &review.resource;
        let asked = Attributes {
            verb: "create",
            group: &resource.group,
            resource: &resource.plural,
            subresource: "",
            namespace: "",
            name: "",
            fields: None,
        };
        match self.decide(user, &asked) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(refused(user, resource, &asked, why)),
        }
    }
}

fn refused(user: &UserInfo, resource: &coracle_proto::Resource, asked: &Attributes<'_>, why: &str) -> ApiError {
    let sub = if asked.subresource.is_empty() { String::new() } else { format!("/{}", asked.subresource) };
    let scope = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    let mut text = format!(
        "User {:?} cannot {} resource \"{}{sub}\" in API group {:?} {scope}",
        user.name, asked.verb, asked.resource, asked.group
    );
    if !why.is_empty() {
        text.push_str(": ");
        text.push_str(why);
    }
    ApiError::forbidden(resource, asked.name, text)
}
