//! `coracle up`: a control plane and an agent in one process.

use super::DataDir;
use crate::daemon;
use crate::host::{self, DataLock};
use crate::kubeconfig::{self, Access};
use crate::node::{Node, RuntimeChoice};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use coracle_controlplane::cluster::Cluster;
use coracle_controlplane::{ControlPlane, ControlPlaneConfig};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Up {
    #[command(flatten)]
    data: DataDir,
    /// Where the API is served; also on the node's bridge address, for pods.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Return when the node is Ready, and keep running.
    #[arg(long)]
    detach: bool,
    /// The kubeconfig to add the context `coracle` to [default: ~/.kube/config].
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// What runs containers.
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Auto)]
    runtime: RuntimeChoice,
    /// The node's name [default: the host's].
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

impl Up {
    pub fn run(self) -> Result<()> {
        host::require_root()?;
        host::require_cgroups()?;
        if self.detach && !daemon::is_detached() {
            return daemon::start(&self.data.data_dir);
        }
        daemon::logging(self.detach)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(16)
            .enable_all()
            .build()
            .context("starting the asynchronous runtime")?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        let progress = Progress::new();
        let data_dir = std::path::absolute(&self.data.data_dir)?;
        let node_name = self.node_name.clone().unwrap_or_else(host_name);
        if let Some(why) = coracle_proto::name::dns1123_subdomain(&node_name) {
            bail!("--node-name {node_name:?}: {why}");
        }
        let _lock = DataLock::take(&data_dir)?;
        let listener = bind(self.listen)?;
        progress.line(format_args!("coracle {}, data in {}", env!("CARGO_PKG_VERSION"), data_dir.display()));

        let claiming = host::ranges_lock()?;
        let used = coracle_network::used_ranges().await?;
        let cluster = Cluster::open(&data_dir, || used)?;
        let network = crate::node::network(&data_dir, &cluster).await?;
        drop(claiming);
        progress.step(format_args!("pod network {} is up", cluster.first_node_range()));

        let bridge = SocketAddr::new(network.gateway().into(), listener.local_addr()?.port());
        let mut listeners = vec![listener];
        if !self.listen.ip().is_unspecified() {
            listeners.push(bind(bridge)?);
        }
        let config = ControlPlaneConfig {
            data_dir: data_dir.clone(),
            cluster: cluster.clone(),
            listeners,
            advertise: bridge,
            host: host_name(),
        };
        // The images are unpacked while the control plane starts.
        let runtime = tokio::spawn(crate::node::runtime(self.runtime, data_dir.clone(), cluster.clone()));
        let mut control_plane = ControlPlane::start(config).await?;
        let server = format!("https://{}", self.listen);
        progress.step(format_args!("the API is ready at {server}"));

        let credentials = control_plane.node_credentials(&node_name)?;
        let runtime: Arc<dyn coracle_runtime::Runtime> = runtime.await.context("opening the runtime")??;
        let node = Node { name: node_name.clone(), data_dir: data_dir.clone(), runtime, network };
        let agent = node.start(&cluster, self.listen, control_plane.authority(), credentials).await?;
        let access = Access {
            server,
            authority: control_plane.authority().into(),
            credentials: control_plane.admin_credentials()?,
        };
        let current = self.write_kubeconfigs(&data_dir, &access)?;
        tokio::select! {
            ready = agent.ready() => ready?,
            signal = daemon::stop_signal() => { signal?; bail!("stopped before the node was ready") }
        }
        progress.step(format_args!("node {node_name} is Ready"));
        self.say_how_to_go_on(&progress, &data_dir, current);
        daemon::report_done(self.detach)?;

        tokio::select! {
            signal = daemon::stop_signal() => signal?,
            broken = control_plane.broken() => return Err(broken.into()),
        }
        progress.line("stopping; containers keep running, `coracle up` resumes and `coracle down` stops them");
        agent.shutdown().await;
        control_plane.shutdown().await;
        Ok(())
    }

    /// Returns whether plain `kubectl` will reach this cluster.
    fn write_kubeconfigs(&self, data_dir: &Path, access: &Access) -> Result<bool> {
        kubeconfig::write_alone(&data_dir.join("admin.kubeconfig"), access)?;
        let path = self.kubeconfig.clone().map_or_else(kubeconfig::default_path, Ok)?;
        kubeconfig::merge_into(&path, access)
    }

    fn say_how_to_go_on(&self, progress: &Progress, data_dir: &Path, current: bool) {
        let kubectl = match (&self.kubeconfig, current) {
            (Some(path), _) => format!("kubectl --kubeconfig {} --context coracle", path.display()),
            (None, true) => "kubectl".into(),
            (None, false) => "kubectl --context coracle".into(),
        };
        progress.line(format_args!("\nUse it:\n  {kubectl} get nodes"));
        progress.line(format_args!("  {kubectl} create deployment hello --image coracle/demo:v1 --replicas 2"));
        progress.line(format_args!("  {kubectl} expose deployment hello --port 80 --target-port 8080"));
        let stop = if data_dir == Path::new("/var/lib/coracle") {
            "coracle down".into()
        } else {
            format!("coracle down --data-dir {}", data_dir.display())
        };
        progress.line(format_args!("Stop it, containers included: {stop}"));
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is taken by another program; choose another with --listen ADDR:PORT")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{} is no address of this host; choose one with --listen ADDR:PORT", address.ip())
        }
        _ => anyhow::Error::new(e).context(format!("listening on {address}")),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The host's name as Kubernetes takes it: lower case, and nothing that a DNS name cannot have.
fn host_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if coracle_proto::name::dns1123_subdomain(&name).is_none() { name } else { "localhost".into() }
}
