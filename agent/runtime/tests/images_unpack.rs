//! Layers become folders for overlayfs, and nothing an archive says gets out of them.
#![allow(clippy::unwrap_used)]

mod images_kit;

use coracle_runtime::RuntimeError;
use coracle_runtime::images::{ImageStore, silent};
use images_kit::{Layer, docker_archive, store, tree};
use rustix::fs::{AtFlags, CWD, FileType, statat};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tar::EntryType;

fn import(dir: &Path, store: &ImageStore, layers: &[Vec<u8>]) -> Result<Vec<PathBuf>, RuntimeError> {
    let archive = dir.join("archive.tar");
    docker_archive(&archive, &["test/image:1"], layers);
    let images = store.import(&archive, &silent())?;
    store.lower_dirs(&images[0].id)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let n = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(n);
    Some(value)
}

#[test]
fn files_keep_what_the_archive_says_of_them() {
    let Some((dir, store)) = store() else { return };
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".as_slice();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let layer = Layer::new()
        .entry("./", EntryType::Directory, b"", |h| h.set_mode(0o751))
        .entry("suid", EntryType::Regular, b"x", |h| {
            h.set_mode(0o4755);
            h.set_uid(1000);
            h.set_gid(2000);
        })
        .pax(&[("SCHILY.xattr.security.capability", capability), ("mtime", b"12345.678")])
        .file("capable", b"c")
        .pax(&[("path", long.as_bytes()), ("uid", b"3000000")])
        .file("short", b"long")
        .entry("gnu", EntryType::GNULongName, format!("{long}2\0").as_bytes(), |_| {})
        .file("short", b"long too")
        .entry("owned", EntryType::Directory, b"", |h| h.set_gid(5))
        .file("owned/later", b"")
        .symlink("link", "/etc/../anything")
        .hard_link("hard", "suid")
        .entry("pipe", EntryType::Fifo, b"", |h| h.set_mode(0o622))
        .device("dev/sda", EntryType::Block)
        .finish();
    let lower = &import(dir.path(), &store, &[layer]).unwrap()[0];
    assert_eq!(fs::metadata(lower).unwrap().mode() & 0o7777, 0o751);
    let suid = fs::metadata(lower.join("suid")).unwrap();
    assert_eq!((suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime()), (0o4755, 1000, 2000, 1_000_000_000));
    assert_eq!(suid.ino(), fs::metadata(lower.join("hard")).unwrap().ino());
    assert_eq!(xattr(&lower.join("capable"), "security.capability").as_deref(), Some(capability));
    let capable = fs::metadata(lower.join("capable")).unwrap();
    assert_eq!((capable.mtime(), capable.mtime_nsec()), (12345, 678_000_000));
    assert_eq!(fs::metadata(lower.join(&long)).unwrap().uid(), 3_000_000);
    assert_eq!(fs::read(lower.join(format!("{long}2"))).unwrap(), b"long too");
    let owned = fs::metadata(lower.join("owned")).unwrap();
    assert_eq!((owned.gid(), owned.mtime()), (5, 1_000_000_000));
    assert_eq!(fs::read_link(lower.join("link")).unwrap(), Path::new("/etc/../anything"));
    assert!(fs::metadata(lower.join("pipe")).unwrap().file_type().is_fifo());
    assert!(!lower.join("dev/sda").exists());
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let Some((dir, store)) = store() else { return };
    let bottom = Layer::new()
        .file("gone", b"1")
        .file("a/b/gone", b"1")
        .file("opaque/old", b"1")
        .folder("again")
        .file("again/old", b"1")
        .finish();
    let top = Layer::new()
        .file(".wh.gone", b"")
        .file("a/b/.wh.gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"2")
        .file(".wh.again", b"")
        .file("again/new", b"2")
        .file(".wh..wh.plnk/1.2", b"")
        .finish();
    let lowers = import(dir.path(), &store, &[bottom, top]).unwrap();
    let is_whiteout = |path: &str| {
        let stat = statat(CWD, lowers[0].join(path), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    };
    assert!(is_whiteout("gone") && is_whiteout("a/b/gone"));
    assert_eq!(xattr(&lowers[0].join("opaque"), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(xattr(&lowers[0].join("again"), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert!(!tree(&lowers[0]).iter().any(|path| path.contains(".wh.")));
    assert_eq!(merged(dir.path(), &lowers), ["a", "a/b", "again", "again/new", "opaque", "opaque/new"]);
}

/// What a container would see.
fn merged(dir: &Path, lowers: &[PathBuf]) -> Vec<String> {
    let target = dir.join("merged");
    fs::create_dir(&target).unwrap();
    let lower: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
    let options = format!("lowerdir={}", lower.join(":"));
    let options = std::ffi::CString::new(options).unwrap();
    rustix::mount::mount("overlay", &target, "overlay", rustix::mount::MountFlags::RDONLY, &*options).unwrap();
    let seen = tree(&target);
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::empty()).unwrap();
    seen
}

#[test]
fn implied_folders_and_hard_links_look_at_the_layers_below() {
    let Some((dir, store)) = store() else { return };
    let bottom = Layer::new()
        .entry("var", EntryType::Directory, b"", |h| {
            h.set_mode(0o1777);
            h.set_uid(33);
        })
        .entry("var/file", EntryType::Regular, b"below", |h| h.set_mode(0o4711))
        .finish();
    let top = Layer::new().file("var/new", b"").hard_link("link", "var/file").finish();
    let lowers = import(dir.path(), &store, &[bottom, top]).unwrap();
    let var = fs::metadata(lowers[0].join("var")).unwrap();
    assert_eq!((var.mode() & 0o7777, var.uid()), (0o1777, 33));
    assert_eq!(fs::read(lowers[0].join("link")).unwrap(), b"below");
    assert_eq!(fs::metadata(lowers[0].join("link")).unwrap().mode() & 0o7777, 0o4711);
}

#[test]
fn files_with_holes_stay_so() {
    let Some((dir, store)) = store() else { return };
    let mut map = b"2\n1048576\n3\n2097149\n3\n".to_vec();
    map.resize(512, 0);
    map.extend(b"abcxyz");
    let layer = Layer::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"holes"),
            ("GNU.sparse.realsize", b"2097152"),
        ])
        .file("GNUSparseFile.0/holes", &map)
        .file("after", b"whole")
        .finish();
    let lower = &import(dir.path(), &store, &[layer]).unwrap()[0];
    let holes = fs::read(lower.join("holes")).unwrap();
    assert_eq!((holes.len(), &holes[1_048_576..1_048_579], &holes[2_097_149..]), (2_097_152, &b"abc"[..], &b"xyz"[..]));
    assert!(holes[..1_048_576].iter().all(|b| *b == 0));
    assert!(fs::metadata(lower.join("holes")).unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(fs::read(lower.join("after")).unwrap(), b"whole");
}

/// GNU tar's own way, if it is there: real archives, not ours.
#[test]
fn archives_of_gnu_tar_are_understood() {
    let Some((dir, store)) = store() else { return };
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("x".repeat(90))).unwrap();
    fs::write(source.join("x".repeat(90)).join("y".repeat(90)), "deep").unwrap();
    let holes = fs::File::create(source.join("holes")).unwrap();
    holes.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&holes, b"end", (8 << 20) - 3).unwrap();
    fs::set_permissions(source.join("holes"), fs::Permissions::from_mode(0o640)).unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let archive = dir.path().join(format!("{format}.tar"));
        let sparse: &[&str] = if format == "ustar" { &[] } else { &["--sparse"] };
        let status = std::process::Command::new("tar")
            .args(["-C", source.to_str().unwrap(), "--format", format])
            .args(sparse)
            .args(["-cf", archive.to_str().unwrap(), "."])
            .status()
            .unwrap();
        assert!(status.success());
        let lower = &import(dir.path(), &store, &[fs::read(&archive).unwrap()]).unwrap()[0];
        assert_eq!(tree(lower), tree(&source), "{format}");
        let holes = fs::read(lower.join("holes")).unwrap();
        assert_eq!((holes.len(), &holes[(8 << 20) - 3..]), (8 << 20, &b"end"[..]), "{format}");
    }
}

