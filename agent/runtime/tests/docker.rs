//! What is Docker's own beside the suite that every runtime passes: the sandbox as a container, labels, a second agent on
//! the same Docker.
#![allow(clippy::unwrap_used)]

mod docker_kit;
#[allow(dead_code)]
mod suite;

use coracle_runtime::{
    ContainerId, ContainerSpec, Docker, ExecSpec, LogQuery, PodIdentity, Resources, Runtime, RuntimeError, Sandbox,
    SandboxSpec, Security, Session, State,
};
use docker_kit::{connect, engine};
use futures::StreamExt;
use std::future::Future;
use std::time::Duration;

struct Ground {
    docker: Docker,
    busybox: String,
    cgroup: String,
    dir: tempfile::TempDir,
}

async fn ground() -> Option<Ground> {
    let engine = engine().await?;
    let dir = tempfile::tempdir().unwrap();
    let docker = connect(engine, dir.path()).await;
    let cgroup = format!("coracle-test{}", dir.path().file_name().unwrap().to_str().unwrap());
    Some(Ground { docker, busybox: engine.busybox.clone(), cgroup, dir })
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The node's own group, which the agent would make and remove.
        let _left_by_a_failed_test = coracle_runtime::remove_pod_cgroup(&self.cgroup);
    }
}

impl Ground {
    fn pod(&self) -> SandboxSpec {
        SandboxSpec {
            pod: PodIdentity { namespace: "default".into(), name: "web".into(), uid: "u-1".into() },
            hostname: "web".into(),
            host_network: false,
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: [("net.ipv4.ip_unprivileged_port_start".to_owned(), "77".to_owned())].into(),
            cgroup: format!("{}/podu-1", self.cgroup),
        }
    }

    fn shell(&self, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: "main".into(),
            attempt: 3,
            image: "busybox:test".into(),
            image_id: self.busybox.clone(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            args: Vec::new(),
            working_dir: None,
            env: vec![("GREETING".into(), "hello=world".into())],
            mounts: Vec::new(),
            devices: Vec::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            resources: Resources::default(),
            security: Security::default(),
            labels: [("hash".to_owned(), "abc".to_owned())].into(),
        }
    }

