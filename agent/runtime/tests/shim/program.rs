//! Stands for the product's binary in this package's tests: the hidden `shim` subcommand, and a small agent that can be
//! killed.

use coracle_runtime::images::ImageStore;
use coracle_runtime::{
    ContainerSpec, Embedded, EmbeddedConfig, PodIdentity, Resources, Runtime, SandboxSpec, Security,
};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|word| word.to_str()) {
        Some("shim") => coracle_runtime::shim_main(args),
        Some("agent") => agent(args.collect()),
        Some("pause") => coracle_runtime::pause_main(),
        _ => {
            eprintln!("usage: coracle-shim-for-tests shim … | agent <folder> <images> <image id> <cgroup> <script>");
            ExitCode::FAILURE
        }
    }
}

/// Runs one container, says its name, and waits to be killed.
fn agent(args: Vec<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    let text = |at: usize| args[at].to_str().expect("arguments are text").to_owned();
    let (cgroup, image_id, script) = (text(3), text(2), text(4));
    runtime.block_on(async {
        let config = EmbeddedConfig {
            dir: PathBuf::from(&args[0]),
            shim_command: vec![std::env::current_exe().expect("this program's path").into(), "shim".into()],
            cgroup_root: cgroup.clone(),
            images: Arc::new(ImageStore::open(Path::new(&args[1])).expect("the images")),
        };
        let embedded = Embedded::open(config).expect("the runtime");
        let pod = PodIdentity { namespace: "default".into(), name: "killed".into(), uid: "killed".into() };
        let sandbox = SandboxSpec {
            pod,
            hostname: "killed".into(),
            host_network: false,
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: Default::default(),
            cgroup: format!("{cgroup}/podkilled"),
        };
        let sandbox = embedded.run_sandbox(&sandbox).await.expect("a sandbox");
        let spec = ContainerSpec {
            name: "main".into(),
            attempt: 0,
            image: "busybox".into(),
            image_id,
            command: vec!["/bin/sh".into(), "-c".into(), script],
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
        };
        let id = embedded.create_container(&sandbox.id, &spec).await.expect("a container");
        embedded.start_container(&id).await.expect("it starts");
        println!("{}", id.0);
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}
