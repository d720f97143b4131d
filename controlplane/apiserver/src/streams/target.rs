//! The pod a stream is for, the node it is on, the container meant.

use crate::http::Asked;
use crate::registry::Call;
use crate::validate::{items, text};
use coracle_proto::api::ReadAt;
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, Tree, meta};

pub struct Target {
    pub pod: Tree,
    pub node: String,
}

impl Target {
    pub async fn find(asked: &Asked, call: &Call<'_>) -> Result<Self, ApiError> {
        let pod = find_pod(asked, call).await?;
        let node = text(&pod["spec"], "nodeName").to_owned();
        if node.is_empty() {
            let why = format!("pod {} does not have a host assigned", call.key.name);
            return Err(ApiError::new(Reason::BadRequest, why));
        }
        Ok(Self { pod, node })
    }

    /// Namespace, name, uid.
    pub fn identity(&self) -> (String, String, String) {
        (meta::namespace(&self.pod).into(), meta::name(&self.pod).into(), meta::uid(&self.pod).into())
    }

    pub fn container(&self, asked: &str) -> Result<String, ApiError> {
        container(&self.pod, asked)
    }
}

/// The pod itself; its subresource has been authorised.
pub async fn find_pod(asked: &Asked, call: &Call<'_>) -> Result<Tree, ApiError> {
    let own = crate::UserInfo::loopback();
    let whole = Call { user: &own, subresource: "", ..call.clone() };
    asked.registry.get(&whole, ReadAt::Latest).await?.tree()
}

/// The container named, or the only one there is.
pub fn container(pod: &Tree, asked: &str) -> Result<String, ApiError> {
    let name = meta::name(pod);
    let names = |list: &str| items(&pod["spec"], list).iter().map(|c| text(c, "name")).collect::<Vec<_>>();
    let (regular, init) = (names("containers"), names("initContainers"));
    if !asked.is_empty() {
        let known = regular.iter().chain(&init).chain(&names("ephemeralContainers")).any(|c| *c == asked);
        let why = || ApiError::bad_request(format!("container {asked} is not valid for pod {name}"));
        return if known { Ok(asked.into()) } else { Err(why()) };
    }
    match regular.as_slice() {
        [only] => Ok((*only).into()),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
        several => {
            let mut why =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", several.join(" "));
            if !init.is_empty() {
                why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_is_the_only_one_or_named() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&one, ""), Ok("a".into()));
        assert_eq!(container(&two, "i"), Ok("i".into()));
        let message = |result: Result<String, ApiError>| result.expect_err("refused").message;
        assert_eq!(
            message(container(&two, "")),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(message(container(&one, "x")), "container x is not valid for pod p");
    }
}
