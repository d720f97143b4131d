//! A Docker of our own for tests: private socket, data and state, no bridge, no firewall rules. One for all tests of a
//! program; it ends and cleans up when that program does.
#![allow(clippy::unwrap_used)]

use coracle_runtime::{Docker, DockerConfig, Runtime};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Stands for the product's binary in the sandboxes' image.
const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-shim-for-tests");
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Engine {
    pub socket: PathBuf,
    pub busybox: String,
}

/// `None`, said in one line, where Docker cannot run; with `CI=true` that is a failure.
pub async fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceCell<Option<Engine>> = OnceCell::const_new();
    ENGINE.get_or_init(start).await.as_ref()
}

pub async fn connect(engine: &Engine, data_dir: &Path) -> Docker {
    let config = DockerConfig { socket: engine.socket.clone(), data_dir: data_dir.to_owned(), program: PROGRAM.into() };
    Docker::connect(&config).await.expect("Docker answers")
}

async fn start() -> Option<Engine> {
    let missing = ["dockerd", "setpriv", "/bin/busybox"].into_iter().find(|program| {
        let found = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_err()
    });
    let missing = missing.or((!rustix::process::geteuid().is_root()).then_some("root"));
    if let Some(missing) = missing {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this test needs {missing}");
        println!("skipped: this test needs {missing}");
        return None;
    }
    // Short: a socket's path has little room.
    let dir = tempfile::Builder::new().prefix("cdk").tempdir_in("/tmp").expect("a folder").keep();
    let socket = dir.join("s");
    run_daemon(&dir, &socket);
    let deadline = Instant::now() + PATIENCE;
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "dockerd does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut engine = Engine { socket, busybox: String::new() };
    let archive = dir.join("busybox.tar");
    std::fs::write(&archive, busybox()).expect("an archive");
    let docker = connect(&engine, &dir).await;
    let images = docker.import(&archive).await.expect("Docker loads busybox");
    assert_eq!(images[0].names, ["docker.io/library/busybox:test"]);
    assert!(docker.image("coracle/demo:v1").await.expect("an answer").is_some());
    engine.busybox = images[0].id.clone();
    Some(engine)
}

/// A shell between us and it hears of our end and takes its files away when it has ended.
fn run_daemon(dir: &Path, socket: &Path) {
    let script = format!(
        "trap : TERM; dockerd -H unix://{socket} --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid \
         --iptables=false --ip6tables=false --bridge=none >{dir}/log 2>&1 & wait $!; kill $!; wait $!; \
         umount {dir}/exec/netns/*; rm -rf {dir}",
        socket = socket.display(),
        dir = dir.display(),
    );
    // The signal comes at the end of the thread that started it: one that lives as long as the program.
    let (started, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut shell = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        started.send(()).expect("someone waits");
        let _ended = shell.wait();
    });
    wait.recv().expect("the shell starts");
}

/// As `docker save` writes it.
fn busybox() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        layer.append_data(&mut header, path, bytes).expect("an entry");
    };
    add("bin/busybox", 0o4755, &std::fs::read("/bin/busybox").expect("busybox"));
    add("bin/not-a-program", 0o644, b"text");
    add("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/home/web:/bin/sh\n");
    add("etc/group", 0o644, b"root:x:0:\nwww:x:102:\nlogs:x:200:web\n");
    let listed = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs");
    for applet in String::from_utf8(listed.stdout).expect("names").lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("a link");
    }
    for (folder, mode) in [("tmp", 0o1777), ("home/web", 0o755), ("root", 0o755), ("var", 0o755)] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        layer.append_data(&mut header, folder, &[][..]).expect("a folder");
    }
    let layer = layer.into_inner().expect("a layer");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin", "FROM=image"], "Cmd": ["sh"], "WorkingDir": "/", "StopSignal": "SIGTERM" },
        "rootfs": { "type": "layers", "diff_ids": [coracle_runtime::images::Digest::of(&layer)] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["busybox:test"], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    let parts = [
        ("layer.tar", layer),
        ("config.json", config.to_string().into()),
        ("manifest.json", manifest.to_string().into()),
    ];
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &bytes[..]).expect("an entry");
    }
    archive.into_inner().expect("an archive")
}
