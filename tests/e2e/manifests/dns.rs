//! Discovery by name: `<service>.<namespace>.svc.cluster.local` and every shorter form, from this namespace and others.

use crate::ground::{Ground, ground};
use crate::services::resolved;
use coracle_tests::{Manifest, eventually};
use std::collections::BTreeSet;

/// What a client pod gets at `http://<target>/`.
#[track_caller]
fn get(ground: &Ground, namespace: &str, target: &str) -> String {
    ground.exec(namespace, "client", &["wget", "-qO-", &format!("http://{target}/")])
}

#[test]
fn a_database_is_found_by_every_form_of_its_name() {
    let Some(ground) = ground(&["production"]) else { return };
    Manifest::of("002/service-discovery.yaml").apply(&ground.kubectl);
    Manifest::of("overlays/002-service-discovery/pods.yaml").apply(&ground.kubectl);
    for (namespace, pod) in [("production", "mysql"), ("production", "client"), ("default", "client")] {
        ground.ready(namespace, pod);
    }
    let address = ground.field("production", "service/database", ".spec.clusterIP");
    let only = BTreeSet::from([address]);
    let whole = "database.production.svc.cluster.local";
    eventually("the name is known", || {
        let found = resolved(&ground, "production", "client", whole);
        if found == only { Ok(()) } else { Err(found) }
    });
    // From its own namespace each form, from another all that name the namespace.
    for name in ["database", "database.production", "database.production.svc", whole] {
        assert_eq!(get(&ground, "production", &format!("{name}:3306")), "1.0 mysql\n", "{name}");
    }
    for name in ["database.production", "database.production.svc", whole] {
        assert_eq!(get(&ground, "default", &format!("{name}:3306")), "1.0 mysql\n", "{name}");
    }
    let missing = ["exec", "client", "--", "wget", "-qO-", "http://database:3306/"];
    let refused = ground.kubectl.run(&missing).refused();
    assert!(refused.contains("bad address"), "{refused}");
    assert_eq!(resolved(&ground, "default", "client", "database.default.svc.cluster.local"), BTreeSet::new());
    let server = ground.exec("default", "client", &["cat", "/etc/resolv.conf"]);
    assert!(server.contains("search default.svc.cluster.local svc.cluster.local cluster.local"), "{server}");
    assert!(server.contains("options ndots:5"), "{server}");
}
