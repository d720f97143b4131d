//! `coracle down`: stops a cluster, its containers included, and takes everything off the host that it put there.

use super::DataDir;
use crate::host::{self, DataLock, Holder};
use crate::node::{self, Node, RuntimeChoice};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use coracle_controlplane::cluster::Cluster;
use coracle_controlplane::pki::Pki;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::net::SocketAddr;
use std::path::Path;

/// How long the cluster's process may take to stop, and then its containers.
const STOP_WAIT_SECONDS: i64 = 20;

#[derive(clap::Args)]
pub struct Down {
    #[command(flatten)]
    data: DataDir,
    /// Delete the data too: state, certificates, images, logs.
    #[arg(long)]
    purge: bool,
}

impl Down {
    pub fn run(self) -> Result<()> {
        host::require_root()?;
        let progress = Progress::new();
        let data_dir = std::path::absolute(&self.data.data_dir)?;
        if !data_dir.join("cluster.json").exists() {
            bail!("there is no cluster in {}; say where it is with --data-dir", data_dir.display());
        }
        if let Holder::Process(pid) = DataLock::holder(&data_dir)? {
            stop_process(pid)?;
            progress.step(format_args!("process {pid} has stopped"));
        }
        let lock = DataLock::take(&data_dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(take_down(&data_dir, &progress))?;
        if self.purge {
            drop(lock);
            std::fs::remove_dir_all(&data_dir).with_context(|| format!("deleting {}", data_dir.display()))?;
            progress.step(format_args!("{} is deleted", data_dir.display()));
        }
        Ok(())
    }
}

/// The pods end as if they were deleted: by an agent that works from its checkpoint alone.
async fn take_down(data_dir: &Path, progress: &Progress) -> Result<()> {
    // Founded already: no ranges are chosen here.
    let cluster = Cluster::open(data_dir, Vec::new)?;
    let pki = Pki::open(&data_dir.join("pki"))?;
    let credentials = pki.client("node-leaving", "system:node:leaving", &[])?;
    let network = node::network(data_dir, &cluster).await?;
    let runtime = node::runtime(RuntimeChoice::Auto, data_dir.into(), cluster.clone()).await?;
    let leaving = Node { name: "leaving".into(), data_dir: data_dir.into(), runtime, network: network.clone() };
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let agent = leaving.start(&cluster, nobody, pki.authority(), credentials).await?;
    agent.stop_all().await?;
    coracle_runtime::remove_pod_cgroup(&node::cgroup(&cluster))?;
    node::forget_runtime(data_dir)?;
    progress.step("the pods have stopped");
    network.teardown().await?;
    progress.step("the pod network is gone");
    Ok(())
}

/// Asks the process to stop, and insists when it does not.
fn stop_process(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("the lock file names process 0")?;
    let descriptor = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(e) => return Err(e).context("looking at the cluster's process"),
    };
    for signal in [Signal::TERM, Signal::KILL] {
        match rustix::process::pidfd_send_signal(&descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(e).context("stopping the cluster's process"),
        }
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        let wait = Timespec { tv_sec: STOP_WAIT_SECONDS, tv_nsec: 0 };
        if rustix::event::poll(&mut fds, Some(&wait))? > 0 {
            return Ok(());
        }
    }
    bail!("process {} does not end, even killed; it may wait for a disk", pid.as_raw_nonzero())
}
