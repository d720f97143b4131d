//! Archives in, names, removal, leases, several processes, damage.
#![allow(clippy::unwrap_used)]

mod images_kit;

use coracle_runtime::RuntimeError;
use coracle_runtime::images::{Digest, ImageStore, silent};
use images_kit::{Layer, archive_of, docker_archive, gzip, oci_files, store, tree, write_folder};
use std::fs;
use std::path::Path;

fn layers() -> Vec<Vec<u8>> {
    vec![
        Layer::new().file("one", b"1").finish(),
        Layer::new().file("two", b"2").finish(),
        Layer::new().file("three", b"3").finish(),
    ]
}

#[test]
fn every_kind_of_archive_gives_the_same_layers() {
    let Some((dir, store)) = store() else { return };
    let path = |name: &str| dir.path().join(name);
    docker_archive(&path("docker.tar"), &["a/docker:1", "b"], &layers());
    fs::write(path("docker.tar.gz"), gzip(&fs::read(path("docker.tar")).unwrap())).unwrap();
    let files = oci_files("quay.io/a/oci:1", &layers());
    fs::write(path("oci.tar"), archive_of(&files)).unwrap();
    fs::write(path("oci.tar.zst"), zstd::encode_all(&archive_of(&files)[..], 1).unwrap()).unwrap();
    write_folder(&path("layout"), &files);
    let mut lowers = None;
    for source in ["docker.tar", "docker.tar.gz", "oci.tar", "oci.tar.zst", "layout"] {
        let images = store.import(&path(source), &silent()).unwrap();
        assert_eq!(images.len(), 1, "{source}");
        let dirs = store.lower_dirs(&images[0].id).unwrap();
        assert_eq!(fs::read(dirs[0].join("three")).unwrap(), b"3");
        assert_eq!(*lowers.get_or_insert(dirs.clone()), dirs, "{source}");
    }
    let image = store.resolve("b").unwrap().unwrap();
    assert_eq!(image.names, ["docker.io/a/docker:1", "docker.io/library/b:latest"]);
    assert_eq!(image.user.as_deref(), Some("7:8"));
    assert_eq!(image.created_at.unwrap().to_string(), "2026-01-02T03:04:05Z");
    let oci = store.resolve("quay.io/a/oci:1").unwrap().unwrap();
    assert_eq!(store.resolve(&oci.digests[0]).unwrap().unwrap(), oci);
    let config = store.config(&oci.id).unwrap();
    assert_eq!(config.config().as_ref().unwrap().env().as_ref().unwrap(), &["A=B"]);
    assert_eq!(store.resolve("nobody/knows").unwrap(), None);
    assert!(matches!(store.resolve("No/Name"), Err(RuntimeError::BadReference { .. })));
}

#[test]
fn damaged_archives_are_refused_and_leave_nothing() {
    let Some((dir, store)) = store() else { return };
    let files = oci_files("x:1", &layers());
    let before = tree(&dir.path().join("images"));
    for (n, (name, bytes)) in files.iter().enumerate().filter(|(_, (name, _))| name.starts_with("blobs")) {
        for damage in ["flipped", "cut", "missing"] {
            let mut files = files.clone();
            let middle = bytes.len() / 2;
            match damage {
                "flipped" => files[n].1[middle] ^= 1,
                "cut" => files[n].1.truncate(middle),
                _ => drop(files.remove(n)),
            }
            let path = dir.path().join("oci.tar");
            fs::write(&path, archive_of(&files)).unwrap();
            let error = store.import(&path, &silent()).expect_err(damage);
            assert!(matches!(error, RuntimeError::BadImage { .. }), "{name} {damage}: {error:?}");
        }
    }
    for bytes in [
        &b""[..],
        b"not a tar at all",
        &[0; 2048],
        &gzip(b"")[..],
        &[0x1f, 0x8b, 1, 2, 3, 4],
        &[0x28, 0xb5, 0x2f, 0xfd, 9, 9],
    ] {
        let path = dir.path().join("junk");
        fs::write(&path, bytes).unwrap();
        assert!(matches!(store.import(&path, &silent()), Err(RuntimeError::BadImage { .. })), "{bytes:?}");
    }
    let mut after = tree(&dir.path().join("images"));
    after.retain(|path| path != "lock" && path != "work.lock");
    assert_eq!(after, before.into_iter().filter(|path| path != "lock" && path != "work.lock").collect::<Vec<_>>());
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_layout_folder_cannot_point_outside() {
    let Some((dir, store)) = store() else { return };
    let layout = dir.path().join("layout");
    let files = oci_files("x:1", &layers());
    write_folder(&layout, &files);
    let (name, bytes) = &files[2];
    fs::write(dir.path().join("outside"), bytes).unwrap();
    fs::remove_file(layout.join(name)).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), layout.join(name)).unwrap();
    assert!(matches!(store.import(&layout, &silent()), Err(RuntimeError::BadImage { .. })));
}

fn layer_count(store_dir: &Path) -> usize {
    fs::read_dir(store_dir.join("layers")).unwrap().count()
}

