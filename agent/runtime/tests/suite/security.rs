//! What the kernel lets a container do.

use super::ground::Ground;
use coracle_runtime::{ContainerSpec, Seccomp, Security};

fn secured(ground: &Ground, script: &str, security: Security) -> ContainerSpec {
    ContainerSpec { security, ..ground.shell(script) }
}

pub async fn user_and_groups_are_as_asked(ground: &Ground) {
    let script = "id -u; id -g; id -G; echo $HOME; touch /dev/stdout";
    for (security, want) in [
        (Security::default(), "0\n0\n0\n/root\n"),
        (Security { user: Some(101), ..Security::default() }, "101\n102\n102 200\n/home/web\n"),
        (
            Security { user: Some(5), group: Some(6), supplemental_groups: vec![7, 8], ..Security::default() },
            "5\n6\n6 7 8\n/\n",
        ),
    ] {
        let (code, out) = ground.run(&secured(ground, script, security.clone())).await;
        assert_eq!((code, out.as_str()), (0, want), "{security:?}");
    }
}

/// Default, dropped, added, and what a user other than root has left.
pub async fn capabilities_are_the_kernels(ground: &Ground) {
    let script = "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | tr -s '\\t\\n' '  '";
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let all = |set: &str, own: &str| format!("CapPrm: {own} CapEff: {own} CapBnd: {set} CapAmb: 0000000000000000 ");
    let (default, none, bind) = ("00000000a80425fb", "0000000000000000", "0000000000000400");
    for (security, want) in [
        (Security::default(), all(default, default)),
        (Security { drop_capabilities: texts(&["ALL"]), ..Security::default() }, all(none, none)),
        (
            Security {
                drop_capabilities: texts(&["ALL"]),
                add_capabilities: texts(&["NET_BIND_SERVICE"]),
                ..Security::default()
            },
            all(bind, bind),
        ),
        (Security { user: Some(101), ..Security::default() }, all(default, none)),
    ] {
        let (_, out) = ground.run(&secured(ground, script, security.clone())).await;
        assert_eq!(out, want, "{security:?}");
    }
}

/// An exec has the same rights as its container, no more.
pub async fn an_exec_has_its_containers_rights(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let security = Security {
        user: Some(101),
        drop_capabilities: vec!["ALL".into()],
        no_new_privileges: true,
        ..Security::default()
    };
    let id = ground.started(&sandbox, &secured(ground, "sleep 1000", security)).await;
    let (code, out, _) = ground.exec(&id, "id -u; grep -E 'CapBnd|NoNewPrivs|^Seccomp:' /proc/self/status").await;
    assert_eq!((code, out.as_str()), (0, "101\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"));
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn seccomp_filters_what_it_should(ground: &Ground) {
    let state = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -s '\\t\\n' '  '; ";
    let script = format!("{state} unshare -n true && echo unshared");
    // With the capability, so that only the filter could refuse it.
    let able = Security { add_capabilities: vec!["SYS_ADMIN".into()], ..Security::default() };
    let (_, out) = ground.run(&secured(ground, &script, Security::default())).await;
    assert!(out.contains("NoNewPrivs: 0 Seccomp: 2 ") && out.contains("Operation not permitted"), "{out}");
    let (_, out) = ground.run(&secured(ground, &script, able.clone())).await;
    assert!(out.ends_with("Seccomp: 2 unshared\n"), "{out}");
    let open = Security { seccomp: Seccomp::Unconfined, ..able };
    let (_, out) = ground.run(&secured(ground, &script, open)).await;
    assert_eq!(out, "NoNewPrivs: 0 Seccomp: 0 unshared\n");

    let profile = ground.dir.join("profile.json");
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":30}]}"#;
    std::fs::write(&profile, json).expect("a profile");
    let own = Security { seccomp: Seccomp::Localhost(profile), ..Security::default() };
    let (code, out) = ground.run(&secured(ground, "mkdir /tmp/x", own)).await;
    assert!(code != 0 && out.contains("Read-only file system"), "{out}");
}

pub async fn the_root_can_be_read_only(ground: &Ground) {
    let script = "touch /tmp/x 2>/dev/null; echo $?; touch /dev/shm/x; echo $?";
    let (_, out) = ground.run(&secured(ground, script, Security::default())).await;
    assert_eq!(out, "0\n0\n");
    let security = Security { read_only_root: true, ..Security::default() };
    let (_, out) = ground.run(&secured(ground, script, security)).await;
    assert_eq!(out, "1\n0\n");
}

pub async fn the_hosts_knobs_are_out_of_reach(ground: &Ground) {
    let script = "echo 1 > /proc/sys/kernel/panic || echo sys; echo b > /proc/sysrq-trigger || echo sysrq; \
                  cat /proc/kcore | wc -c; mkdir /sys/fs/cgroup/memory/x || echo cgroup; \
                  mknod /tmp/disk b 254 0 && cat /tmp/disk || echo disk; mount -t tmpfs x /tmp || echo mount; \
                  chroot / true && echo chroot";
    let (_, out) = ground.run(&ground.shell(&format!("({script}) 2>/dev/null"))).await;
    assert_eq!(out, "sys\nsysrq\n0\ncgroup\ndisk\nmount\nchroot\n");
}

pub async fn privileged_is_privileged(ground: &Ground) {
    let security = Security { privileged: true, ..Security::default() };
    let script = "mount -t tmpfs x /tmp && echo mounted; ls /dev | grep -c '^vda\\|^tty0\\|^kmsg\\|^loop0'; \
                  grep ^Seccomp: /proc/self/status";
    let (_, out) = ground.run(&secured(ground, script, security)).await;
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("mounted"), "{out}");
    assert_ne!(lines.next(), Some("0"), "the host's devices are there");
    assert_eq!(lines.next(), Some("Seccomp:\t0"));
}
