//! Tables on rendering a container's spec.

use super::*;
use crate::{Mount, PodIdentity, Propagation, Resources, Seccomp, Security};
use oci_spec::runtime::LinuxNamespaceType;

pub fn container() -> ContainerSpec {
    ContainerSpec {
        name: "c".into(),
        attempt: 0,
        image: "image".into(),
        image_id: "sha256:0".into(),
        command: Vec::new(),
        args: Vec::new(),
        working_dir: None,
        env: Vec::new(),
        mounts: Vec::new(),
        devices: Vec::new(),
        tty: false,
        stdin: false,
        stdin_once: false,
        resources: Resources::default(),
        security: Security { seccomp: Seccomp::RuntimeDefault, ..Security::default() },
        labels: Default::default(),
    }
}

fn sandbox() -> SandboxSpec {
    SandboxSpec {
        pod: PodIdentity { namespace: "default".into(), name: "p".into(), uid: "u".into() },
        hostname: "p".into(),
        host_network: false,
        host_pid: false,
        host_ipc: false,
        share_pid: false,
        sysctls: Default::default(),
        cgroup: "/coracle/podu".into(),
    }
}

fn rendered(
    container: ContainerSpec,
    sandbox: &SandboxSpec,
    namespaces: &Namespaces,
) -> Result<Rendered, RuntimeError> {
    let host = Host {
        capabilities: ["CHOWN", "KILL", "SYS_ADMIN"].map(str::to_owned).into(),
        controllers: Some(vec![("memory".into(), "/sys/fs/cgroup/memory".into())]),
        shim_cgroup: "coracle/shims".into(),
    };
    render(Input {
        id: &ContainerId("abc".into()),
        container: &ContainerSpec { command: vec!["/run".into()], ..container },
        image: &ImageConfig::default(),
        sandbox,
        namespaces,
        folder: Path::new("/data/containers/abc"),
        layers: vec!["/l1".into()],
        host: &host,
        seccomp: Filter::RuntimeDefault,
        devices: Vec::new(),
    })
}

fn pinned() -> Namespaces {
    let at = |name: &str| Some(PathBuf::from("/ns").join(name));
    Namespaces { net: at("net"), ipc: at("ipc"), uts: at("uts"), pid: None, shm: "/shm".into() }
}

fn kinds(rendered: &Rendered) -> Vec<(LinuxNamespaceType, bool)> {
    let linux = rendered.spec.linux().as_ref().unwrap();
    linux.namespaces().as_ref().unwrap().iter().map(|one| (one.typ(), one.path().is_some())).collect()
}

#[test]
fn a_container_joins_its_pods_namespaces_and_has_its_own_pids() {
    use LinuxNamespaceType::*;
    let plain = rendered(container(), &sandbox(), &pinned()).unwrap();
    assert_eq!(kinds(&plain), [(Mount, false), (Network, true), (Ipc, true), (Uts, true), (Pid, false)]);
    let shared = Namespaces { pid: Some("/ns/pid".into()), ..pinned() };
    let shared = rendered(container(), &SandboxSpec { share_pid: true, ..sandbox() }, &shared).unwrap();
    assert!(kinds(&shared).contains(&(Pid, true)));
    let host = SandboxSpec { host_pid: true, host_network: true, ..sandbox() };
    let host = rendered(container(), &host, &Namespaces { net: None, uts: None, ..pinned() }).unwrap();
    assert_eq!(kinds(&host), [(Mount, false), (Ipc, true)]);
    let sys = host.spec.mounts().as_ref().unwrap().iter().find(|one| one.destination() == Path::new("/sys")).unwrap();
    assert_eq!(sys.typ().as_deref(), Some("bind"), "a new sysfs would show the wrong network");
}

#[test]
fn its_cgroup_is_below_the_pods() {
    let rendered = rendered(container(), &sandbox(), &pinned()).unwrap();
    assert_eq!(rendered.job.cgroup, "coracle/podu/abc");
    let linux = rendered.spec.linux().as_ref().unwrap();
    assert_eq!(linux.cgroups_path().as_deref(), Some(Path::new("/coracle/podu/abc")));
}

#[test]
fn a_volume_replaces_what_stands_at_its_target_and_comes_after_its_parents() {
    let mount = |target: &str, propagation| Mount {
        source: format!("/host{target}").into(),
        target: target.into(),
        read_only: target == "/a",
        propagation,
    };
    let mounts = vec![
        mount("/a/b/c", Propagation::Bidirectional),
        mount("/dev/shm", Propagation::Private),
        mount("/a", Propagation::Private),
    ];
    let rendered = rendered(ContainerSpec { mounts, ..container() }, &sandbox(), &pinned()).unwrap();
    let mounts = rendered.spec.mounts().as_ref().unwrap();
    let position = |path: &str| mounts.iter().position(|one| one.destination() == Path::new(path)).unwrap();
    assert!(position("/a") < position("/a/b/c"));
    assert_eq!(mounts.iter().filter(|one| one.destination() == Path::new("/dev/shm")).count(), 1);
    assert!(mounts[position("/a")].options().as_ref().unwrap().contains(&"ro".to_owned()));
    assert!(rendered.job.propagated[0].bidirectional);
    assert_eq!(mounts[position("/a/b/c")].source().as_ref(), Some(&rendered.job.propagated[0].staged));
    assert_eq!(rendered.spec.linux().as_ref().unwrap().rootfs_propagation().as_deref(), Some("shared"));
}

#[test]
fn a_target_that_leaves_the_root_is_refused() {
    for target in ["", "/", "relative", "/a/../../etc"] {
        let mounts = vec![Mount {
            source: "/x".into(),
            target: target.into(),
            read_only: false,
            propagation: Default::default(),
        }];
        assert!(rendered(ContainerSpec { mounts, ..container() }, &sandbox(), &pinned()).is_err(), "{target}");
    }
}

#[test]
fn privileged_means_unhidden_unfiltered_and_all_there_is() {
    let security = Security { privileged: true, no_new_privileges: true, ..Security::default() };
    let rendered = rendered(ContainerSpec { security, ..container() }, &sandbox(), &pinned()).unwrap();
    let privileges = &rendered.job.process.privileges;
    assert_eq!(privileges.capabilities, ["CHOWN", "KILL", "SYS_ADMIN"]);
    assert_eq!(privileges.seccomp, Filter::Unconfined);
    assert!(!privileges.no_new_privileges);
    let linux = rendered.spec.linux().as_ref().unwrap();
    assert!(linux.masked_paths().is_none() && linux.readonly_paths().is_none());
}

#[test]
fn libcontainer_never_sets_what_the_kernel_may_refuse() {
    let resources = Resources { oom_score_adj: -999, memory_limit_bytes: Some(1), ..Resources::default() };
    let rendered = rendered(ContainerSpec { resources, ..container() }, &sandbox(), &pinned()).unwrap();
    let process = rendered.spec.process().as_ref().unwrap();
    assert_eq!((process.oom_score_adj(), process.capabilities(), process.user().uid()), (None, &None, 0));
    assert_eq!(rendered.job.oom_score_adj, -999);
}