    async fn started(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> ContainerId {
        let id = self.docker.create_container(&sandbox.id, spec).await.unwrap();
        self.docker.start_container(&id).await.unwrap();
        id
    }

    async fn ended(&self, id: &ContainerId) -> State {
        let mut events = self.docker.events();
        soon(async {
            loop {
                let state = self.docker.container(id).await.unwrap().state;
                if matches!(state, State::Exited { .. }) {
                    return state;
                }
                events.recv().await.unwrap();
            }
        })
        .await
    }

    async fn log(&self, id: &ContainerId) -> String {
        let lines: Vec<_> = self.docker.logs(id, &LogQuery::default()).await.unwrap().collect().await;
        lines.into_iter().map(|line| String::from_utf8(line.unwrap().bytes.to_vec()).unwrap()).collect()
    }

    async fn pid(&self, id: &ContainerId) -> i32 {
        match self.docker.container(id).await.unwrap().state {
            State::Running { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    async fn exec(&self, id: &ContainerId, words: &[&str]) -> (Result<i32, RuntimeError>, String) {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        let spec = ExecSpec { command, stdout: true, stderr: true, ..ExecSpec::default() };
        ended_session(self.docker.exec(id, &spec).await.unwrap()).await
    }
}

async fn ended_session(mut session: Session) -> (Result<i32, RuntimeError>, String) {
    soon(async {
        let mut text = Vec::new();
        while let Some((_, bytes)) = session.output.recv().await {
            text.extend(bytes);
        }
        (session.exit.await.unwrap(), String::from_utf8(text).unwrap())
    })
    .await
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it takes too long")
}

fn namespace(pid: i32, kind: &str) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
}

macro_rules! tests {
    ($($(#[$doc:meta])* async fn $name:ident($ground:ident) $body:block)+) => {
        $($(#[$doc])* #[test]
        fn $name() {
            // One runtime for all: the shared Docker is started by whoever comes first and used by the others.
            let test = async {
                if let Some($ground) = ground().await { $body }
            };
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
        })+
    };
}

tests! {
    async fn a_container_is_in_its_sandbox_s_namespaces_and_cgroup(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let netns = sandbox.netns.clone().unwrap();
        let id = ground.started(&sandbox, &ground.shell("exec sleep 1000")).await;
        let pid = ground.pid(&id).await;
        assert_eq!(std::fs::read_link(&netns).unwrap(), namespace(pid, "net"));
        assert_ne!(namespace(pid, "net"), namespace(std::process::id() as i32, "net"));
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(cgroups.contains(&format!("/{}/podu-1/", ground.cgroup)), "{cgroups}");
        let (code, text) = ground.exec(&id, &["sh", "-c", "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ifconfig -a"]).await;
        assert_eq!(code, Ok(0));
        assert!(text.starts_with("web\n77\n") && !text.contains("eth0"), "{text}");
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
        assert!(!netns.exists());
        assert!(!std::path::Path::new("/sys/fs/cgroup/memory").join(&ground.cgroup).join("podu-1").exists());
        assert!(ground.docker.containers().await.unwrap().is_empty() && ground.docker.sandboxes().await.unwrap().is_empty());
    }

    async fn a_shared_pid_namespace_has_the_pause_process_first(ground) {
        let sandbox = ground.docker.run_sandbox(&SandboxSpec { share_pid: true, ..ground.pod() }).await.unwrap();
        let first = ground.started(&sandbox, &ground.shell("exec sleep 1000")).await;
        let second = ground.started(&sandbox, &ground.shell("exec sleep 1000")).await;
        assert_eq!(namespace(ground.pid(&first).await, "pid"), namespace(ground.pid(&second).await, "pid"));
        let (_, text) = ground.exec(&first, &["sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; (sleep 0.01 &) ; ps | grep -c '[s]leep 1000'"]).await;
        assert!(text.starts_with("/coracle pause") && text.trim().ends_with('2'), "{text}");
        // Orphans of the pod are taken care of.
        soon(async { while ground.exec(&first, &["sh", "-c", "ps | grep -c '[Z] '"]).await.0 == Ok(0) {} }).await;
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn containers_outlive_the_agent_and_are_found_again_with_all_that_was_said(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let id = ground.started(&sandbox, &ground.shell("echo one; exec sleep 1000")).await;
        let before = ground.docker.container(&id).await.unwrap();
        // Another one, as after a restart.
        let engine = engine().await.unwrap();
        let again = connect(engine, ground.dir.path()).await;
        assert_eq!(again.containers().await.unwrap(), std::slice::from_ref(&before));
        assert_eq!(again.sandboxes().await.unwrap(), std::slice::from_ref(&sandbox));
        assert_eq!((before.attempt, before.labels["hash"].as_str(), before.image.as_str()), (3, "abc", "busybox:test"));
        let other = tempfile::tempdir().unwrap();
        let other = connect(engine, other.path()).await;
        assert!(other.containers().await.unwrap().is_empty() && other.sandboxes().await.unwrap().is_empty());
        again.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn ends_are_known_with_code_and_reason(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let id = ground.started(&sandbox, &ground.shell("echo $GREETING $FROM; exit 7")).await;
        assert!(matches!(ground.ended(&id).await, State::Exited { exit_code: 7, signal: None, oom_killed: false, .. }));
        assert_eq!(ground.log(&id).await, "hello=world image\n");
        assert!(matches!(ground.docker.start_container(&id).await, Err(RuntimeError::WrongState { .. })));
        ground.docker.remove_container(&id).await.unwrap();
        ground.docker.remove_container(&id).await.unwrap();
        assert!(matches!(ground.docker.container(&id).await, Err(RuntimeError::NotFound { .. })));

        let deaf = ground.started(&sandbox, &ground.shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done")).await;
        assert!(matches!(ground.docker.remove_container(&deaf).await, Err(RuntimeError::WrongState { .. })));
        soon(async { while ground.log(&deaf).await.is_empty() {} }).await;
        ground.docker.stop_container(&deaf, Duration::from_millis(300)).await.unwrap();
        assert!(matches!(ground.ended(&deaf).await, State::Exited { exit_code: 137, signal: Some(9), .. }));
        let polite = ground.started(&sandbox, &ground.shell("trap 'exit 5' TERM; echo; while :; do sleep 0.1; done")).await;
        soon(async { while ground.log(&polite).await.is_empty() {} }).await;
        ground.docker.stop_container(&polite, Duration::from_secs(20)).await.unwrap();
        assert!(matches!(ground.ended(&polite).await, State::Exited { exit_code: 5, .. }));

        let mut hungry = ground.shell("tail /dev/zero");
        hungry.resources.memory_limit_bytes = Some(16 << 20);
        let hungry = ground.started(&sandbox, &hungry).await;
        assert!(matches!(ground.ended(&hungry).await, State::Exited { oom_killed: true, exit_code: 137, .. }));

        let nothing = ContainerSpec { command: vec!["/no/such".into()], ..ground.shell("") };
        let nothing = ground.docker.create_container(&sandbox.id, &nothing).await.unwrap();
        assert!(matches!(ground.docker.start_container(&nothing).await, Err(RuntimeError::Start(_))));
        match ground.docker.container(&nothing).await.unwrap().state {
            State::Exited { started_at: None, message, .. } => assert!(message.contains("/no/such"), "{message}"),
            other => panic!("{other:?}"),
        }
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn commands_streams_and_terminals(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let id = ground.started(&sandbox, &ground.shell("exec sleep 1000")).await;
        assert_eq!(ground.exec(&id, &["sh", "-c", "exit 9"]).await.0, Ok(9));
        let missing = ExecSpec { command: vec!["/no/such".into()], stdout: true, ..ExecSpec::default() };
        let refused = ground.docker.exec(&id, &missing).await;
        assert!(matches!(&refused, Err(RuntimeError::Start(why)) if why.contains("/no/such")), "{refused:?}");

        let spec = |tty| ExecSpec {
            command: ["sh", "-c", "cat; echo; stty size 2>/dev/null; echo end"].map(str::to_owned).to_vec(),
            tty,
            stdin: true,
            stdout: true,
            stderr: true,
        };
        let mut session = ground.docker.exec(&id, &spec(false)).await.unwrap();
        let stdin = session.stdin.take().unwrap();
        for _ in 0..100 {
            stdin.send(vec![b'x'; 10_000].into()).await.unwrap();
            session.output.recv().await.unwrap();
        }
        drop(stdin);
        let (code, text) = ended_session(session).await;
        assert_eq!(code, Ok(0));
        assert!(text.ends_with("\nend\n"), "{} bytes", text.len());

        let mut session = ground.docker.exec(&id, &spec(true)).await.unwrap();
        session.resize.send(coracle_runtime::TerminalSize { columns: 123, rows: 45 }).await.unwrap();
        let stdin = session.stdin.take().unwrap();
        soon(async {
            while !ground.exec(&id, &["sh", "-c", "stty size </dev/pts/0"]).await.1.contains("45 123") {}
        })
        .await;
        stdin.send("typed\n\u{4}".into()).await.unwrap();
        let (code, text) = ended_session(session).await;
        assert!(code == Ok(0) && text.contains("typed") && text.contains("45 123"), "{code:?} {text}");

        // A user that leaves takes the command along.
        let spec = ExecSpec { command: vec!["sleep".into(), "4321".into()], stdout: true, ..ExecSpec::default() };
        let session = ground.docker.exec(&id, &spec).await.unwrap();
        let running = async || ground.exec(&id, &["sh", "-c", "ps | grep '[s]leep 4321'"]).await.0 == Ok(0);
        soon(async { while !running().await {} }).await;
        drop(session);
        soon(async { while running().await {} }).await;
        ground.docker.stop_container(&id, Duration::ZERO).await.unwrap();
        let again = ground.docker.exec(&id, &spec).await;
        assert!(matches!(again, Err(RuntimeError::WrongState { .. })), "{again:?}");
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn attach_reaches_the_container_itself(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let spec = ContainerSpec { stdin: true, stdin_once: true, ..ground.shell("read line; echo got $line; exit 4") };
        let id = ground.started(&sandbox, &spec).await;
        let how = ExecSpec { stdin: true, stdout: true, stderr: true, ..ExecSpec::default() };
        let mut session = ground.docker.attach(&id, &how).await.unwrap();
        session.stdin.take().unwrap().send("this\n".into()).await.unwrap();
        assert_eq!(ended_session(session).await, (Ok(4), "got this\n".to_owned()));
        assert!(matches!(ground.docker.attach(&id, &how).await, Err(RuntimeError::WrongState { .. })));
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn logs_by_time_and_by_count(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let id = ground.started(&sandbox, &ground.shell("echo one; echo two; sleep 0.2; echo three >&2; printf four")).await;
        let follow = LogQuery { follow: true, ..LogQuery::default() };
        let lines: Vec<_> = soon(async { ground.docker.logs(&id, &follow).await.unwrap().collect().await }).await;
        let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        let bytes: Vec<&[u8]> = lines.iter().map(|line| &line.bytes[..]).collect();
        assert_eq!(bytes, [&b"one\n"[..], b"two\n", b"three\n", b"four"]);
        assert!(lines[1].at < lines[2].at);
        let read = async |query: LogQuery| {
            let lines: Vec<_> = ground.docker.logs(&id, &query).await.unwrap().collect().await;
            lines.into_iter().map(|line| line.unwrap().bytes).collect::<Vec<_>>()
        };
        assert_eq!(read(LogQuery { tail_lines: Some(1), ..LogQuery::default() }).await, [&b"four"[..]]);
        assert_eq!(read(LogQuery { tail_lines: Some(0), ..LogQuery::default() }).await.len(), 0);
        assert_eq!(read(LogQuery { since: Some(lines[2].at), ..LogQuery::default() }).await, [&b"three\n"[..], b"four"]);
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn users_rights_and_read_only_roots(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let mut spec = ground.shell("id -u; id -g; id -G; grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/self/status; touch /x 2>&1");
        spec.security = Security {
            user: Some(101),
            group: Some(102),
            supplemental_groups: vec![333],
            read_only_root: true,
            no_new_privileges: true,
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            ..Security::default()
        };
        spec.resources.oom_score_adj = -500;
        let id = ground.started(&sandbox, &spec).await;
        ground.ended(&id).await;
        let log = ground.log(&id).await;
        let lines: Vec<String> = log.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[..2], ["101", "102"]);
        assert!(lines[2].split(' ').any(|group| group == "333"), "{log}");
        for wanted in ["CapBnd: 0000000000000400", "NoNewPrivs: 1", "Seccomp: 2"] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}: {log}");
        }
        assert!(log.contains("Read-only file system"), "{log}");
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn statistics_count_what_is_used(ground) {
        let sandbox = ground.docker.run_sandbox(&ground.pod()).await.unwrap();
        let id = ground.started(&sandbox, &ground.shell("while :; do :; done")).await;
        soon(async { while ground.docker.stats(&id).await.unwrap().cpu_nanos < 50_000_000 {} }).await;
        let stats = ground.docker.stats(&id).await.unwrap();
        assert!(stats.memory_usage_bytes >= stats.memory_working_set_bytes && stats.memory_working_set_bytes > 0, "{stats:?}");
        ground.docker.stop_container(&id, Duration::ZERO).await.unwrap();
        assert!(matches!(ground.docker.stats(&id).await, Err(RuntimeError::WrongState { .. })));
        ground.docker.remove_sandbox(&sandbox.id).await.unwrap();
    }

    async fn images_by_name_and_bad_archives(ground) {
        let docker = &ground.docker;
        let demo = docker.image("coracle/demo:v2").await.unwrap().unwrap();
        assert!(demo.names.contains(&"docker.io/coracle/demo:v2".to_owned()));
        assert!(docker.images().await.unwrap().contains(&demo));
        assert_eq!(docker.image(&demo.id).await.unwrap(), Some(demo));
        assert_eq!(docker.image("no/such:1").await.unwrap(), None);
        assert!(matches!(docker.image("No:Such").await, Err(RuntimeError::BadReference { .. })));
        assert!(matches!(docker.remove_image("no/such:1").await, Err(RuntimeError::NotFound { .. })));
        assert!(matches!(docker.pull_image("127.0.0.1:1/x:1", None).await, Err(RuntimeError::Pull { .. })));
        let junk = ground.dir.path().join("junk.tar");
        std::fs::write(&junk, "no archive").unwrap();
        assert!(matches!(docker.import(&junk).await, Err(RuntimeError::BadImage { .. })));
        let spec = ContainerSpec { image_id: "sha256:none".into(), ..ground.shell("") };
        let sandbox = docker.run_sandbox(&ground.pod()).await.unwrap();
        assert!(matches!(docker.create_container(&sandbox.id, &spec).await, Err(RuntimeError::NotFound { what: "image", .. })));
        docker.remove_sandbox(&sandbox.id).await.unwrap();
    }
}

/// Docker against the suite of the trait. What it says of a killed agent and a killed shim is about the embedded runtime.
mod suite_of_the_trait {
    use super::{connect, engine, suite};
    use std::sync::Arc;

    async fn ground() -> Option<suite::ground::Ground> {
        let engine = engine().await?;
        let folder = tempfile::tempdir().unwrap();
        let docker = connect(engine, folder.path()).await;
        Some(suite::ground::Ground::on(Arc::new(docker), engine.busybox.clone(), folder))
    }

    macro_rules! suite {
        ($($group:ident: $($name:ident),+ $(,)?;)+) => {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(ground) = ground().await {
                        suite::$group::$name(&ground).await;
                    }
                }
            )+)+
        };
    }

    suite! {
        life:
            a_container_runs_and_its_end_is_known,
            what_can_not_start_says_why,
            stopping_asks_first_and_kills_after_the_grace,
            states_that_do_not_fit_are_refused_and_removal_repeats,
            orphans_are_reaped,
            nothing_outlives_its_container,
            many_come_and_go_and_leave_nothing;
        logs:
            lines_come_back_as_they_were_written,
            a_follower_hears_everything_until_the_end,
            a_follower_keeps_its_place_over_rotation;
        resources:
            a_container_that_eats_its_memory_is_oom_killed,
            limits_reach_the_kernel_and_usage_comes_back,
            a_refused_oom_score_does_not_stop_a_container,
            a_pods_limit_holds_all_its_containers;
        security:
            user_and_groups_are_as_asked,
            capabilities_are_the_kernels,
            an_exec_has_its_containers_rights,
            seccomp_filters_what_it_should,
            the_root_can_be_read_only,
            the_hosts_knobs_are_out_of_reach;
        sessions:
            an_exec_has_streams_and_an_exit_code,
            an_exec_can_have_a_terminal,
            a_dropped_exec_is_killed,
            several_attach_and_stdin_once_ends_with_the_first,
            a_terminal_can_be_attached,
            a_deaf_client_does_not_hold_a_container_up;
        surroundings:
            a_pod_has_its_own_network_name_and_kernel_settings,
            a_pods_containers_share_what_they_should,
            a_host_pod_shares_the_hosts,
            volumes_are_mounted,
            mounts_do_not_follow_links_out_of_the_container;
    }

    /// Docker gives a privileged container every capability that the kernel knows, or fails.
    fn can_be_privileged() -> bool {
        let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let bound = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        let all = u64::from_str_radix(bound, 16).unwrap() == (1 << (last + 1)) - 1;
        if !all {
            println!("skipped: this host withholds capabilities, so Docker has no privileged containers");
        }
        all
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn privileged_is_privileged() {
        if let Some(ground) = ground().await.filter(|_| can_be_privileged()) {
            suite::security::privileged_is_privileged(&ground).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mounts_propagate_where_asked() {
        if let Some(ground) = ground().await.filter(|_| can_be_privileged()) {
            suite::surroundings::mounts_propagate_where_asked(&ground).await;
        }
    }
}
