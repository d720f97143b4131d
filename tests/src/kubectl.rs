//! Running a real `kubectl` against a cluster.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One `kubectl` with one kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub program: PathBuf,
    pub kubeconfig: PathBuf,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

/// Every `kubectl` of this machine: the one on the PATH, and those called `kubectl.*` beside where it really lies.
pub fn versions() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|p| p.is_file());
    let Some(real) = found.and_then(|p| p.canonicalize().ok()) else { return Vec::new() };
    let mut all = vec![real.clone()];
    let beside = real.parent().and_then(|dir| dir.read_dir().ok()).into_iter().flatten().flatten();
    let named = |name: &str| name.strip_prefix("kubectl.").is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    all.extend(beside.filter(|e| e.file_name().to_str().is_some_and(named)).map(|e| e.path()));
    all[1..].sort();
    all
}

impl Kubectl {
    pub fn with_program(&self, program: &Path) -> Self {
        Self { program: program.into(), ..self.clone() }
    }

    /// The command with its kubeconfig and a cache of its own, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        let home = self.kubeconfig.parent().expect("a kubeconfig lies in a directory");
        command.env("HOME", home).env_remove("KUBECONFIG");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with_input(args, "")
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A command that fails early does not read its input.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            command: format!("{} {}", self.program.display(), args.join(" ")),
        }
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).succeeded().stdout
    }

    /// An object, or a list, as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with_input(&["apply", "-f", "-"], manifest).succeeded().stdout
    }
}

impl Output {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "`{}` failed:\n{}{}", self.command, self.stdout, self.stderr);
        self
    }

    /// The standard error of a command that must fail.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_ne!(self.code, Some(0), "`{}` must fail, but printed:\n{}", self.command, self.stdout);
        self.stderr
    }

    /// For `eventually`: the output if the command succeeded and `test` holds of it.
    pub fn when(self, test: impl FnOnce(&str) -> bool) -> Result<String, Self> {
        if self.code == Some(0) && test(&self.stdout) { Ok(self.stdout) } else { Err(self) }
    }
}
