//! Being born, running, ending.

use super::ground::{Ground, exit_code, leftovers, soon};
use coracle_runtime::{ContainerId, RuntimeError, SandboxId, State};
use std::time::{Duration, Instant};

pub async fn a_container_runs_and_its_end_is_known(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    assert!(sandbox.ready);
    let id = ground.started(&sandbox, &ground.shell("echo out; echo err >&2; exit 7")).await;
    let container = ground.ended(&id).await;
    assert_eq!(exit_code(&container), 7);
    let State::Exited { started_at, finished_at, signal, oom_killed, message, .. } = &container.state else {
        panic!("it has exited");
    };
    assert!(started_at.expect("it started") <= *finished_at);
    assert_eq!((signal, oom_killed, message.as_str()), (&None, &false, ""));
    let mut lines: Vec<_> = ground.log(&id).await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    assert!(matches!(ground.runtime.container(&id).await, Err(RuntimeError::NotFound { .. })));
}

/// What users of Kubernetes read when a command is wrong.
pub async fn what_can_not_start_says_why(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let mut unknown_user = ground.spec(&["true"]);
    unknown_user.security.add_capabilities = vec!["NONSENSE".into()];
    let refused = ground.runtime.create_container(&sandbox.id, &unknown_user).await;
    assert!(matches!(&refused, Err(RuntimeError::Start(why)) if why.contains("NONSENSE")), "{refused:?}");
    for (command, want) in [
        ("no-such-command", "exec: \"no-such-command\": executable file not found in $PATH"),
        ("/bin/nothing", "exec: \"/bin/nothing\": stat /bin/nothing: no such file or directory"),
        ("/bin/not-a-program", "exec: \"/bin/not-a-program\": permission denied"),
        ("/tmp", "exec: \"/tmp\": is a directory"),
    ] {
        let id = ground.runtime.create_container(&sandbox.id, &ground.spec(&[command])).await.expect("a container");
        let error = ground.runtime.start_container(&id).await.expect_err("it can't start");
        // What low-level runtimes built with an older Go say of a folder.
        let older = "exec: \"/tmp\": permission denied";
        let want = match &error {
            RuntimeError::Start(why) if command == "/tmp" && why.ends_with(older) => older,
            _ => want,
        };
        assert!(matches!(&error, RuntimeError::Start(why) if why.ends_with(want)), "{error:?} wants {want}");
        let container = ground.runtime.container(&id).await.expect("it is there");
        let State::Exited { started_at, exit_code, message, .. } = container.state else {
            panic!("it has ended");
        };
        assert_eq!((started_at, exit_code), (None, 128));
        assert!(message.ends_with(want), "{message}");
        assert!(matches!(ground.runtime.start_container(&id).await, Err(RuntimeError::WrongState { .. })));
    }
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn stopping_asks_first_and_kills_after_the_grace(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let polite = ground.shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let polite = ground.started(&sandbox, &polite).await;
    ground.logged(&polite, "ready").await;
    let asked = Instant::now();
    soon(ground.runtime.stop_container(&polite, Duration::from_secs(20))).await.expect("it stops");
    assert!(asked.elapsed() < Duration::from_secs(10), "nobody waits for the whole grace period");
    let container = ground.runtime.container(&polite).await.expect("it is there");
    assert_eq!(exit_code(&container), 3);
    assert!(ground.log(&polite).await.ends_with("bye\n"));

    let deaf = ground.started(&sandbox, &ground.shell("trap '' TERM; echo ready; while :; do sleep 0.05; done")).await;
    ground.logged(&deaf, "ready").await;
    soon(ground.runtime.stop_container(&deaf, Duration::from_millis(200))).await.expect("it stops");
    let container = ground.runtime.container(&deaf).await.expect("it is there");
    assert!(matches!(container.state, State::Exited { exit_code: 137, signal: Some(9), oom_killed: false, .. }));
    soon(ground.runtime.stop_container(&deaf, Duration::ZERO)).await.expect("again is fine");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn states_that_do_not_fit_are_refused_and_removal_repeats(ground: &Ground) {
    let runtime = &ground.runtime;
    let nobody = ContainerId("nobody".into());
    assert!(matches!(runtime.start_container(&nobody).await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(runtime.stop_container(&nobody, Duration::ZERO).await, Err(RuntimeError::NotFound { .. })));
    runtime.remove_container(&nobody).await.expect("what is not there is removed");
    runtime.remove_sandbox(&SandboxId("nobody".into())).await.expect("what is not there is removed");

    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    assert!(matches!(runtime.start_container(&id).await, Err(RuntimeError::WrongState { .. })));
    assert!(matches!(runtime.remove_container(&id).await, Err(RuntimeError::WrongState { .. })));
    runtime.remove_sandbox(&sandbox.id).await.expect("a sandbox takes its containers along");
    assert!(runtime.containers().await.expect("a list").is_empty());
    assert!(runtime.sandboxes().await.expect("a list").is_empty());
    runtime.remove_sandbox(&sandbox.id).await.expect("again is fine");
    let gone = runtime.create_container(&sandbox.id, &ground.spec(&["true"])).await;
    assert!(matches!(gone, Err(RuntimeError::NotFound { .. })), "{gone:?}");
}

/// Orphans fall to the first process of a shared PID namespace, or on the host's PIDs to the shim: neither leaves
/// zombies.
pub async fn orphans_are_reaped(ground: &Ground) {
    let mut shared = ground.sandbox_spec("shared");
    shared.share_pid = true;
    let mut host = ground.sandbox_spec("host");
    host.host_pid = true;
    for spec in [shared, host] {
        let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
        // The orphan's number; then the container lives on while it ends.
        let script = "sh -c 'sleep 0.1 & echo $!'; exec sleep 1000";
        let id = ground.started(&sandbox, &ground.shell(script)).await;
        ground.logged(&id, "\n").await;
        let orphan = ground.log(&id).await.trim().to_owned();
        let gone = format!("until [ ! -e /proc/{orphan} ]; do sleep 0.01; done");
        assert_eq!(soon(ground.exec(&id, &gone)).await.0, 0);
        ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    }
}

/// Whoever is left when the first process ends goes with it, even where nothing else would end it.
pub async fn nothing_outlives_its_container(ground: &Ground) {
    let mut spec = ground.sandbox_spec("host");
    spec.host_pid = true;
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    let id = ground.started(&sandbox, &ground.shell("setsid sleep 98765 & echo $!; sleep 0.05; exit 5")).await;
    assert_eq!(exit_code(&ground.ended(&id).await), 5);
    let left: i32 = ground.log(&id).await.trim().parse().expect("a process");
    assert!(!std::path::Path::new(&format!("/proc/{left}")).exists(), "{left} is still there");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn many_come_and_go_and_leave_nothing(ground: &Ground) {
    let count: usize = std::env::var("CORACLE_CONTAINERS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let before = leftovers(ground);
    for round in 0..count.div_ceil(10) {
        let sandbox = ground.runtime.run_sandbox(&ground.sandbox_spec(&format!("m{round}"))).await.expect("a sandbox");
        let all = futures::future::join_all((0..10).map(|_| async {
            let id = ground.started(&sandbox, &ground.shell("sleep 1000")).await;
            soon(ground.runtime.stop_container(&id, Duration::ZERO)).await.expect("it stops");
            soon(ground.runtime.remove_container(&id)).await.expect("it goes");
        }));
        all.await;
        soon(ground.runtime.remove_sandbox(&sandbox.id)).await.expect("the sandbox goes");
        coracle_runtime::remove_pod_cgroup(&ground.sandbox_spec(&format!("m{round}")).cgroup).expect("the cgroup goes");
    }
    soon(async {
        // Shims end by themselves after their containers.
        while leftovers(ground) != before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
