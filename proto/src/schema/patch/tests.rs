//! Cases with upstream's results.

use super::*;
use crate::schema::of_kind;
use serde_json::json;

fn merged(kind: &str, original: Value, patch: Value) -> std::result::Result<Value, String> {
    let group = if kind == "Deployment" { "apps" } else { "" };
    let ty = of_kind(group, "v1", kind).expect(kind);
    strategic(&original, &patch, ty).map_err(|e| e.to_string())
}

/// `(what, kind, original, patch, result)`.
fn check(cases: Vec<(&str, &str, Value, Value, Value)>) {
    for (what, kind, original, patch, result) in cases {
        assert_eq!(merged(kind, original, patch), Ok(result), "{what}");
    }
}

#[test]
fn objects_and_scalars() {
    check(vec![
        (
            "set and keep",
            "Deployment",
            json!({"spec": {"replicas": 1, "paused": true}}),
            json!({"spec": {"replicas": 2}}),
            json!({"spec": {"replicas": 2, "paused": true}}),
        ),
        (
            "null deletes",
            "Pod",
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null}}}),
            json!({"metadata": {"labels": {"b": "2"}}}),
        ),
        (
            "null of what is absent",
            "Pod",
            json!({"metadata": {}}),
            json!({"metadata": {"labels": null}, "spec": null}),
            json!({"metadata": {}}),
        ),
        (
            "nulls inside a new value",
            "Pod",
            json!({}),
            json!({"metadata": {"labels": {"a": null, "b": "2"}}}),
            json!({"metadata": {"labels": {"b": "2"}}}),
        ),
        (
            "replace a map",
            "Pod",
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
            json!({"metadata": {"labels": {"b": "2"}}}),
        ),
        (
            "delete a map",
            "Pod",
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"labels": {"$patch": "delete"}}}),
            json!({"metadata": {"labels": {}}}),
        ),
        (
            "another type",
            "Pod",
            json!({"spec": {"nodeSelector": "x"}}),
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
        ),
        ("empty", "Pod", json!({"spec": {"nodeName": "n"}}), json!({}), json!({"spec": {"nodeName": "n"}})),
        ("of nothing", "Pod", json!(null), json!({"spec": {"nodeName": "n"}}), json!({"spec": {"nodeName": "n"}})),
    ]);
}

#[test]
fn lists_of_objects_merge_by_key() {
    let two =
        json!({"spec": {"containers": [{"name": "a", "image": "i1", "tty": true}, {"name": "b", "image": "i2"}]}});
    check(vec![
        (
            "one element changes in place",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"name": "b", "image": "i3"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "i1", "tty": true}, {"name": "b", "image": "i3"}]}}),
        ),
        (
            "a new element comes first, as upstream's documentation shows",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c"}, {"name": "a", "image": "i1", "tty": true}, {"name": "b", "image": "i2"}]}}),
        ),
        (
            "the patch's order rules for its own",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "i2"}, {"name": "a", "image": "i1", "tty": true}]}}),
        ),
        (
            "delete one",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "i2"}]}}),
        ),
        (
            "delete one that is not there",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"name": "x", "$patch": "delete"}]}}),
            two.clone(),
        ),
        (
            "replace the list",
            "Pod",
            two.clone(),
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c"}]}}),
        ),
        (
            "nested keys",
            "Pod",
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}, {"containerPort": 81}]}]}}),
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": null, "hostPort": 8}]}]}}),
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8}, {"containerPort": 81}]}]}}),
        ),
        (
            "delete by a number",
            "Service",
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
            json!({"spec": {"ports": [{"$patch": "delete", "port": 80}]}}),
            json!({"spec": {"ports": [{"port": 81}]}}),
        ),
        (
            "a list without strategy is replaced",
            "Pod",
            json!({"spec": {"tolerations": [{"key": "a"}], "containers": []}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}], "containers": []}}),
        ),
        (
            "delete in a new list does nothing",
            "Pod",
            json!({"spec": {}}),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
        ),
        (
            "conditions of status",
            "Deployment",
            json!({"status": {"conditions": [{"type": "A", "status": "True"}]}}),
            json!({"status": {"conditions": [{"type": "A", "status": "False"}, {"type": "B", "status": "True"}]}}),
            json!({"status": {"conditions": [{"type": "A", "status": "False"}, {"type": "B", "status": "True"}]}}),
        ),
    ]);
}

