//! A cluster of its own for one test: a data directory, a port, the real binary. Taken down when dropped.

use crate::Kubectl;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// How `coracle up` is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further arguments of `up`.
    pub args: Vec<String>,
}

pub struct Cluster {
    dir: tempfile::TempDir,
    listen: String,
    args: Vec<String>,
}

impl Cluster {
    /// Returns once the node is Ready.
    #[track_caller]
    pub fn up() -> Self {
        Self::up_with(Options::default())
    }

    #[track_caller]
    pub fn up_with(options: Options) -> Self {
        let cluster = Self::prepared(options);
        cluster.start();
        cluster
    }

    /// A directory and a port, nothing started.
    pub fn prepared(options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("coracle-").tempdir().expect("a directory");
        Self { dir, listen: format!("127.0.0.1:{}", free_port()), args: options.args }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where tests may keep files: outside the data.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    pub fn listen(&self) -> &str {
        &self.listen
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub fn kubectl(&self) -> Kubectl {
        let program = crate::versions().into_iter().next().expect("the test checked that kubectl is here");
        Kubectl { program, kubeconfig: self.kubeconfig() }
    }

    /// Starts, or starts again on the same data; returns once the node is Ready.
    #[track_caller]
    pub fn start(&self) -> String {
        let output = self.try_start();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`coracle up` failed:\n{text}{error}{}", self.log());
        text
    }

    pub fn try_start(&self) -> Output {
        self.up_command().arg("--detach").output().expect("coracle starts")
    }

    /// Without `--detach`, and without waiting for anything.
    pub fn spawn_foreground(&self) -> Child {
        self.up_command().stdout(Stdio::null()).spawn().expect("coracle starts")
    }

    fn up_command(&self) -> Command {
        let mut command = coracle(&["up", "--listen", &self.listen]);
        command.arg("--data-dir").arg(self.data_dir()).arg("--kubeconfig").arg(self.kubeconfig()).args(&self.args);
        command
    }

    /// The cluster's own log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("coracle.log")).unwrap_or_default()
    }

    /// The process that is the control plane and the agent.
    pub fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.data_dir().join("lock")).expect("the lock file");
        text.trim().parse().expect("a process id")
    }

    /// As a power cut would, but for what the kernel has.
    pub fn kill(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a process id");
        let descriptor =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("the cluster's process");
        rustix::process::pidfd_send_signal(&descriptor, rustix::process::Signal::KILL).expect("killed");
        let mut fds = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).expect("it has ended");
    }

    /// A `coracle` command with this cluster's `--data-dir` at its end.
    pub fn coracle(&self, args: &[&str]) -> Output {
        let mut command = coracle(args);
        command.arg("--data-dir").arg(self.data_dir()).output().expect("coracle starts")
    }

    #[track_caller]
    pub fn down(&self, args: &[&str]) -> String {
        let output = self.coracle(&[&["down"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`coracle down` failed:\n{error}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(60).collect::<Vec<_>>();
            eprintln!("the cluster's log ends with:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        if self.data_dir().join("cluster.json").exists() {
            let output = self.coracle(&["down", "--purge"]);
            if !output.status.success() && !std::thread::panicking() {
                panic!("`coracle down --purge` failed: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Runs this binary from now on. For benchmarks; before the first [`coracle`].
pub fn use_binary(path: PathBuf) {
    PROGRAM.set(path).expect("no binary was chosen before");
}

/// The binary under test: `CORACLE_BIN`, or this workspace's, built once.
pub fn coracle(args: &[&str]) -> Command {
    let program = PROGRAM.get_or_init(|| match std::env::var_os("CORACLE_BIN") {
        Some(path) => path.into(),
        None => build(),
    });
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--quiet", "-p", "coracle-cli"]).current_dir(root).status();
    assert!(status.expect("cargo starts").success(), "the binary does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("debug/coracle")
}

/// Free a moment ago, which is as much as anybody can know.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}
