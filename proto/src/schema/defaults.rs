//! Static defaults, from the table `defaults.txt` (or a custom resource's schema).

use super::types::{Condition, DefaultRule};
use super::{Shape, Type};
use serde_json::{Map, Value};

/// Fills in every absent field that has a fixed default, at every depth. Parts of another type than the schema says are left alone.
pub fn apply(ty: &Type, tree: &mut Value) {
    let Value::Object(entries) = tree else { return };
    for rule in &ty.defaults {
        if holds(&rule.condition, entries) {
            fill(rule, entries);
        }
    }
    for (name, value) in entries.iter_mut() {
        if let Some(field) = ty.field(name) {
            descend(&field.shape, value);
        }
    }
}

fn descend(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(ty), value) => apply(ty.get(), value),
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|v| descend(item, v)),
        (Shape::Map(item), Value::Object(entries)) => entries.values_mut().for_each(|v| descend(item, v)),
        _ => {}
    }
}

fn holds(condition: &Condition, entries: &Map<String, Value>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::FieldIs { field, one_of } => {
            let text = entries.get(field.as_ref()).and_then(Value::as_str).unwrap_or_default();
            one_of.iter().any(|v| v == text)
        }
        Condition::Alone(field) => entries.keys().all(|name| name == field),
    }
}

fn fill(rule: &DefaultRule, entries: &mut Map<String, Value>) {
    let Some((last, outer)) = rule.path.split_last() else { return };
    let mut target = entries;
    for step in outer {
        match target.get_mut(step.as_ref()) {
            Some(Value::Object(inner)) => target = inner,
            _ => return,
        }
    }
    if !target.contains_key(last.as_ref()) {
        target.insert(last.to_string(), rule.value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::of_kind;
    use serde_json::json;

    fn defaulted(group: &str, kind: &str, mut tree: Value) -> Value {
        apply(of_kind(group, "v1", kind).expect(kind), &mut tree);
        tree
    }

    #[test]
    fn a_pod_gets_upstreams_defaults() {
        let pod = json!({"spec": {
            "containers": [{"name": "c", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}],
            "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "x"}}, {"name": "c", "hostPath": {"path": "/"}}],
        }});
        let expected = json!({"spec": {
            "containers": [{
                "name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "x", "defaultMode": 420}},
                {"name": "c", "hostPath": {"path": "/", "type": ""}}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": true,
        }});
        assert_eq!(defaulted("", "Pod", pod), expected);
    }

    #[test]
    fn what_is_set_stays_and_conditions_look_at_neighbours() {
        let table = [
            (
                "apps",
                "Deployment",
                json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}),
                json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}}),
            ),
            (
                "apps",
                "Deployment",
                json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}}),
                json!({"spec": {"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
                    "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}}),
            ),
            (
                "",
                "Service",
                json!({"spec": {"ports": [{"port": 80}]}}),
                json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster"}, "status": {"loadBalancer": {}}}),
            ),
            (
                "",
                "Service",
                json!({"spec": {"type": "NodePort", "sessionAffinity": "ClientIP"}}),
                json!({"spec": {"type": "NodePort", "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                    "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster"}, "status": {"loadBalancer": {}}}),
            ),
            (
                "",
                "Service",
                json!({"spec": {"type": "ExternalName"}}),
                json!({"spec": {"type": "ExternalName", "sessionAffinity": "None"}, "status": {"loadBalancer": {}}}),
            ),
            // The pod template of a workload is no Pod: no enableServiceLinks.
            (
                "apps",
                "ReplicaSet",
                json!({"spec": {"replicas": 2, "template": {"spec": {"dnsPolicy": "None"}}}}),
                json!({"spec": {"replicas": 2, "template": {"spec": {"dnsPolicy": "None", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30}}}}),
            ),
            ("", "Secret", json!({}), json!({"type": "Opaque"})),
            ("", "ConfigMap", json!({"data": {"a": "b"}}), json!({"data": {"a": "b"}})),
            ("", "Pod", json!("no object"), json!("no object")),
            ("", "Pod", json!({"spec": 7}), json!({"spec": 7})),
        ];
        for (group, kind, from, to) in table {
            let once = defaulted(group, kind, from.clone());
            assert_eq!(once, to, "{from}");
            assert_eq!(defaulted(group, kind, once.clone()), once, "defaults are stable");
        }
    }
}
