//! Every manifest, and whether the API takes it as it stands.

use crate::ground::ground;
use coracle_tests::{Manifest, manifests_dir};

enum Verdict {
    /// Accepted, these kinds of its documents; others belong to systems of their own.
    Whole(&'static [&'static str]),
    /// Refused, with all of this in the message.
    Refused(&'static [&'static str]),
}
use Verdict::{Refused, Whole};

const NO_SELECTOR: &[&str] = &[
    "spec.selector: Required value",
    "spec.template.metadata.labels: Invalid value: ",
    ": `selector` does not match template `labels`",
];
/// `kubectl` itself sees that it is no object.
const NO_OBJECT: &[&str] = &["error validating data: [apiVersion not set, kind not set]"];
const CONFIG: &[&str] = &["ConfigMap"];

const VERDICTS: &[(&str, Verdict)] = &[
    ("000/blue-green.yaml", Whole(&["Deployment", "Service"])),
    (
        "000/config-maps-and-secrets.yaml",
        Refused(&["Secret in version \"v1\" cannot be handled as a Secret", ILLEGAL_14]),
    ),
    ("000/grafana-dashboard.yaml", Whole(CONFIG)),
    ("000/postgresql.yaml", Whole(CONFIG)),
    ("000/redis.yaml", Whole(CONFIG)),
    ("001/basic-deployment.yaml", Whole(&["Deployment"])),
    ("001/blue-green.yaml", Whole(&["Deployment", "Service"])),
    ("001/canary.yaml", Whole(&["Deployment"])),
    ("001/cluster-ip.yaml", Whole(&["Service"])),
    ("001/config-map.yaml", Refused(NO_SELECTOR)),
    ("001/headless.yaml", Whole(&["Service"])),
    ("001/health-checks.yaml", Refused(NO_OBJECT)),
    ("001/node-port.yaml", Whole(&["Service"])),
    ("001/rolling-update.yaml", Whole(&["Deployment"])),
    ("001/secret.yaml", Refused(NO_SELECTOR)),
    ("002/blue-green.yaml", Refused(NO_SELECTOR)),
    ("002/canary.yaml", Refused(NO_SELECTOR)),
    ("002/migration-init-container.yaml", Refused(NO_OBJECT)),
    ("002/rolling-update.yaml", Refused(NO_TEMPLATE)),
    ("002/service-discovery.yaml", Whole(&["Service"])),
    ("002/zero-downtime.yaml", Refused(NO_OBJECT)),
    ("003/cluster-ip.yaml", Whole(&["Service"])),
    ("003/config-map.yaml", Whole(CONFIG)),
    ("003/headless.yaml", Whole(&["Service"])),
    ("003/production-deployment.yaml", Whole(&["Deployment"])),
    ("003/secret.yaml", Whole(&["Secret"])),
    ("003/service-account.yaml", Whole(&["ServiceAccount"])),
    ("003/sidecar-pod.yaml", Whole(&["Pod"])),
    ("003/simple-pod.yaml", Whole(&["Pod"])),
    ("004/blue-green.yaml", Whole(&["Deployment", "Service"])),
    (
        "004/config-maps-and-secrets.yaml",
        Refused(&["Secret in version \"v1\" cannot be handled as a Secret", ILLEGAL_36]),
    ),
    ("004/monitoring.yaml", Whole(CONFIG)),
];

/// The certificates end in dots where the documents abbreviate them.
const ILLEGAL_14: &str = "illegal base64 data at input byte 14";
const ILLEGAL_36: &str = "illegal base64 data at input byte 36";
const NO_TEMPLATE: &[&str] = &[
    "The Deployment \"nginx-deployment\" is invalid: \n* spec.selector: Required value\n",
    "* spec.template.metadata.labels: Invalid value: ",
    ": `selector` does not match template `labels`\n",
    "* spec.template.spec.containers: Required value\n",
];

#[test]
fn whole_manifests_are_taken_and_fragments_refused_with_the_reason() {
    let Some(ground) = ground(&["production", "databases", "monitoring", "istio-system"]) else { return };
    for (file, verdict) in VERDICTS {
        let manifest = Manifest::of(file);
        match verdict {
            Whole(kinds) => {
                let manifest = manifest.only(kinds);
                let output = manifest.try_apply(&ground.kubectl, &["--dry-run=server"]).succeeded();
                let taken = output.stdout.lines().filter(|line| line.ends_with("created (server dry run)")).count();
                assert_eq!(taken, manifest.documents().len(), "{file}: {}", output.stdout);
                assert_eq!(output.stderr, "", "{file}");
            }
            Refused(words) => {
                let error = manifest.try_apply(&ground.kubectl, &["--dry-run=server"]).refused();
                for part in *words {
                    assert!(error.contains(part), "{file}: {part:?} is not in:\n{error}");
                }
            }
        }
    }
}

#[test]
fn no_manifest_is_forgotten() {
    let dirs = std::fs::read_dir(manifests_dir()).expect("the manifests").flatten();
    let dirs = dirs.filter(|dir| dir.file_name() != "overlays");
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.path()).expect("a folder").flatten());
    let mut found: Vec<String> = files
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "yaml"))
        .map(|file| file.path().strip_prefix(manifests_dir()).expect("beneath").display().to_string())
        .collect();
    found.sort();
    assert_eq!(found, VERDICTS.iter().map(|(file, _)| *file).collect::<Vec<_>>());
}