#[test]
fn lists_of_scalars_are_sets() {
    let meta = |list: Value| json!({"metadata": {"finalizers": list}});
    check(vec![
        ("union", "Pod", meta(json!(["a", "b"])), meta(json!(["c", "b"])), meta(json!(["c", "a", "b"]))),
        (
            "delete from",
            "Pod",
            meta(json!(["a", "b", "c"])),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}}),
            meta(json!(["b", "c"])),
        ),
        (
            "delete from and add",
            "Pod",
            meta(json!(["a", "b"])),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
            meta(json!(["c", "b"])),
        ),
        (
            "delete from what is absent",
            "Pod",
            json!({"metadata": {}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
            json!({"metadata": {}}),
        ),
        (
            "ordered",
            "Pod",
            meta(json!(["a", "b", "s"])),
            json!({"metadata": {"$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"]}}),
            meta(json!(["c", "b", "a", "s"])),
        ),
    ]);
}

#[test]
fn element_order_is_set() {
    let spec = |names: &[&str]| {
        let list: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
        json!({"spec": {"containers": list}})
    };
    let order = |names: &[&str], containers: Option<Value>| {
        let list: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
        let mut patch = json!({"spec": {"$setElementOrder/containers": list}});
        if let Some(containers) = containers {
            patch["spec"]["containers"] = containers;
        }
        patch
    };
    check(vec![
        ("reorder only", "Pod", spec(&["a", "b", "c"]), order(&["c", "a", "b"], None), spec(&["c", "a", "b"])),
        (
            "add in the middle",
            "Pod",
            spec(&["a", "c"]),
            order(&["a", "b", "c"], Some(json!([{"name": "b"}]))),
            spec(&["a", "b", "c"]),
        ),
        (
            "the server's own stays near its neighbours",
            "Pod",
            spec(&["a", "sidecar", "b"]),
            order(&["a", "b"], Some(json!([{"name": "b"}]))),
            spec(&["a", "sidecar", "b"]),
        ),
        (
            "the server's own, when those around it swap",
            "Pod",
            spec(&["a", "sidecar", "b"]),
            order(&["b", "a"], None),
            spec(&["sidecar", "b", "a"]),
        ),
        (
            "delete and order",
            "Pod",
            spec(&["a", "b", "c"]),
            order(&["c", "a"], Some(json!([{"name": "b", "$patch": "delete"}]))),
            spec(&["c", "a"]),
        ),
        (
            "a new list",
            "Pod",
            json!({"spec": {}}),
            order(&["b", "a"], Some(json!([{"name": "b"}, {"name": "a"}, {"name": "x", "$patch": "delete"}]))),
            spec(&["b", "a"]),
        ),
        (
            "nothing to order",
            "Pod",
            json!({"spec": {"nodeName": "n"}}),
            order(&["a"], None),
            json!({"spec": {"nodeName": "n"}}),
        ),
        ("not for what the patch deletes", "Pod", spec(&["a"]), order(&["a"], Some(json!(null))), json!({"spec": {}})),
    ]);
    let mismatch = merged("Pod", json!({"spec": {}}), order(&["b", "a"], Some(json!([{"name": "a"}, {"name": "b"}]))));
    assert_eq!(
        mismatch,
        Err("The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n".into())
    );
}

#[test]
fn retained_keys() {
    let strategy = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    check(vec![
        (
            "what is not retained goes",
            "Deployment",
            strategy.clone(),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        (
            "in a list",
            "Pod",
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "hostPath": {"path": "/"}}]}}),
        ),
        (
            "in a new value",
            "Deployment",
            json!({"spec": {}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
    ]);
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    assert_eq!(merged("Deployment", strategy, patch), Err("invalid patch format of retainKeys".into()));
}

