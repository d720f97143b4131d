//! Reviews: questions that are answered and forgotten.

use super::{Registry, get};
use crate::auth::{Attributes, Decision, listed};
use crate::catalog::Review;
use crate::user::UserInfo;
use crate::validate::{items, text};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Object, Tree, meta};
use serde_json::{Value, json};

impl Registry {
    pub fn review(&self, user: &UserInfo, review: &Review, request: &Tree) -> Result<Object, ApiError> {
        self.authorise_review(user, review)?;
        let mut answer = request.clone();
        answer["apiVersion"] = review.resource.api_version().into();
        answer["kind"] = review.resource.kind.as_ref().into();
        meta::metadata_mut(&mut answer);
        let spec = &request["spec"];
        answer["status"] = match review.resource.plural.as_ref() {
            "selfsubjectreviews" => json!({"userInfo": user_info(user)}),
            "tokenreviews" => self.review_token(spec),
            "selfsubjectaccessreviews" => self.review_access(user, spec)?,
            "selfsubjectrulesreviews" => {
                let (resources, paths) = listed(user);
                json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": user.node_name().is_some()})
            }
            "subjectaccessreviews" => self.review_access(&named_user(spec), spec)?,
            _ => return Err(ApiError::new(Reason::NotFound, "the server could not find the requested resource")),
        };
        Ok(get::from_tree(&answer, 0))
    }

    fn review_token(&self, spec: &Tree) -> Value {
        let mut audiences: Vec<&str> = items(spec, "audiences").iter().filter_map(Tree::as_str).collect();
        if audiences.is_empty() {
            audiences.push(self.config.signer.issuer());
        }
        match self.token_user(text(spec, "token"), &audiences) {
            Some((user, own)) => {
                let shared: Vec<&String> = own.iter().filter(|a| audiences.contains(&a.as_str())).collect();
                json!({"authenticated": true, "user": user_info(&user), "audiences": shared})
            }
            None => json!({"user": {}, "error": "invalid bearer token"}),
        }
    }

    fn review_access(&self, user: &UserInfo, spec: &Tree) -> Result<Value, ApiError> {
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let decision = if resource.is_object() {
            let asked = Attributes {
                verb: text(resource, "verb"),
                group: text(resource, "group"),
                resource: text(resource, "resource"),
                subresource: text(resource, "subresource"),
                namespace: text(resource, "namespace"),
                name: text(resource, "name"),
                fields: None,
            };
            self.decide(user, &asked)
        } else if path.is_object() {
            match self.authorise_path(user, text(path, "verb"), text(path, "path")) {
                Ok(()) => Decision::Allow,
                Err(_) => Decision::Deny(""),
            }
        } else {
            let why = "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(ApiError::new(Reason::Invalid, why));
        };
        Ok(match decision {
            Decision::Allow => json!({"allowed": true}),
            Decision::Deny("") => json!({"allowed": false}),
            Decision::Deny(why) => json!({"allowed": false, "reason": why}),
        })
    }
}

fn named_user(spec: &Tree) -> UserInfo {
    let groups = items(spec, "groups").iter().filter_map(|g| g.as_str().map(Into::into)).collect();
    UserInfo { name: text(spec, "user").into(), uid: text(spec, "uid").into(), groups, ..UserInfo::default() }
}

fn user_info(user: &UserInfo) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
