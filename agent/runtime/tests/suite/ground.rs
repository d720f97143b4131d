//! What every test stands on: a runtime of its own with an image of busybox, and how to ask for things briefly.

use coracle_runtime::images::{ImageStore, silent};
use coracle_runtime::{
    Container, ContainerId, ContainerSpec, Embedded, EmbeddedConfig, ExecSpec, LogQuery, OutputStream, PodIdentity,
    Resources, Runtime, Sandbox, SandboxSpec, Security, State,
};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// More than anything here needs, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const SHIM: &str = env!("CARGO_BIN_EXE_coracle-shim-for-tests");

pub struct Ground {
    pub runtime: Arc<dyn Runtime>,
    pub image_id: String,
    pub cgroup: String,
    pub dir: PathBuf,
    pub store: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

/// `None`, said in one line, where containers can't run here; with `CI=true` that is a failure.
pub async fn ground() -> Option<Ground> {
    let why = if !nix::unistd::geteuid().is_root() {
        "root"
    } else if !Path::new("/bin/busybox").exists() {
        "/bin/busybox (Debian's busybox-static)"
    } else {
        return Some(prepared());
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this test needs {why}");
    println!("skipped: this test needs {why}");
    None
}

fn prepared() -> Ground {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, image_id) = image();
    let dir = folder.path().join("runtime");
    let unique = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default().trim_matches('.');
    let cgroup = format!("coracle-test-{unique}");
    let runtime = open(&dir, &store, &cgroup);
    Ground { runtime, image_id, cgroup, dir, store, _folder: Some(folder) }
}

pub fn open(dir: &Path, store: &Path, cgroup: &str) -> Arc<dyn Runtime> {
    let config = EmbeddedConfig {
        dir: dir.to_owned(),
        shim_command: vec![SHIM.into(), "shim".into()],
        cgroup_root: cgroup.to_owned(),
        images: Arc::new(ImageStore::open(store).expect("the image store opens")),
    };
    Arc::new(Embedded::open(config).expect("the runtime opens"))
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self._folder.is_none() {
            return;
        }
        // Whatever a failed test left; a passed one left nothing.
        let _ = coracle_runtime::remove_pod_cgroup(&self.cgroup);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for point in
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(&self.dir))
        {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// One store for all tests of a run, with busybox in it.
fn image() -> (PathBuf, String) {
    static IMAGE: OnceLock<(PathBuf, String)> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
            sweep(parent);
            let root = parent.join(format!("images-{}", std::process::id()));
            let layout = root.join("layout");
            std::fs::create_dir_all(&layout).expect("a folder");
            write_layout(&layout);
            let store = root.join("store");
            let images = ImageStore::open(&store).expect("the image store opens");
            let found = images.import(&layout, &silent()).expect("busybox imports");
            (store, found[0].id.clone())
        })
        .clone()
}

/// Stores of earlier runs: nothing tells a test program that it ends.
fn sweep(parent: &Path) {
    for folder in folders(parent) {
        let owner = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("images-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be sweeping too.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn write_layout(layout: &Path) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    let blob = |bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(blobs.join(&hex), bytes).expect("a blob");
        (format!("sha256:{hex}"), bytes.len())
    };
    let (layer, layer_size) = blob(&layer());
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin", "FROM=image"], "Cmd": ["sh"], "WorkingDir": "/", "StopSignal": "SIGTERM" },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    let (config, config_size) = blob(config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size }],
    });
    let (manifest, manifest_size) = blob(manifest.to_string().as_bytes());
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": manifest_size,
            "annotations": { "org.opencontainers.image.ref.name": "busybox:test" },
        }],
    });
    std::fs::write(layout.join("index.json"), index.to_string()).expect("an index");
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a layout");
}

fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size as u64);
        header
    };
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/home/web:/bin/sh\n";
    let files = [
        ("bin/busybox", 0o4755, &busybox[..]),
        ("bin/not-a-program", 0o644, b"text"),
        ("etc/passwd", 0o644, passwd),
        ("etc/group", 0o644, b"root:x:0:\nwww:x:102:\nlogs:x:200:web\n"),
    ];
    for (path, mode, bytes) in files {
        let mut header = header(tar::EntryType::Regular, mode, bytes.len());
        tar.append_data(&mut header, path, bytes).expect("an entry");
    }
    for applet in APPLETS.split_whitespace() {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("a link");
    }
    for (folder, mode) in [("tmp", 0o1777), ("home/web", 0o755), ("root", 0o755), ("var", 0o755)] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut header, folder, &[][..]).expect("a folder");
    }
    tar.into_inner().expect("an archive")
}

const APPLETS: &str = "sh cat chroot date dd echo env false head hostname id kill ls mkdir mknod mount ps pwd seq sleep \
    stat stty tail touch tr true unshare wc sysctl ifconfig nc grep readlink rm df setsid nohup usleep ln";

impl Ground {
    /// The same, over another runtime's folder.
    /// For a runtime that was made elsewhere and has busybox; `folder` goes with it.
    #[allow(dead_code)]
    pub fn on(runtime: Arc<dyn Runtime>, image_id: String, folder: tempfile::TempDir) -> Ground {
        let unique = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default().trim_matches('.');
        let cgroup = format!("coracle-test-{unique}");
        let dir = folder.path().join("runtime");
        for kind in ["containers", "sandboxes"] {
            std::fs::create_dir_all(dir.join(kind)).expect("a folder");
        }
        Ground { runtime, image_id, cgroup, store: dir.clone(), dir, _folder: Some(folder) }
    }

