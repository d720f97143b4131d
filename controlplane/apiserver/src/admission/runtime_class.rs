//! RuntimeClass: a sandbox that was asked for must not be silently left out. No classes are served, so none is found.

use crate::validate::text;
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, Tree, meta};

pub fn admit(pod: &Tree) -> Result<(), ApiError> {
    let class = text(&pod["spec"], "runtimeClassName");
    if class.is_empty() {
        return Ok(());
    }
    let why = format!("pod rejected: RuntimeClass {class:?} not found");
    Err(ApiError::forbidden(&PODS, meta::name(pod), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_that_is_not_there_is_refused() {
        let pod = |spec: Tree| json!({"metadata": {"name": "p"}, "spec": spec});
        assert_eq!(admit(&pod(json!({}))), Ok(()));
        let refused = admit(&pod(json!({"runtimeClassName": "gvisor"}))).expect_err("there is no such class");
        assert_eq!(refused.message, r#"pods "p" is forbidden: pod rejected: RuntimeClass "gvisor" not found"#);
    }
}