#[test]
fn layers_go_with_the_last_name_and_the_last_lease() {
    let Some((dir, store)) = store() else { return };
    let images = dir.path().join("images");
    let shared = layers();
    docker_archive(&dir.path().join("1.tar"), &["a:1"], &shared[..2]);
    docker_archive(&dir.path().join("2.tar"), &["a:2"], &shared[..1]);
    let id = store.import(&dir.path().join("1.tar"), &silent()).unwrap()[0].id.clone();
    store.import(&dir.path().join("2.tar"), &silent()).unwrap();
    assert_eq!(layer_count(&images), 2);
    store.tag("a:1", "other/name:x").unwrap();
    store.lease(&id, "container-1").unwrap();
    store.lease(&id, "container-2").unwrap();
    store.remove("a:1").unwrap();
    assert_eq!(store.resolve("a:1").unwrap(), None);
    assert_eq!(store.resolve("other/name:x").unwrap().unwrap().id, id);
    store.remove("other/name:x").unwrap();
    assert!(matches!(store.remove("other/name:x"), Err(RuntimeError::NotFound { .. })));
    // Also for whoever opens it anew.
    let store = ImageStore::open(&images).unwrap();
    assert_eq!(store.lower_dirs(&id).unwrap().len(), 2);
    store.release("container-1").unwrap();
    assert_eq!(layer_count(&images), 2);
    store.release("container-2").unwrap();
    store.release("container-2").unwrap();
    assert_eq!(layer_count(&images), 1);
    assert!(matches!(store.lower_dirs(&id), Err(RuntimeError::NotFound { .. })));
    assert!(matches!(store.lease(&id, "late"), Err(RuntimeError::NotFound { .. })));
    assert!(matches!(store.lease(&id, "../../escape"), Err(RuntimeError::NotFound { .. })));
    store.remove("a:2").unwrap();
    assert_eq!((layer_count(&images), fs::read_dir(images.join("blobs/sha256")).unwrap().count()), (0, 0));
}

#[test]
fn what_is_damaged_on_disk_is_said_and_kept() {
    let Some((dir, store)) = store() else { return };
    let images = dir.path().join("images");
    docker_archive(&dir.path().join("1.tar"), &["a:1"], &layers());
    let id = store.import(&dir.path().join("1.tar"), &silent()).unwrap()[0].id.clone();
    let blob = images.join("blobs/sha256").join(Digest::parse(&id).unwrap().hex());
    let config = fs::read(&blob).unwrap();
    fs::write(&blob, &config[1..]).unwrap();
    assert!(matches!(store.config(&id), Err(RuntimeError::BadImage { .. })));
    // Importing it again repairs it.
    store.import(&dir.path().join("1.tar"), &silent()).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), config);
    let lower = store.lower_dirs(&id).unwrap().remove(0);
    fs::remove_dir_all(lower.parent().unwrap()).unwrap();
    assert!(matches!(store.lower_dirs(&id), Err(RuntimeError::BadImage { .. })));
    store.import(&dir.path().join("1.tar"), &silent()).unwrap();
    store.lower_dirs(&id).unwrap();
    fs::write(images.join("index.json"), b"{\"version\":1,").unwrap();
    assert!(matches!(ImageStore::open(&images), Err(RuntimeError::BadImage { .. })));
    fs::write(images.join("index.json"), b"{\"version\":2,\"names\":{},\"images\":{}}").unwrap();
    assert!(matches!(ImageStore::open(&images), Err(RuntimeError::BadImage { .. })));
    assert_eq!(layer_count(&images), 3);
}

/// The other half of the next test: a process of its own that imports, tags and removes.
#[test]
fn a_second_process() {
    let Some(dir) = std::env::var_os("CORACLE_IMAGES_SECOND") else { return };
    let dir = Path::new(&dir);
    churn(&ImageStore::open(&dir.join("images")).unwrap(), dir, "second");
}

fn churn(store: &ImageStore, dir: &Path, who: &str) {
    for n in 0..30 {
        // The other process may remove the common name before this one has its own.
        let id = loop {
            let images = store.import(&dir.join(format!("{}.tar", n % 3)), &silent()).unwrap();
            match store.tag(&images[0].id, &format!("{who}/own:{n}")) {
                Ok(image) => break image.id,
                Err(e) => assert!(matches!(e, RuntimeError::NotFound { .. }), "{e:?}"),
            }
        };
        let id = &id;
        store.lease(id, who).unwrap();
        assert!(!store.lower_dirs(id).unwrap().is_empty());
        store.remove(&format!("{who}/own:{n}")).unwrap();
        for lower in store.lower_dirs(id).unwrap() {
            assert!(lower.is_dir(), "a leased layer is gone");
        }
        store.release(who).unwrap();
        if let Err(e) = store.remove(&format!("x/image:{}", n % 3)) {
            assert!(matches!(e, RuntimeError::NotFound { .. }), "{e:?}");
        }
    }
}

#[test]
fn two_processes_at_once_lose_nothing() {
    let Some((dir, store)) = store() else { return };
    let layers = layers();
    for n in 0..3 {
        docker_archive(&dir.path().join(format!("{n}.tar")), &[&format!("x/image:{n}")], &layers[..=n]);
    }
    let mut second = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process", "--nocapture"])
        .env("CORACLE_IMAGES_SECOND", dir.path())
        .spawn()
        .unwrap();
    churn(&store, dir.path(), "first");
    assert!(second.wait().unwrap().success());
    for image in store.list().unwrap() {
        for name in &image.names {
            store.remove(name).unwrap();
        }
    }
    assert_eq!(tree(&dir.path().join("images/layers")), Vec::<String>::new());
    assert_eq!(tree(&dir.path().join("images/staging")), Vec::<String>::new());
}
