//! Limits that the kernel keeps, and what was used.

use super::ground::{Ground, exit_code};
use coracle_runtime::{Resources, State, ensure_pod_cgroup, remove_pod_cgroup};

pub async fn a_container_that_eats_its_memory_is_oom_killed(ground: &Ground) {
    let mut spec = ground.shell("head -c 200000000 /dev/zero | tail -c 100000000 | wc -c; exit 0");
    spec.command = ["tail", "/dev/zero"].map(str::to_owned).to_vec();
    spec.resources.memory_limit_bytes = Some(24 << 20);
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &spec).await;
    let container = ground.ended(&id).await;
    assert!(
        matches!(container.state, State::Exited { exit_code: 137, signal: Some(9), oom_killed: true, .. }),
        "{:?}",
        container.state
    );
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn limits_reach_the_kernel_and_usage_comes_back(ground: &Ground) {
    let mut spec = ground.shell("while :; do :; done");
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota: Some(20_000),
        cpu_period: Some(100_000),
        memory_limit_bytes: Some(32 << 20),
        pids_limit: Some(7),
        oom_score_adj: 900,
    };
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &spec).await;
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us pids/pids.max \
                  2>/dev/null || cat memory.max cpu.weight cpu.max pids.max; cat /proc/1/oom_score_adj";
    let (code, out, err) = ground.exec(&id, script).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let v1 = "33554432\n512\n20000\n7\n900\n";
    let v2 = "33554432\n20\n20000 100000\n7\n900\n";
    assert!(out == v1 || out == v2, "{out:?}");
    let (code, _, err) = ground.exec(&id, "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done").await;
    assert!(code != 0 && err.contains("fork"), "too many processes: {code} {err}");
    let stats = ground.runtime.stats(&id).await.expect("stats");
    assert!(stats.cpu_nanos > 0 && stats.memory_usage_bytes > 0, "{stats:?}");
    assert!(stats.memory_working_set_bytes <= stats.memory_usage_bytes);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Where the kernel refuses it, the container runs all the same.
pub async fn a_refused_oom_score_does_not_stop_a_container(ground: &Ground) {
    let mut spec = ground.shell("exit 4");
    spec.resources.oom_score_adj = -998;
    assert_eq!(ground.run(&spec).await.0, 4);
}

pub async fn a_pods_limit_holds_all_its_containers(ground: &Ground) {
    let spec = ground.sandbox_spec("limited");
    let limits = Resources { memory_limit_bytes: Some(24 << 20), ..Resources::default() };
    ensure_pod_cgroup(&spec.cgroup, &limits).expect("a pod's cgroup");
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    let id = ground.started(&sandbox, &ground.spec(&["tail", "/dev/zero"])).await;
    assert_eq!(exit_code(&ground.ended(&id).await), 137);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    remove_pod_cgroup(&spec.cgroup).expect("it goes");
    remove_pod_cgroup(&spec.cgroup).expect("again is fine");
}
