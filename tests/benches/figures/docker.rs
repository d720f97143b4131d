//! A Docker engine of the benchmark's own, with the demo's files as its image.

use anyhow::{Context, Result, bail};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Engine {
    process: Child,
    dir: tempfile::TempDir,
}

impl Engine {
    /// `None` where Docker is not installed.
    pub fn start() -> Result<Option<Self>> {
        if Command::new("dockerd").arg("--version").stdout(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("coracle-docker-").tempdir()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let process = Command::new("dockerd")
            .args([
                "--host",
                &format!("unix://{}", path("sock")),
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
            ])
            .args(["--pidfile", &path("pid"), "--iptables=false", "--ip-forward=false", "--bridge=none"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let engine = Self { process, dir };
        coracle_tests::within(Duration::from_secs(30), "dockerd answers", || engine.docker(&["version"]));
        engine.load()?;
        Ok(Some(engine))
    }

    /// The binary with the libraries it needs, as `docker import` takes it.
    fn load(&self) -> Result<()> {
        let root = self.dir.path().join("root");
        let program = coracle_tests::coracle(&[]).get_program().to_owned();
        let listed = Command::new("ldd").arg(&program).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned);
        for (from, to) in libraries.map(|l| (l.clone(), l)).chain([(program.display().to_string(), "/coracle".into())])
        {
            let to = root.join(to.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().context("a parent")?)?;
            std::fs::copy(from, to)?;
        }
        let archive = self.dir.path().join("root.tar");
        let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status()?;
        anyhow::ensure!(status.success(), "tar failed");
        self.docker(&["import", &archive.display().to_string(), "demo"])?;
        Ok(())
    }

    /// `docker run -d` until it returns: the container runs then.
    pub fn run(&self) -> Result<Duration> {
        let start = Instant::now();
        let id = self.docker(&["run", "-d", "--network=none", "demo", "/coracle", "demo"])?;
        let took = start.elapsed();
        self.docker(&["rm", "-f", id.trim()])?;
        Ok(took)
    }

    fn docker(&self, args: &[&str]) -> Result<String> {
        let host = format!("unix://{}", self.dir.path().join("sock").display());
        let output = Command::new("docker").args(["--host", &host]).args(args).output()?;
        if !output.status.success() {
            bail!("docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}
