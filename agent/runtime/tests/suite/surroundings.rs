//! Namespaces, mounts and what else a container finds around it.

use super::ground::{Ground, exit_code};
use coracle_runtime::{ContainerSpec, Mount, Propagation};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;

pub async fn a_pod_has_its_own_network_name_and_kernel_settings(ground: &Ground) {
    let mut spec = ground.sandbox_spec("n");
    spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "99".into());
    spec.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    assert!(sandbox.netns.as_ref().is_some_and(|path| path.exists()));
    let script = "hostname; ls /sys/class/net; cat /sys/class/net/lo/flags; \
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced; ps | wc -l";
    let id = ground.started(&sandbox, &ground.shell(script)).await;
    ground.ended(&id).await;
    // Its own processes only: the header, the shell, `ps` and `wc`.
    assert_eq!(ground.log(&id).await, "pod-n\nlo\n0x9\n99\n1\n4\n");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    // The host's, a path, and one of a namespace that the pod does not have.
    for (name, host_network) in [("kernel.panic", false), ("../../etc/passwd", false), ("net.ipv4.ip_forward", true)] {
        let mut bad = ground.sandbox_spec("bad");
        bad.host_network = host_network;
        bad.sysctls.insert(name.into(), "0".into());
        assert!(ground.runtime.run_sandbox(&bad).await.is_err(), "{name}");
    }
}

pub async fn a_pods_containers_share_what_they_should(ground: &Ground) {
    let mut spec = ground.sandbox_spec("s");
    spec.share_pid = true;
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    let first = ground.started(&sandbox, &ground.shell("echo shared > /dev/shm/f; exec sleep 7777")).await;
    let script = "until [ -s /dev/shm/f ]; do sleep 0.01; done; cat /dev/shm/f; ps | grep -c '[s]leep 7777'; \
                  cat /proc/1/comm; touch /tmp/mine";
    let second = ground.started(&sandbox, &ground.shell(script)).await;
    assert_eq!(exit_code(&ground.ended(&second).await), 0);
    assert_eq!(ground.log(&second).await, "shared\n1\npause\n");
    assert_eq!(ground.exec(&first, "ls /tmp").await.1, "", "files are each container's own");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn a_host_pod_shares_the_hosts(ground: &Ground) {
    let mut spec = ground.sandbox_spec("h");
    (spec.host_network, spec.host_pid, spec.host_ipc) = (true, true, true);
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    assert_eq!(sandbox.netns, None);
    let script = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done";
    let id = ground.started(&sandbox, &ground.shell(script)).await;
    assert_eq!(exit_code(&ground.ended(&id).await), 0);
    let own: String = ["net", "pid", "ipc", "uts"]
        .iter()
        .map(|kind| {
            format!("{}\n", std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace").display())
        })
        .collect();
    assert_eq!(ground.log(&id).await, own);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

fn volume(source: &Path, target: &str) -> Mount {
    Mount { source: source.into(), target: target.into(), read_only: false, propagation: Propagation::Private }
}

pub async fn volumes_are_mounted(ground: &Ground) {
    let (folder, file) = (ground.dir.join("volume"), ground.dir.join("file"));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(&file, "one file\n").expect("a file");
    let spec = ContainerSpec {
        mounts: vec![
            volume(&file, "/data/inner/file"),
            volume(&folder, "/data"),
            Mount { read_only: true, ..volume(&folder, "/fixed") },
            volume(&file, "/etc/file"),
        ],
        ..ground.shell(
            "cat /etc/file /data/inner/file; echo written > /data/new; touch /fixed/x 2>/dev/null || echo read only",
        )
    };
    assert_eq!(ground.run(&spec).await, (0, "one file\none file\nread only\n".to_owned()));
    assert_eq!(std::fs::read_to_string(folder.join("new")).expect("it wrote there"), "written\n");
    let missing = ContainerSpec { mounts: vec![volume(Path::new("/no/such/source"), "/x")], ..ground.spec(&["true"]) };
    let sandbox = ground.sandbox().await;
    assert!(ground.runtime.create_container(&sandbox.id, &missing).await.is_err());
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// A link in a volume must not lead a mount out of the container.
pub async fn mounts_do_not_follow_links_out_of_the_container(ground: &Ground) {
    let (folder, file) = (ground.dir.join("volume"), ground.dir.join("file"));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(&file, "one file\n").expect("a file");
    std::os::unix::fs::symlink("/../../var", folder.join("up")).expect("a link");
    let inside = ContainerSpec {
        mounts: vec![volume(&folder, "/data"), volume(&file, "/data/up/coracle-inner")],
        ..ground.shell("cat /var/coracle-inner")
    };
    assert_eq!(ground.run(&inside).await, (0, "one file\n".to_owned()));
    assert!(!Path::new("/var/coracle-inner").exists(), "it was made on the host");
    let outside = ground.dir.join("outside");
    std::os::unix::fs::symlink(&outside, folder.join("out")).expect("a link");
    let mounts = vec![volume(&folder, "/data"), volume(&file, "/data/out/inner")];
    let sandbox = ground.sandbox().await;
    let spec = ContainerSpec { mounts, ..ground.spec(&["true"]) };
    let id = ground.runtime.create_container(&sandbox.id, &spec).await.expect("a container");
    // Refused or made inside; never on the host.
    let _ = ground.runtime.start_container(&id).await;
    assert!(!outside.exists(), "it was made on the host");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Mounts made on the host appear where that was asked for, and those of the container on the host likewise.
pub async fn mounts_propagate_where_asked(ground: &Ground) {
    let shared = ground.dir.join("shared");
    let point = |name: &str| shared.join(name);
    for name in ["from-host", "from-container"] {
        std::fs::create_dir_all(point(name)).expect("a folder");
    }
    mount(Some(&shared), &shared, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a mount");
    mount(None::<&str>, &shared, None::<&str>, MsFlags::MS_SHARED, None::<&str>).expect("shared");
    let with = |propagation| Mount { propagation, ..volume(&shared, "/m") };
    let sandbox = ground.sandbox().await;
    let mut ids = Vec::new();
    for propagation in [Propagation::Private, Propagation::HostToContainer, Propagation::Bidirectional] {
        let mut spec = ContainerSpec { mounts: vec![with(propagation)], ..ground.spec(&["sleep", "1000"]) };
        spec.security.privileged = propagation == Propagation::Bidirectional;
        ids.push(ground.started(&sandbox, &spec).await);
    }
    mount(Some("x"), &point("from-host"), Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a mount");
    std::fs::write(point("from-host").join("f"), "").expect("a file");
    let mut seen = Vec::new();
    for id in &ids {
        seen.push(ground.exec(id, "ls /m/from-host").await.1);
    }
    let (code, _, err) = ground.exec(&ids[2], "mount -t tmpfs y /m/from-container && touch /m/from-container/g").await;
    let back = point("from-container").join("g").exists();
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    for at in [point("from-host"), point("from-container"), shared] {
        let _ = umount2(&at, MntFlags::MNT_DETACH);
    }
    assert_eq!(seen, ["", "f\n", "f\n"]);
    assert_eq!((code, err.as_str(), back), (0, "", true));
}
