//! A pod that goes takes no request with it, though the API has not told the node yet that its endpoint is gone.

use crate::ground::{Ground, ground, is_ready};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn slice(pods: &[&Value]) -> Value {
    let endpoint = |pod: &&Value| {
        json!({"addresses": [pod["status"]["podIP"]], "conditions": {"ready": true}, "nodeName": "n1",
            "targetRef": {"kind": "Pod", "uid": pod["metadata"]["uid"]}})
    };
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    json!({
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

async fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /f HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.ends_with("hello\n"))
}

async fn web(ground: &Ground, name: &str) -> Value {
    // It dies at once when told to: whatever still reached it would fail.
    let script = "mkdir /w; echo hello > /w/f; exec busybox httpd -f -p 8080 -h /w";
    ground.run(
        name,
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "sh": script,
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}),
    );
    ground.pod(name, is_ready).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_leaves_its_services_before_it_stops() {
    let Some(ground) = ground().await else { return };
    let ip = ground.service_ip(77);
    ground.control.put(
        "services",
        json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "targetPort": 8080}]}}),
    );
    let (one, two) = (web(&ground, "one").await, web(&ground, "two").await);
    ground.control.put("endpointslices", slice(&[&one, &two]));
    let address = SocketAddr::new(IpAddr::V4(ip), 80);
    let reached = async {
        while !ask(address).await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::ground::PATIENCE, reached).await.expect("the service answers");

    let (stop, good, bad) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, good, bad) = (stop.clone(), good.clone(), bad.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if ask(address).await.unwrap_or(false) { &good } else { &bad };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    ground.control.delete_gracefully("default", "one", 1);
    // The slice goes on naming it as ready until after it is gone.
    ground.gone("one").await;
    let before = good.load(Ordering::Relaxed);
    let more = async {
        while good.load(Ordering::Relaxed) < before + 50 && bad.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::ground::PATIENCE, more).await.expect("requests go on");
    ground.control.put("endpointslices", slice(&[&two]));
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("it ends");
    }
    assert_eq!(bad.load(Ordering::Relaxed), 0, "of {}", good.load(Ordering::Relaxed));
    assert!(good.load(Ordering::Relaxed) > 10);
    ground.finish().await;
}