#[test]
fn hostile_layers_are_refused_and_leave_nothing() {
    let Some((dir, store)) = store() else { return };
    let victim = dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    let victim = victim.to_str().unwrap().to_owned();
    let up = "../".repeat(20);
    let before = tree(dir.path());
    for (what, layer) in hostile(&victim, &up) {
        let error = import(dir.path(), &store, &[layer.finish()]).expect_err(what);
        assert!(matches!(error, RuntimeError::BadImage { .. }), "{what}: {error:?}");
        fs::remove_file(dir.path().join("archive.tar")).unwrap();
        let mut after = tree(dir.path());
        after.retain(|path| !path.ends_with("lock"));
        let mut before = before.clone();
        before.retain(|path| !path.ends_with("lock"));
        assert_eq!(after, before, "{what}");
        assert_eq!(fs::read_to_string(format!("{victim}/file")).unwrap(), "untouched", "{what}");
        assert!(store.list().unwrap().is_empty(), "{what}");
    }
}

fn hostile(victim: &str, up: &str) -> Vec<(&'static str, Layer)> {
    let new = Layer::new;
    let sparse = |size: &[u8], map: &[u8]| {
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", size),
        ];
        let mut body = map.to_vec();
        body.resize(512, 0);
        new().pax(&records).file("s", &body)
    };
    let long = "a/".repeat(2500);
    let deep = "a/".repeat(300);
    vec![
        ("a path upwards", new().file(&format!("{}x", &up[..60]), b"")),
        ("a path upwards inside", new().file("a/../../x", b"")),
        ("a folder upwards", new().folder("a/..")),
        ("a write through an absolute link", new().symlink("l", victim).file("l/file", b"hit")),
        (
            "a write through a relative link",
            new().symlink("l", &format!("{}{}", &up[..57], victim.trim_start_matches('/'))).file("l/file", b"hit"),
        ),
        ("a write through a link to a link", new().symlink("a", "b").symlink("b", victim).file("a/file", b"hit")),
        ("a write through links in a circle", new().symlink("a", "b").symlink("b", "a").file("a/file", b"hit")),
        ("a folder through a link", new().symlink("l", victim).folder("l/sub")),
        ("a whiteout through a link", new().symlink("l", victim).file("l/.wh.file", b"")),
        ("an opaque mark through a link", new().symlink("l", victim).file("l/.wh..wh..opq", b"")),
        ("a hard link upwards", new().hard_link("h", "../../../../etc/passwd")),
        (
            "a hard link to an absolute path that is not there",
            new().hard_link("h", &format!("{victim}/file")).file("h", b"hit"),
        ),
        ("a hard link through a link", new().symlink("l", victim).hard_link("h", "l/file")),
        ("a hard link to a folder", new().folder("d").hard_link("h", "d")),
        ("a hard link to itself", new().file("f", b"").hard_link("f", "f")),
        ("a link to nowhere", new().symlink("l", "")),
        ("a disk", new().device("disk", EntryType::Block)),
        ("memory below a folder", new().device("x/dev/mem", EntryType::Char)),
        ("a whiteout of ..", new().file(".wh...", b"")),
        ("a whiteout of .", new().file(".wh..", b"")),
        ("a file below a whiteout", new().file(".wh.x/file", b"")),
        ("a whiteout of nothing", new().file(".wh.", b"")),
        ("a redirect of overlayfs", new().pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/")]).folder("d")),
        ("a root that is a link", new().symlink(".", victim)),
        ("a file below a file", new().file("f", b"").file("f/g", b"")),
        ("a name that is too long", new().pax(&[("path", "n".repeat(256).as_bytes())]).file("x", b"")),
        ("a path that is too long", new().pax(&[("path", long.as_bytes())]).file("x", b"")),
        ("a path that is too deep", new().pax(&[("path", deep.as_bytes())]).file("x", b"")),
        ("a zero byte in a name", new().pax(&[("path", b"a\0b")]).file("x", b"")),
        ("an endless extension header", new().entry("x", EntryType::GNULongName, b"", |h| h.set_size(1 << 40))),
        ("a file of 1 EiB", new().entry("x", EntryType::Regular, b"", |h| h.set_size(1 << 60))),
        ("a size that overflows", new().pax(&[("size", u64::MAX.to_string().as_bytes())]).file("x", b"")),
        ("holes of 1 EiB", sparse(b"1152921504606846976", b"0\n")),
        ("extents that overlap", sparse(b"100", b"2\n0\n5\n3\n5\n")),
        ("extents that overflow", sparse(b"100", b"1\n18446744073709551615\n5\n")),
        ("more extents than a map may have", sparse(b"100", b"999999999\n")),
        ("a map that is no map", sparse(b"100", b"x\n")),
        ("a damaged record", new().entry("x", EntryType::XHeader, b"999 path=x\n", |_| {}).file("x", b"")),
        ("a damaged header", new().raw(&[b'x'; 512])),
        ("a cut-off header", new().raw(&[b'x'; 100])),
        ("an unknown type", new().entry("x", EntryType::new(b'M'), b"", |_| {})),
        ("an owner out of range", new().pax(&[("uid", b"4294967295")]).file("x", b"")),
    ]
}
