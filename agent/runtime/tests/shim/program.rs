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
use std::time::Duration;

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

/// Runs one container, says its name, and waits to be killed; without a script it makes and unmakes containers until
/// then.
fn agent(args: Vec<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    let text = |at: usize| args.get(at).and_then(|word| word.to_str()).map(str::to_owned);
    let (image_id, cgroup) = (text(2).expect("an image"), text(3).expect("a cgroup"));
    runtime.block_on(async {
        let config = EmbeddedConfig {
            dir: PathBuf::from(&args[0]),
            shim_command: vec![std::env::current_exe().expect("this program's path").into(), "shim".into()],
            cgroup_root: cgroup.clone(),
            images: Arc::new(ImageStore::open(Path::new(&args[1])).expect("the images")),
        };
        let embedded = Embedded::open(config).expect("the runtime");
        match text(4) {
            Some(script) => {
                let sandbox = embedded.run_sandbox(&sandbox(&cgroup, "killed", false)).await.expect("a sandbox");
                let spec = container(&image_id, &script);
                let id = embedded.create_container(&sandbox.id, &spec).await.expect("a container");
                embedded.start_container(&id).await.expect("it starts");
                println!("{}", id.0);
            }
            None => {
                println!("churning");
                for round in 0u32.. {
                    churn(&embedded, &cgroup, &image_id, round).await;
                }
            }
        }
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// Some of everything; every third sandbox stays.
async fn churn(embedded: &Embedded, cgroup: &str, image_id: &str, round: u32) {
    let spec = sandbox(cgroup, &format!("churn{round}"), round.is_multiple_of(2));
    let sandbox = embedded.run_sandbox(&spec).await.expect("a sandbox");
    for script in ["exit 1", "sleep 1000", "trap 'exit 0' TERM; while :; do sleep 0.01; done"] {
        let id = embedded.create_container(&sandbox.id, &container(image_id, script)).await.expect("a container");
        embedded.start_container(&id).await.expect("it starts");
        if script.starts_with("trap") {
            embedded.stop_container(&id, Duration::from_millis(5)).await.expect("it stops");
            embedded.remove_container(&id).await.expect("it goes");
        }
    }
    if !round.is_multiple_of(3) {
        embedded.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    }
}

fn sandbox(cgroup: &str, uid: &str, share_pid: bool) -> SandboxSpec {
    SandboxSpec {
        pod: PodIdentity { namespace: "default".into(), name: uid.into(), uid: uid.into() },
        hostname: uid.into(),
        host_network: false,
        host_pid: false,
        host_ipc: false,
        share_pid,
        sysctls: Default::default(),
        cgroup: format!("{cgroup}/pod{uid}"),
    }
}

fn container(image_id: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        name: "main".into(),
        attempt: 0,
        image: "busybox".into(),
        image_id: image_id.to_owned(),
        command: vec!["/bin/sh".into(), "-c".into(), script.to_owned()],
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