    pub fn beside(&self, runtime: Arc<dyn Runtime>, dir: &Path) -> Ground {
        let (image_id, cgroup, store) = (self.image_id.clone(), self.cgroup.clone(), self.store.clone());
        Ground { runtime, image_id, cgroup, dir: dir.to_owned(), store, _folder: None }
    }

    pub fn sandbox_spec(&self, uid: &str) -> SandboxSpec {
        SandboxSpec {
            pod: PodIdentity { namespace: "default".into(), name: format!("pod-{uid}"), uid: uid.into() },
            hostname: format!("pod-{uid}"),
            host_network: false,
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: Default::default(),
            cgroup: format!("{}/pod{uid}", self.cgroup),
        }
    }

    pub async fn sandbox(&self) -> Sandbox {
        self.runtime.run_sandbox(&self.sandbox_spec("u1")).await.expect("a sandbox")
    }

    pub fn spec(&self, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: "main".into(),
            attempt: 0,
            image: "busybox:test".into(),
            image_id: self.image_id.clone(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            args: Vec::new(),
            working_dir: None,
            env: Vec::new(),
            mounts: Vec::new(),
            devices: Vec::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            resources: Resources::default(),
            security: Security::default(),
            labels: Default::default(),
        }
    }

    pub fn shell(&self, script: &str) -> ContainerSpec {
        self.spec(&["/bin/sh", "-c", script])
    }

    pub async fn started(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> ContainerId {
        let id = self.runtime.create_container(&sandbox.id, spec).await.expect("a container");
        self.runtime.start_container(&id).await.expect("it starts");
        id
    }

    /// Runs it in a sandbox of its own to its end: exit code and everything it wrote.
    pub async fn run(&self, spec: &ContainerSpec) -> (i32, String) {
        let sandbox = self.sandbox().await;
        let id = self.started(&sandbox, spec).await;
        let code = exit_code(&self.ended(&id).await);
        let text = self.log(&id).await;
        self.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
        (code, text)
    }

    /// Waits for its end by the events, as the agent does.
    pub async fn ended(&self, id: &ContainerId) -> Container {
        self.when(id, |state| matches!(state, State::Exited { .. })).await
    }

    pub async fn when(&self, id: &ContainerId, wanted: impl Fn(&State) -> bool) -> Container {
        let mut events = self.runtime.events();
        let wait = async {
            loop {
                let container = self.runtime.container(id).await.expect("the container is there");
                if wanted(&container.state) {
                    return container;
                }
                events.recv().await.expect("an event");
            }
        };
        soon(wait).await
    }

    pub async fn log(&self, id: &ContainerId) -> String {
        let lines: Vec<_> = self.runtime.logs(id, &LogQuery::default()).await.expect("a log").collect().await;
        let bytes: Vec<u8> = lines.into_iter().flat_map(|line| line.expect("a line").bytes.to_vec()).collect();
        String::from_utf8(bytes).expect("text")
    }

    /// Waits until the log contains `text`.
    pub async fn logged(&self, id: &ContainerId, text: &str) {
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut lines = self.runtime.logs(id, &query).await.expect("a log");
        let wait = async {
            let mut seen = String::new();
            while let Some(line) = lines.next().await {
                seen.push_str(&String::from_utf8_lossy(&line.expect("a line").bytes));
                if seen.contains(text) {
                    return;
                }
            }
            panic!("the log ended without {text:?}: {seen:?}");
        };
        soon(wait).await;
    }

    /// Exit code, standard output and standard error of an exec.
    pub async fn exec(&self, id: &ContainerId, script: &str) -> (i32, String, String) {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let spec = ExecSpec { command, stdout: true, stderr: true, ..ExecSpec::default() };
        let mut session = self.runtime.exec(id, &spec).await.expect("an exec");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let wait = async {
            while let Some((stream, bytes)) = session.output.recv().await {
                match stream {
                    OutputStream::Stdout => out.extend_from_slice(&bytes),
                    OutputStream::Stderr => err.extend_from_slice(&bytes),
                }
            }
            session.exit.await.expect("an exit").expect("an exit code")
        };
        let code = soon(wait).await;
        (code, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
    }
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

pub fn exit_code(container: &Container) -> i32 {
    match container.state {
        State::Exited { exit_code, .. } => exit_code,
        ref other => panic!("not exited: {other:?}"),
    }
}

/// Mounts, files, cgroups and processes that belong to this test's containers.
pub fn leftovers(ground: &Ground) -> Vec<String> {
    let dir = ground.dir.to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let mut all: Vec<String> = mounts.lines().filter(|line| line.contains(&dir)).map(str::to_owned).collect();
    for kind in ["containers", "sandboxes"] {
        all.extend(folders(&ground.dir.join(kind)).iter().map(|path| path.display().to_string()));
    }
    let mut roots = folders(Path::new("/sys/fs/cgroup"));
    roots.push("/sys/fs/cgroup".into());
    for root in roots {
        for group in folders(&root.join(&ground.cgroup)) {
            processes(&group, &mut all);
            // A pod's own group is the agent's to take away.
            all.extend(folders(&group).iter().map(|path| path.display().to_string()));
        }
    }
    all.sort();
    all
}

fn processes(group: &Path, all: &mut Vec<String>) {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines() {
        // What serves all containers comes with the first and stays.
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() != "coracle-nursery" {
            all.push(format!("process {pid} ({}) in {}", name.trim(), group.display()));
        }
    }
    folders(group).iter().for_each(|below| processes(below, all));
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
