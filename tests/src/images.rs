//! Images for manifests that name somebody's application: Debian's static busybox, which serves HTTP, in a `docker save`
//! archive. Names, answers and ports are a table.

use sha2::{Digest, Sha256};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

/// One image name, what its server answers on `/` first, and the port it listens on unless `PORT` says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct WebImage {
    pub name: &'static str,
    pub version: &'static str,
    pub port: u16,
}

/// Answers "<version> <pod>" on `/`, and 200 on the paths that the manifests probe as long as these files are there.
const SERVE: &str = r#"#!/bin/sh
trap 'kill $!; exit 0' TERM
echo "$VERSION $HOSTNAME" > /www/index.html
[ ! -d /var/log/app ] || echo "$VERSION has started" >> /var/log/app/app.log
httpd -f -p "$PORT" -h /www &
wait $!
"#;
/// Stands for a program that the images do not hold: says how it was called, and with which database.
const SAY: &str = "#!/bin/sh\necho \"$(basename $0) $* on ${url:-no database}\"\n";
/// A log shipper: prints what is in the shared folder, and what will be.
const SHIP: &str = "#!/bin/sh\ntrap 'kill $!; exit 0' TERM\ntail -n +1 -F /var/log/app/app.log &\nwait $!\n";

const FILES: &[(&str, u32, &str)] = &[
    ("bin/serve", 0o755, SERVE),
    ("bin/ship", 0o755, SHIP),
    ("bin/npm", 0o755, SAY),
    ("bin/alembic", 0o755, SAY),
    ("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n"),
    ("www/health", 0o666, "ok\n"),
    ("www/healthz", 0o666, "ok\n"),
    ("www/ready", 0o666, "ok\n"),
];

/// Where Debian's busybox-static is.
pub const BUSYBOX: &str = "/usr/bin/busybox";

/// Writes an archive of all of `images` into `dir`. Images whose name is a log shipper's run one.
pub fn web_archive(dir: &Path, images: &[WebImage]) -> Result<PathBuf> {
    let layer = layer()?;
    let diff_id = format!("sha256:{}", hex(&layer));
    let path = dir.join("images.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&path)?);
    let mut manifest = Vec::new();
    for (n, image) in images.iter().enumerate() {
        let program = if image.name.contains("fluent-bit") { "/bin/ship" } else { "/bin/serve" };
        let env = ["PATH=/bin".to_owned(), format!("VERSION={}", image.version), format!("PORT={}", image.port)];
        let config = serde_json::json!({
            "os": "linux",
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "config": {"Env": env, "Cmd": [program]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        add(&mut archive, &format!("{n}.json"), 0o644, config.to_string().as_bytes())?;
        manifest.push(serde_json::json!({
            "Config": format!("{n}.json"), "RepoTags": [image.name], "Layers": ["layer.tar"],
        }));
    }
    add(&mut archive, "layer.tar", 0o644, &layer)?;
    add(&mut archive, "manifest.json", 0o644, serde_json::Value::from(manifest).to_string().as_bytes())?;
    archive.into_inner()?.flush()?;
    Ok(path)
}

fn layer() -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (dir, mode) in [("bin", 0o755), ("etc", 0o755), ("www", 0o777), ("tmp", 0o1777)] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        layer.append_data(&mut header, dir, std::io::empty())?;
    }
    add(&mut layer, "bin/busybox", 0o755, &std::fs::read(BUSYBOX)?)?;
    let applets = std::process::Command::new(BUSYBOX).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    for (path, mode, text) in FILES {
        add(&mut layer, path, *mode, text.as_bytes())?;
    }
    layer.into_inner()
}

fn add(to: &mut tar::Builder<impl Write>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
    to.append_data(&mut header, path, content)
}

/// Of root's, and as old as can be.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
