//! Where a Service's traffic goes: blue or green by its selector, stable or canary by the number of replicas.

use crate::ground::{Ground, ground};
use coracle_tests::{Manifest, eventually, fetch};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The first word of an answer is its server's version.
fn version(address: &str) -> Result<String, String> {
    match fetch(address, "/") {
        Ok((200, body)) => Ok(body.split(' ').next().unwrap_or_default().to_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// Points a Service at `color` and connects again and again: every connection is answered, and after the first answer
/// of the new version none is of the old.
#[track_caller]
fn switch(ground: &Ground, namespace: &str, service: &str, color: &str, from: &str, to: &str) {
    let address = ground.service(namespace, service);
    eventually("the Service answers", || version(&address));
    let patch = json!({"spec": {"selector": {"version": color}}}).to_string();
    let connecting = || version(&address).expect("no connection fails");
    std::thread::scope(|scope| {
        let patched = scope.spawn(|| ground.kubectl.ok(&["-n", namespace, "patch", "service", service, "-p", &patch]));
        eventually("the first answer of the new version", || match connecting() {
            found if found == to => Ok(()),
            found => {
                assert_eq!(found, from);
                Err(found)
            }
        });
        patched.join().expect("patched");
    });
    for n in 0..200 {
        assert_eq!(connecting(), to, "connection {n} after the switch");
    }
}

/// Of the pods of one namespace, as many run as the node has room for by their requests, and the rest wait and say why.
#[track_caller]
fn runs_what_fits(ground: &Ground, namespace: &str, pods: u64, cpu_millis: u64, memory_mebibytes: u64) {
    let node = ground.kubectl.json(&["get", "nodes"])["items"][0]["status"]["allocatable"].clone();
    let number = |field: &str, unit: &str| -> u64 {
        let text = node[field].as_str().unwrap_or_default().trim_end_matches(unit);
        text.parse().unwrap_or_else(|e| panic!("{e}: {node}"))
    };
    let by_cpu = number("cpu", "") * 1000 / cpu_millis;
    let by_memory = number("memory", "Ki") / 1024 / memory_mebibytes;
    let fit = pods.min(by_cpu).min(by_memory);
    eventually("as many pods run as fit", || {
        let list = ground.kubectl.json(&["-n", namespace, "get", "pods"]);
        let phases: Vec<_> =
            list["items"].as_array().into_iter().flatten().map(|p| p["status"]["phase"].clone()).collect();
        let count = |phase: &str| phases.iter().filter(|found| **found == phase).count() as u64;
        if count("Running") == fit && count("Pending") == pods - fit { Ok(()) } else { Err(phases) }
    });
    if fit < pods {
        let lacking = if by_cpu <= by_memory { "Insufficient cpu" } else { "Insufficient memory" };
        ground.told(namespace, "FailedScheduling", |event| {
            let message = event["message"].as_str().unwrap_or_default();
            message.starts_with("0/1 nodes are available: 1 ") && message.contains(lacking)
        });
    }
}

/// Takes a manifest away and applies its overlay. An update in place would wait for ever: pods that fill the node may
/// not go before new ones run.
#[track_caller]
fn replace(ground: &Ground, file: &str, overlay: &str) {
    ground.kubectl.run_with_input(&["delete", "-f", "-"], &Manifest::of(file).text()).succeeded();
    Manifest::overlaid(&ground.kubectl, overlay).apply(&ground.kubectl);
}

#[test]
fn the_patterns_guide_s_recommendation_service_turns_green_and_back() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("000/blue-green.yaml").apply(&ground.kubectl);
    runs_what_fits(&ground, "default", 10, 500, 512);
    let service = |color: &str, from: &str, to: &str| {
        switch(&ground, "default", "recommendation-service", color, from, to);
    };
    replace(&ground, "000/blue-green.yaml", "000-blue-green");
    ground.rolled_out("default", "recommendation-service-blue");
    ground.kubectl.ok(&["scale", "deployment/recommendation-service-green", "--replicas=10"]);
    ground.rolled_out("default", "recommendation-service-green");
    service("green", "v1.2.3", "v1.3.0");
    service("blue", "v1.3.0", "v1.2.3");
}

#[test]
fn the_guide_s_user_service_turns_green_and_back() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("001/blue-green.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service-blue");
    ground.rolled_out("default", "user-service-green");
    switch(&ground, "default", "user-service", "green", "1.0.0", "2.0.0");
    switch(&ground, "default", "user-service", "blue", "2.0.0", "1.0.0");
}

#[test]
fn the_chapter_s_app_turns_green_and_back() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::overlaid(&ground.kubectl, "002-blue-green").apply(&ground.kubectl);
    ground.rolled_out("default", "app-blue");
    ground.rolled_out("default", "app-green");
    switch(&ground, "default", "app-service", "green", "v1.0", "v2.0");
    switch(&ground, "default", "app-service", "blue", "v2.0", "v1.0");
}

