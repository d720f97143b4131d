//! What an agent's end does to its containers: nothing.

use super::ground::{Ground, PATIENCE, SHIM, exit_code, leftovers, open};
use coracle_runtime::images::ImageStore;
use coracle_runtime::{ContainerId, Embedded, EmbeddedConfig, LogQuery, Runtime, RuntimeError, State};
use futures::StreamExt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn pid(state: &State) -> i32 {
    match state {
        State::Running { pid, .. } => *pid,
        other => panic!("not running: {other:?}"),
    }
}

/// A container's shim.
fn parent(process: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("its state");
    let after = stat.rsplit(") ").next().expect("what follows its name");
    after.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("its parent")
}

/// An agent in a process of its own that runs one container, or makes and unmakes them.
fn agent(ground: &Ground, dir: &Path, script: Option<&str>) -> (Child, ContainerId) {
    let mut child = Command::new(SHIM)
        .arg("agent")
        .args([dir, &ground.store])
        .args([&ground.image_id, &ground.cgroup])
        .args(script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("an agent");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    (child, ContainerId(line.trim().to_owned()))
}

fn killed(mut agent: Child) {
    agent.kill().expect("kill -9");
    agent.wait().expect("it is gone");
}

async fn all_of(runtime: &Arc<dyn Runtime>, id: &ContainerId, follow: bool) -> String {
    let query = LogQuery { follow, ..LogQuery::default() };
    let lines = runtime.logs(id, &query).await.expect("a log");
    let all: Vec<_> = tokio::time::timeout(PATIENCE, lines.collect::<Vec<_>>()).await.expect("it takes too long");
    all.into_iter().map(|line| String::from_utf8_lossy(&line.expect("a line").bytes).into_owned()).collect()
}

pub async fn containers_outlive_a_killed_agent(ground: &Ground) {
    let dir = ground.dir.join("killed");
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; sleep 0.5; while [ $i -lt 6000 ]; do \
                  i=$((i+1)); echo $i; done; exit 33";
    let (child, id) = agent(ground, &dir, Some(script));
    killed(child);
    let runtime = open(&dir, &ground.store, &ground.cgroup);
    let found = runtime.container(&id).await.expect("it is known");
    let first = pid(&found.state);
    assert!(Path::new(&format!("/proc/{first}")).exists(), "it still runs");
    assert_eq!((found.name.as_str(), found.attempt, found.pod.uid.as_str()), ("main", 0, "killed"));
    let sandboxes = runtime.sandboxes().await.expect("a list");
    assert!(sandboxes.len() == 1 && sandboxes[0].ready, "{sandboxes:?}");
    let log = all_of(&runtime, &id, true).await;
    let want: String = (1..=6000).map(|i| format!("{i}\n")).collect();
    assert!(log == want, "the log is whole: {} of {} bytes", log.len(), want.len());
    let adopted = ground.beside(runtime, &dir);
    assert_eq!(exit_code(&adopted.ended(&id).await), 33);
    adopted.runtime.remove_sandbox(&sandboxes[0].id).await.expect("the sandbox goes");
}

pub async fn an_end_that_no_agent_saw_is_known(ground: &Ground) {
    let dir = ground.dir.join("unseen");
    let mark = ground.dir.join("unseen/containers");
    let (child, id) = agent(ground, &dir, Some("sleep 0.3; echo last; exit 21"));
    killed(child);
    let exit = mark.join(&id.0).join("exit.json");
    let deadline = Instant::now() + PATIENCE;
    while !exit.exists() {
        assert!(Instant::now() < deadline, "it ends");
        tokio::task::yield_now().await;
    }
    let runtime = open(&dir, &ground.store, &ground.cgroup);
    assert_eq!(exit_code(&runtime.container(&id).await.expect("it is known")), 21);
    assert_eq!(all_of(&runtime, &id, false).await, "last\n");
    for sandbox in runtime.sandboxes().await.expect("a list") {
        runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
    }
}

/// At whatever moment an agent is killed, the next one knows of everything that runs, and can take it all away.
pub async fn an_agent_killed_at_any_moment_leaves_nothing_unknown(ground: &Ground) {
    let kills: u32 = std::env::var("CORACLE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let before = leftovers(ground);
    for _ in 0..kills {
        let (child, _) = agent(ground, &ground.dir, None);
        let moment = Duration::from_micros(rand::random::<u64>() % 600_000);
        // Chance, not waiting for anything.
        tokio::time::sleep(moment).await;
        killed(child);
        let runtime = open(&ground.dir, &ground.store, &ground.cgroup);
        for container in runtime.containers().await.expect("a list") {
            // One that has just ended may be told to run for a moment longer, but not for good.
            let known = async {
                while let State::Running { pid, .. } =
                    runtime.container(&container.id).await.expect("it is known").state
                    && !Path::new(&format!("/proc/{pid}")).exists()
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let known = tokio::time::timeout(Duration::from_secs(10), known).await;
            assert!(known.is_ok(), "after {moment:?}: {container:?}");
        }
        for sandbox in runtime.sandboxes().await.expect("a list") {
            assert!(sandbox.ready, "after {moment:?}: {sandbox:?}");
            runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
            let cgroup = format!("{}/pod{}", ground.cgroup, sandbox.pod.uid);
            coracle_runtime::remove_pod_cgroup(&cgroup).expect("its cgroup goes");
        }
        assert!(runtime.containers().await.expect("a list").is_empty(), "after {moment:?}");
        drop(runtime);
        let deadline = Instant::now() + PATIENCE;
        while leftovers(ground) != before {
            assert!(Instant::now() < deadline, "after {moment:?}: {:#?}", leftovers(ground));
            tokio::task::yield_now().await;
        }
    }
}

/// A container nobody follows any more does not run on.
pub async fn a_killed_shim_ends_its_container(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let container = pid(&ground.runtime.container(&id).await.expect("it runs").state);
    let shim = parent(container);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).expect("kill -9");
    let ended = ground.ended(&id).await;
    let State::Exited { exit_code, message, .. } = ended.state else { panic!("it has ended") };
    assert_eq!(exit_code, 137);
    assert!(message.contains("shim"), "{message}");
    let gone = || std::fs::read_to_string(format!("/proc/{container}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let deadline = Instant::now() + PATIENCE;
    while !gone() {
        assert!(Instant::now() < deadline, "its process is gone");
        tokio::task::yield_now().await;
    }
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Folders stand where the shim writes its records aside, so that it can't, as on a full disk.
pub async fn an_end_waits_for_a_disk_that_takes_nothing(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.runtime.create_container(&sandbox.id, &ground.shell("sleep 0.2; exit 7")).await.expect("made");
    let folder = ground.dir.join("containers").join(&id.0);
    for record in ["running.new", "exit.new"] {
        std::fs::create_dir(folder.join(record)).expect("in the way");
    }
    ground.runtime.start_container(&id).await.expect("it starts without a record of it");
    let container = pid(&ground.runtime.container(&id).await.expect("it runs").state);
    let deadline = Instant::now() + PATIENCE;
    // Only the end's record is what it complains of last.
    while !std::fs::read_to_string(folder.join("shim.log")).is_ok_and(|said| said.contains("recording the end")) {
        assert!(Instant::now() < deadline, "it complains");
        tokio::task::yield_now().await;
    }
    assert!(!Path::new(&format!("/proc/{container}")).exists(), "it has ended");
    assert!(!folder.join("exit.json").exists());
    std::fs::remove_dir(folder.join("exit.new")).expect("out of the way");
    assert_eq!(exit_code(&ground.ended(&id).await), 7);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Its complaints go to a file, on the disk that is full.
pub async fn a_shim_whose_complaint_finds_no_room_does_not_panic(_: &Ground) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let status = Command::new(SHIM).args(["shim", "nonsense"]).stderr(full).status().expect("it runs");
    assert_eq!(status.code(), Some(1), "a panic would be 101");
}

/// As above, for the agent's own record of a container whose shim is gone.
pub async fn a_lost_container_is_known_before_it_is_recorded(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let folder = ground.dir.join("containers").join(&id.0);
    std::fs::create_dir(folder.join("exit.new")).expect("in the way");
    let shim = parent(pid(&ground.runtime.container(&id).await.expect("it runs").state));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).expect("kill -9");
    assert_eq!(exit_code(&ground.ended(&id).await), 137);
    assert!(!folder.join("exit.json").exists());
    std::fs::remove_dir(folder.join("exit.new")).expect("out of the way");
    let deadline = Instant::now() + PATIENCE;
    while !folder.join("exit.json").exists() {
        assert!(Instant::now() < deadline, "it is recorded in the end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = open(&ground.dir, &ground.store, &ground.cgroup);
    assert_eq!(again.container(&id).await.ok(), ground.runtime.container(&id).await.ok());
    drop(again);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// A service manager that stops the agent's own cgroup reaches neither containers nor shims.
pub async fn nothing_lives_in_the_agents_cgroup(ground: &Ground) {
    let mut spec = ground.sandbox_spec("own");
    spec.share_pid = true;
    let sandbox = ground.runtime.run_sandbox(&spec).await.expect("a sandbox");
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let container = pid(&ground.runtime.container(&id).await.expect("it runs").state);
    for process in [container, parent(container)] {
        let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).expect("its groups");
        for tracked in groups.lines().filter(|line| line.contains("name=systemd:") || line.starts_with("0::")) {
            assert!(tracked.contains(&ground.cgroup), "{process}: {groups}");
        }
    }
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Shims are forked by a process that may be gone.
pub async fn a_killed_nursery_is_replaced(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let first = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let container = pid(&ground.runtime.container(&first).await.expect("it runs").state);
    let nursery = parent(parent(container));
    let name = std::fs::read_to_string(format!("/proc/{nursery}/comm")).expect("its name");
    assert_eq!(name.trim(), "coracle-nursery");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(nursery), nix::sys::signal::Signal::SIGKILL).expect("kill -9");
    let deadline = Instant::now() + PATIENCE;
    while parent(parent(container)) == nursery {
        assert!(Instant::now() < deadline, "it is gone");
        tokio::task::yield_now().await;
    }
    let second = ground.started(&sandbox, &ground.shell("exit 12")).await;
    assert_eq!(exit_code(&ground.ended(&second).await), 12);
    assert!(matches!(ground.runtime.container(&first).await.expect("it is there").state, State::Running { .. }));
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Made but not started, or ended: known all the same, and damaged files are not overlooked.
pub async fn records_outlive_the_agent(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let mut spec = ground.shell("exit 3");
    spec.labels.insert("hash".into(), "abc".into());
    spec.attempt = 4;
    let made = ground.runtime.create_container(&sandbox.id, &spec).await.expect("a container");
    let ended = ground.started(&sandbox, &spec).await;
    ground.ended(&ended).await;
    let again = open(&ground.dir, &ground.store, &ground.cgroup);
    let found = again.container(&made).await.expect("it is known");
    assert_eq!((&found.state, found.attempt, found.labels["hash"].as_str()), (&State::Created, 4, "abc"));
    assert_eq!(again.containers().await.ok(), ground.runtime.containers().await.ok());
    assert_eq!(again.sandboxes().await.ok(), ground.runtime.sandboxes().await.ok());
    again.start_container(&made).await.expect("it starts");
    again.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// As after a reboot: the namespaces are gone, the files are not.
pub async fn a_sandbox_without_namespaces_is_not_ready(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let made = ground.runtime.create_container(&sandbox.id, &ground.spec(&["true"])).await.expect("a container");
    let netns = sandbox.netns.expect("a network namespace");
    nix::mount::umount2(&netns, nix::mount::MntFlags::MNT_DETACH).expect("unmounted");
    let again = open(&ground.dir, &ground.store, &ground.cgroup);
    assert!(!again.sandboxes().await.expect("a list")[0].ready);
    assert!(matches!(again.container(&made).await.expect("it is known").state, State::Exited { .. }));
    let refused = again.create_container(&sandbox.id, &ground.spec(&["true"])).await;
    assert!(matches!(refused, Err(RuntimeError::WrongState { .. })), "{refused:?}");
    again.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Records that make no sense stop the runtime instead of being taken for nothing.
pub async fn damaged_records_are_refused(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let record = ground.dir.join("sandboxes").join(&sandbox.id.0).join("sandbox.json");
    let good = std::fs::read(&record).expect("a record");
    std::fs::write(&record, &good[..good.len() / 2]).expect("damage");
    let config = EmbeddedConfig {
        dir: ground.dir.clone(),
        shim_command: vec![SHIM.into(), "shim".into()],
        cgroup_root: ground.cgroup.clone(),
        images: Arc::new(ImageStore::open(&ground.store).expect("the images")),
    };
    let error = Embedded::open(config).err().expect("it is refused").to_string();
    assert!(error.contains("sandbox.json"), "{error}");
    std::fs::write(&record, good).expect("repair");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// The memory a shim has for itself.
pub async fn a_shim_is_small(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let container = pid(&ground.runtime.container(&id).await.expect("it runs").state);
    let shim = parent(container);
    let rollup = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).expect("its memory");
    let private: u64 = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Dirty"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    println!("a shim's private memory: {private} kB");
    assert!(private <= 3 * 1024, "{private} kB\n{rollup}");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}
