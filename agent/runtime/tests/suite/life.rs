//! Being born, running, ending.

use super::ground::{Ground, exit_code};
use coracle_runtime::{RuntimeError, State};

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