#[test]
fn bad_patches_are_refused_in_upstreams_words() {
    let two = json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {"finalizers": ["a"]}});
    let table = [
        (
            json!([1]),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            json!({"spec": {"$patch": "frobnicate", "a": 1}}),
            "unknown patch type: frobnicate in map: map[$patch:frobnicate a:1]",
        ),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"containers": [{"$patch": "delete"}]}}),
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"containers": [{"name": "a", "$patch": "merge"}]}}),
            "merging lists cannot yet be specified in the patch",
        ),
        (json!({"spec": {"containers": ["a"]}}), "list element types are not identical: map, string"),
        (json!({"metadata": {"finalizers": [["a"]]}}), "list element types are not identical: slice"),
        (json!({"metadata": {"$deleteFromPrimitiveList": ["a"]}}), "invalid patch format of primitive list"),
        (json!({"metadata": {"$setElementOrder/": ["a"]}}), "invalid patch format of setElementOrder list"),
        (json!({"metadata": {"$setElementOrder/finalizers": "a"}}), "expected a slice, but received a string"),
        (
            json!({"metadata": {"$setElementOrder/nope": ["a"], "nope": ["a"]}}),
            r#"unable to find api field in struct ObjectMeta for the json field "nope""#,
        ),
    ];
    for (patch, message) in table {
        assert_eq!(merged("Pod", two.clone(), patch.clone()), Err(message.into()), "{patch}");
    }
}

#[test]
fn kubectls_set_image_patch_leaves_the_rest() {
    let original = json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [
        {"name": "web", "image": "v1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "side", "image": "s"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "web"}, {"name": "side"}],
        "containers": [{"name": "web", "image": "v2"}]}}}});
    let mut expected = original.clone();
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = "v2".into();
    assert_eq!(merged("Deployment", original, patch), Ok(expected));
}

/// Whatever a client sends: an answer, no panic; and what merges is still an object that decodes or is refused.
#[test]
fn hostile_patches_never_panic() {
    use crate::schema::decode::{self, FieldValidation};
    use crate::schema::sample::{Sampler, rounds};
    const KEYS: [&str; 9] = [
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/ports",
        "$deleteFromPrimitiveList/finalizers",
        "$deleteFromPrimitiveList/",
        "$setElementOrder",
        "name",
        "containers",
    ];
    let values = [
        json!("replace"),
        json!("delete"),
        json!("merge"),
        json!(null),
        json!([]),
        json!(["a", {"name": "s1"}]),
        json!([{"name": "s1"}]),
        json!({"a": 1}),
        json!([[1]]),
    ];
    fn damage(tree: &mut Value, dice: &mut Sampler, values: &[Value]) {
        match tree {
            Value::Object(entries) => {
                if dice.below(6) == 0 {
                    entries.insert(KEYS[dice.below(KEYS.len())].into(), values[dice.below(values.len())].clone());
                }
                entries.values_mut().for_each(|v| damage(v, dice, values));
            }
            Value::Array(items) => {
                if dice.below(6) == 0 {
                    items.push(values[dice.below(values.len())].clone());
                }
                items.iter_mut().for_each(|v| damage(v, dice, values));
            }
            other if dice.below(20) == 0 => *other = values[dice.below(values.len())].clone(),
            _ => {}
        }
    }
    let pod = of_kind("", "v1", "Pod").expect("built in");
    let original = Sampler::new(1, 3).object(pod, "v1", "Pod");
    let mut dice = Sampler::new(9, 0);
    let (mut good, mut bad) = (0, 0);
    for round in 0..rounds(1000) {
        let mut patch = Sampler::new(1 + round as u64 % 3, 1 + round % 3).object(pod, "v1", "Pod");
        damage(&mut patch, &mut dice, &values);
        match strategic(&original, &patch, pod) {
            Ok(merged) => {
                good += 1;
                drop(decode::tree(merged, pod, FieldValidation::Warn));
            }
            Err(_) => bad += 1,
        }
    }
    assert!(good > 50 && bad > 50, "{good} {bad}");
}

#[test]
fn an_empty_patch_and_the_object_itself_change_nothing() {
    use crate::schema::sample::Sampler;
    for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("", "Service"), ("", "Node")] {
        let ty = of_kind(group, "v1", kind).expect(kind);
        let object = Sampler::new(4, 4).object(ty, "x", kind);
        assert_eq!(strategic(&object, &json!({}), ty), Ok(object.clone()), "{kind}");
    }
}
