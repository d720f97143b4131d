//! The demo images are made of the running program, run without anything else, and are made anew for another program.
#![allow(clippy::unwrap_used)]

mod images_kit;

use coracle_runtime::images::builtin;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn both_versions_share_a_layer_that_runs_alone() {
    let Some((dir, store)) = images_kit::store() else { return };
    let began = Instant::now();
    builtin::ensure(&store, Path::new("/proc/self/exe")).unwrap();
    let first = began.elapsed();
    let [v1, v2] = ["coracle/demo:v1", "coracle/demo:v2"].map(|name| store.resolve(name).unwrap().unwrap());
    assert_eq!(v1.names, ["docker.io/coracle/demo:v1"]);
    assert_ne!(v1.id, v2.id);
    assert_eq!(store.lower_dirs(&v1.id).unwrap(), store.lower_dirs(&v2.id).unwrap());
    for (image, version) in [(&v1, "v1"), (&v2, "v2")] {
        let config = store.config(&image.id).unwrap();
        let config = config.config().as_ref().unwrap().clone();
        assert!(config.env().as_ref().unwrap().contains(&format!("DEMO_VERSION={version}")));
        assert_eq!(config.entrypoint().as_deref().unwrap(), ["/coracle", "demo"]);
        assert_eq!(config.exposed_ports().as_deref().unwrap(), ["8080/tcp"]);
    }
    let root = &store.lower_dirs(&v1.id).unwrap()[0];
    // This very test, in the image: the loader and all libraries must be there.
    let listed = Command::new("chroot").arg(root).args(["/coracle", "--list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("both_versions_share"), "{listed:?}");
    let began = Instant::now();
    builtin::ensure(&store, Path::new("/proc/self/exe")).unwrap();
    let again = began.elapsed();
    println!("{} bytes: first {first:?}, again {again:?}", v1.bytes);
    assert!(again < Duration::from_millis(100), "{again:?}");
    // Linked where it may be: containers and the host share its pages.
    let own = fs::metadata("/proc/self/exe").unwrap();
    let same_disk = own.dev() == fs::metadata(dir.path()).unwrap().dev();
    if same_disk && own.uid() == 0 && own.mode() & 0o7777 == 0o755 {
        assert_eq!(fs::metadata(root.join("coracle")).unwrap().ino(), own.ino());
    }
}

#[test]
fn what_others_may_write_to_is_copied() {
    let Some((dir, store)) = images_kit::store() else { return };
    let program = dir.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    std::os::unix::fs::chown(&program, Some(1000), None).unwrap();
    builtin::ensure(&store, &program).unwrap();
    let id = store.resolve("coracle/demo:v1").unwrap().unwrap().id;
    let placed = store.lower_dirs(&id).unwrap()[0].join("coracle");
    assert_ne!(fs::metadata(&placed).unwrap().ino(), fs::metadata(&program).unwrap().ino());
    fs::write(&program, "changed").unwrap();
    assert_eq!(fs::read(&placed).unwrap(), fs::read("/bin/true").unwrap());
}

#[test]
fn another_program_gives_other_images_and_the_old_layer_goes() {
    let Some((dir, store)) = images_kit::store() else { return };
    let program = dir.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    builtin::ensure(&store, &program).unwrap();
    let old = store.resolve("coracle/demo:v1").unwrap().unwrap();
    let root = store.lower_dirs(&old.id).unwrap().remove(0);
    assert_eq!(fs::read(root.join("coracle")).unwrap(), fs::read("/bin/true").unwrap());
    // As an installer does: another file by the same name.
    fs::remove_file(&program).unwrap();
    fs::copy("/bin/false", &program).unwrap();
    builtin::ensure(&store, &program).unwrap();
    let new = store.resolve("coracle/demo:v1").unwrap().unwrap();
    assert_ne!(old.id, new.id);
    assert!(!root.exists(), "the old layer is still there");
    let root = store.lower_dirs(&new.id).unwrap().remove(0);
    assert_eq!(fs::read(root.join("coracle")).unwrap(), fs::read("/bin/false").unwrap());
    // What someone else called by this name does not stay.
    fs::write(dir.path().join("script"), "#!/bin/sh\n").unwrap();
    assert!(builtin::ensure(&store, &dir.path().join("script")).is_err());
}

#[test]
fn a_layer_of_an_older_boot_is_made_anew() {
    let Some((dir, store)) = images_kit::store() else { return };
    builtin::ensure(&store, Path::new("/bin/true")).unwrap();
    let id = store.resolve("coracle/demo:v1").unwrap().unwrap().id;
    let root = store.lower_dirs(&id).unwrap().remove(0);
    // As a power cut would leave it: the record in place, the content not.
    let record = root.parent().unwrap().join("layer.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains(boot.trim()));
    fs::write(&record, text.replace(boot.trim(), "another boot")).unwrap();
    fs::remove_file(root.join("coracle")).unwrap();
    assert!(store.lower_dirs(&id).is_err());
    builtin::ensure(&store, Path::new("/bin/true")).unwrap();
    assert_eq!(fs::read(root.join("coracle")).unwrap(), fs::read("/bin/true").unwrap());
    drop(dir);
}