#[test]
fn the_framework_s_myapp_turns_green_and_back() {
    let Some(ground) = ground(&["production"]) else { return };
    Manifest::of("004/blue-green.yaml").apply(&ground.kubectl);
    runs_what_fits(&ground, "production", 10, 250, 256);
    replace(&ground, "004/blue-green.yaml", "004-blue-green");
    ground.rolled_out("production", "myapp-blue");
    ground.rolled_out("production", "myapp-green");
    switch(&ground, "production", "myapp-service", "green", "blue", "green");
    switch(&ground, "production", "myapp-service", "blue", "green", "blue");
}

/// Counts so many connections that a fair choice misses the tolerance once in a billion runs: it is six times the
/// standard deviation of the share.
#[track_caller]
fn gets_a_tenth(ground: &Ground, service: &str, stable: &str, canary: &str) {
    const CONNECTIONS: u32 = 3000;
    let tolerance = 6.0 * (0.1 * 0.9 / f64::from(CONNECTIONS)).sqrt();
    let address = ground.service("default", service);
    eventually("ten endpoints", || {
        let slices =
            ground.kubectl.json(&["get", "endpointslices", "-l", &format!("kubernetes.io/service-name={service}")]);
        let all = slices["items"].as_array().cloned().unwrap_or_default();
        let count: usize = all.iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).sum();
        if count == 10 { Ok(()) } else { Err(slices) }
    });
    // What the slice says reaches the packet rules a little later.
    let mut seen = std::collections::BTreeSet::new();
    eventually("every pod answers", || {
        seen.insert(fetch(&address, "/").expect("no connection fails").1);
        if seen.len() == 10 { Ok(()) } else { Err(seen.clone()) }
    });
    let mut counts = BTreeMap::<String, u32>::new();
    for _ in 0..CONNECTIONS {
        *counts.entry(version(&address).expect("no connection fails")).or_default() += 1;
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), [stable, canary], "{counts:?}");
    let share = f64::from(counts[canary]) / f64::from(CONNECTIONS);
    assert!((share - 0.1).abs() < tolerance, "{share} of {counts:?}");
}

#[test]
fn one_canary_beside_nine_gets_a_tenth_of_the_user_service() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::of("001/canary.yaml").only(&["Deployment"]).apply(&ground.kubectl);
    Manifest::of("001/cluster-ip.yaml").apply(&ground.kubectl);
    ground.rolled_out("default", "user-service-stable");
    ground.rolled_out("default", "user-service-canary");
    gets_a_tenth(&ground, "user-service", "1.0.0", "2.0.0");
}

#[test]
fn one_canary_beside_nine_gets_a_tenth_of_the_app() {
    let Some(ground) = ground(&[]) else { return };
    Manifest::overlaid(&ground.kubectl, "002-canary").apply(&ground.kubectl);
    ground.rolled_out("default", "app-stable");
    ground.rolled_out("default", "app-canary");
    gets_a_tenth(&ground, "app-service", "v1.0", "v2.0");
    // Without the canary everything is stable again.
    ground.kubectl.ok(&["scale", "deployment/app-canary", "--replicas=0"]);
    let address = ground.service("default", "app-service");
    eventually("the canary's endpoint has gone", || {
        let slices = ground.kubectl.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=app-service"]);
        let endpoints = slices["items"][0]["endpoints"].as_array().map_or(0, Vec::len);
        if endpoints == 9 { Ok(()) } else { Err::<(), Value>(slices) }
    });
    eventually("a hundred answers in a row are stable", || {
        let found: Vec<_> = (0..100).map(|_| version(&address)).collect();
        if found.iter().all(|v| v.as_deref() == Ok("v1.0")) { Ok(()) } else { Err(found) }
    });
}
