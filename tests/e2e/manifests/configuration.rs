//! ConfigMaps and Secrets: values arrive by every way, and files follow changes.

use crate::ground::{Ground, ground};
use coracle_tests::{Manifest, eventually};
use serde_json::{Value, json};

/// Every ConfigMap of the documents, also those whose users are systems of their own.
const CONFIG_MAPS: &[&str] = &[
    "000/config-maps-and-secrets.yaml",
    "000/grafana-dashboard.yaml",
    "000/postgresql.yaml",
    "000/redis.yaml",
    "001/config-map.yaml",
    "003/config-map.yaml",
    "004/config-maps-and-secrets.yaml",
    "004/monitoring.yaml",
];

#[test]
fn every_config_map_is_kept_as_it_was_written() {
    let Some(ground) = ground(&["production", "monitoring"]) else { return };
    for file in CONFIG_MAPS {
        let manifest = Manifest::of(file).only(&["ConfigMap"]);
        manifest.apply(&ground.kubectl);
        for document in manifest.documents() {
            let metadata = &document["metadata"];
            let namespace = metadata["namespace"].as_str().unwrap_or("default");
            let name = metadata["name"].as_str().expect("a name");
            let kept = ground.kubectl.json(&["-n", namespace, "get", "configmap", name]);
            assert_eq!(kept["data"], document["data"], "{file}: {name}");
            assert_eq!(kept["metadata"]["labels"], metadata["labels"], "{file}: {name}");
        }
    }
}

/// A pod that mounts `volume` at /mounted and has `env`.
fn reader(name: &str, namespace: &str, volume: &Value, env: &Value) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "mounted"}],
            "containers": [{
                "name": "reader", "image": "myapp:1.0", "env": env,
                "volumeMounts": [{"name": "mounted", "mountPath": "/mounted"}],
            }],
        },
    });
    let mut pod = pod;
    for (field, value) in volume.as_object().expect("a volume") {
        pod["spec"]["volumes"][0][field] = value.clone();
    }
    pod.to_string()
}

#[track_caller]
fn environment(ground: &Ground, target: &str, name: &str) -> String {
    ground.exec("default", target, &["sh", "-c", &format!("printf %s \"${name}\"")])
}

#[test]
fn env_from_a_config_map_and_env_from_a_secret_arrive() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::overlaid(&ground.kubectl, "001-config-map").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    let target = "deployment/user-service";
    for (name, value) in
        [("database_url", "postgresql://db:5432/mydb"), ("api_key", "secret-key"), ("log_level", "info")]
    {
        assert_eq!(environment(&ground, target, name), value);
    }
    // The same Deployment, now with the password.
    Manifest::overlaid(&ground.kubectl, "001-secret").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service");
    eventually("the pod with the password is the only one", || {
        ground.kubectl.run(&["get", "pods", "-o", "name"]).when(|text| text.lines().count() == 1)
    });
    assert_eq!(environment(&ground, target, "DB_PASSWORD"), "password123");
    assert_eq!(environment(&ground, target, "log_level"), "");
}

