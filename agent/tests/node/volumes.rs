//! Volumes as a container sees them, and how they follow what they are made of.

use crate::ground::{ground, is_ready};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_volume_is_there() {
    let Some(ground) = ground().await else { return };
    ground
        .control
        .put("configmaps", json!({"metadata": {"name": "c", "namespace": "default"}, "data": {"a": "1", "b": "2"}}));
    ground
        .control
        .put("secrets", json!({"metadata": {"name": "s", "namespace": "default"}, "data": {"k": "aGlkZGVu"}}));
    let script = "set -e
        test \"$(cat /c/a)\" = 1
        test \"$(cat /one)\" = 2
        test \"$(cat /s/k)\" = hidden
        test \"$(stat -c %a -L /s/k)\" = 440
        test \"$(cat /p/token)\" = 'token of default'
        test \"$(cat /p/ns)\" = default
        touch /e/x /m/x
        test \"$(stat -c %g /e)\" = 77
        test \"$(id -G)\" = '0 77'
        mount | grep -q ' /m type tmpfs'
        touch /c/new 2>/dev/null && exit 9
        grep -q '1.2.3.4' /etc/hosts
        grep -q 'nameserver 172.31.0.10' /etc/resolv.conf
        test -d /sub/made
        echo ok > /dev/termination-log";
    let mounts = json!([
        {"name": "c", "mountPath": "/c"}, {"name": "c", "mountPath": "/one", "subPath": "b"},
        {"name": "s", "mountPath": "/s"}, {"name": "p", "mountPath": "/p"},
        {"name": "e", "mountPath": "/e"}, {"name": "m", "mountPath": "/m"},
        {"name": "e", "mountPath": "/sub/made", "subPathExpr": "$(NAME)/deep"},
    ]);
    ground.run("vol", json!({
        "restartPolicy": "Never", "securityContext": {"fsGroup": 77}, "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x"]}],
        "volumes": [
            {"name": "c", "configMap": {"name": "c"}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
            {"name": "p", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}},
            {"name": "e", "emptyDir": {}},
            {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
        "containers": [{"name": "main", "sh": script, "volumeMounts": mounts, "env": [{"name": "NAME", "value": "n"}]}],
    }));
    let pod = ground
        .pod("vol", |p| {
            let ended = &p["status"]["containerStatuses"][0]["state"]["terminated"];
            ended.is_object() && (ended["exitCode"] != 0 || ended["message"].is_string())
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "ok\n", "{:#}", pod["status"]);
    ground.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_volume_follows() {
    let Some(ground) = ground().await else { return };
    let map = |value: &str| json!({"metadata": {"name": "c", "namespace": "default"}, "data": {"a": value}});
    ground.control.put("configmaps", map("old"));
    let script = "until test \"$(cat /c/a)\" = new; do sleep 0.02; done; echo -n seen > /dev/termination-log";
    ground.run(
        "follows",
        json!({
            "restartPolicy": "Never", "volumes": [{"name": "c", "configMap": {"name": "c"}}],
            "containers": [{"name": "main", "sh": script, "volumeMounts": [{"name": "c", "mountPath": "/c"}]}],
        }),
    );
    ground.pod("follows", is_ready).await;
    ground.control.put("configmaps", map("new"));
    ground.pod("follows", |p| p["status"]["phase"] == "Succeeded").await;
    ground.finish().await;
}