#[test]
fn a_secret_in_base64_and_one_in_plain_text_hold_what_they_say() {
    let Some(ground) = ground(&["production", "istio-system"]) else { return };
    Manifest::overlaid(&ground.kubectl, "000-config-maps-and-secrets").apply(&ground.kubectl);
    let env = json!([
        {"name": "USER", "valueFrom": {"secretKeyRef": {"name": "database-credentials", "key": "username"}}},
        {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "database-credentials", "key": "connection-string"}}},
    ]);
    let volume = json!({"configMap": {"name": "recommendation-service-config"}});
    ground.kubectl.apply(&reader("reader", "default", &volume, &env));
    ground.ready("default", "reader");
    assert_eq!(environment(&ground, "reader", "USER"), "username");
    assert_eq!(environment(&ground, "reader", "URL"), "postgresql://username:password@db.example.com:5432/netflix");
    let file = ground.exec("default", "reader", &["cat", "/mounted/application.yml"]);
    let manifest = Manifest::of("000/config-maps-and-secrets.yaml").documents();
    assert_eq!(manifest[0]["data"]["application.yml"], file);

    Manifest::of("003/secret.yaml").apply(&ground.kubectl);
    let secret = ground.kubectl.json(&["-n", "production", "get", "secret", "database-credentials"]);
    assert!(secret["stringData"].is_null(), "{secret}");
    assert_eq!(secret["data"]["username"], "YWRtaW4=");
    let volume = json!({"secret": {"secretName": "database-credentials", "defaultMode": 0o400}});
    ground.kubectl.apply(&reader("reader", "production", &volume, &json!([])));
    ground.ready("production", "reader");
    let inside = |command: &str| ground.exec("production", "reader", &["sh", "-c", command]);
    assert_eq!(inside("cat /mounted/username"), "admin");
    assert_eq!(inside("cat /mounted/url"), "postgresql://admin:super-secret-password@db:5432/myapp");
    assert_eq!(inside("stat -L -c %a /mounted/password"), "400\n");
    // In memory, never on a disk.
    assert!(inside("grep ' /mounted ' /proc/mounts").starts_with("tmpfs "));
}

#[test]
fn files_of_a_config_map_and_of_a_secret_follow_changes_and_variables_do_not() {
    let Some(ground) = ground(&["production"]) else { return };
    let ns = "production";
    Manifest::of("003/config-map.yaml").apply(&ground.kubectl);
    Manifest::of("003/secret.yaml").apply(&ground.kubectl);
    let volume = json!({"projected": {"sources": [
        {"configMap": {"name": "app-config"}}, {"secret": {"name": "database-credentials"}},
    ]}});
    let env = json!([{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app-config", "key": "LOG_LEVEL"}}}]);
    ground.kubectl.apply(&reader("reader", ns, &volume, &env));
    ground.ready(ns, "reader");
    let inside = |command: &str| ground.exec(ns, "reader", &["sh", "-c", command]);
    let data = Manifest::of("003/config-map.yaml").documents()[0]["data"].clone();
    assert_eq!(data["nginx.conf"], inside("cat /mounted/nginx.conf"));
    assert_eq!(data["config.json"], inside("cat /mounted/config.json"));
    let patch = |object: &str, patch: Value| {
        ground.kubectl.ok(&["-n", ns, "patch", object, "--type=merge", "-p", &patch.to_string()]);
    };
    patch("configmap/app-config", json!({"data": {"LOG_LEVEL": "debug", "nginx.conf": null, "new.conf": "new"}}));
    patch("secret/database-credentials", json!({"stringData": {"password": "another"}}));
    eventually("the files have changed", || {
        let found = inside("cd /mounted; cat LOG_LEVEL password; [ -e nginx.conf ] && echo old; cat new.conf || true");
        if found == "debuganothernew" { Ok(()) } else { Err(found) }
    });
    assert_eq!(inside("printf %s $LEVEL"), "info");
    let pod = ground.kubectl.json(&["-n", ns, "get", "pod", "reader"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_tls_secret_has_both_parts_and_is_mounted() {
    let Some(ground) = ground(&["production"]) else { return };
    let kinds = &["ConfigMap", "Secret"];
    Manifest::overlaid(&ground.kubectl, "004-config-maps-and-secrets").only(kinds).apply(&ground.kubectl);
    let secret = ground.kubectl.json(&["-n", "production", "get", "secret", "tls-certificate"]);
    assert_eq!(secret["type"], "kubernetes.io/tls");
    ground.kubectl.apply(&reader(
        "reader",
        "production",
        &json!({"secret": {"secretName": "tls-certificate"}}),
        &json!([]),
    ));
    ground.ready("production", "reader");
    let both = ground.exec("production", "reader", &["sh", "-c", "cd /mounted; cat tls.crt; echo; cat tls.key"]);
    assert_eq!(both, "certificate\nprivate key");
    let half = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "half"}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": ""}}"#;
    let refused = ground.kubectl.run_with_input(&["create", "-f", "-"], half).refused();
    assert!(refused.contains("data[tls.key]: Required value"), "{refused}");
}
