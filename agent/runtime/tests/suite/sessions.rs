//! Exec and attach.

use super::ground::{Ground, exit_code, soon};
use bytes::Bytes;
use coracle_runtime::{ContainerSpec, ExecSpec, OutputStream, RuntimeError, Session, TerminalSize};
use std::time::Duration;

async fn read_until(session: &mut Session, text: &str) -> String {
    let wait = async {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (_, bytes) = session.output.recv().await.unwrap_or_else(|| panic!("ended without {text:?}: {seen:?}"));
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        seen
    };
    soon(wait).await
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub async fn an_exec_has_streams_and_an_exit_code(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let mut spec = ground.spec(&["sleep", "1000"]);
    spec.env = vec![("FROM".into(), "pod".into())];
    spec.working_dir = Some("/made/by/us".into());
    let id = ground.started(&sandbox, &spec).await;
    let (code, out, err) = ground.exec(&id, "echo $FROM; pwd; hostname; echo bad >&2; exit 42").await;
    assert_eq!((code, out.as_str(), err.as_str()), (42, "pod\n/made/by/us\npod-u1\n", "bad\n"));
    let (code, ..) = ground.exec(&id, "kill -9 $$").await;
    assert_eq!(code, 137);

    let spec = ExecSpec { command: command(&["cat"]), stdin: true, stdout: true, ..ExecSpec::default() };
    let mut session = ground.runtime.exec(&id, &spec).await.expect("an exec");
    let stdin = session.stdin.take().expect("an input");
    let big: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    let sent = big.clone();
    tokio::spawn(async move {
        for chunk in sent.chunks(100_000) {
            stdin.send(Bytes::copy_from_slice(chunk)).await.expect("it is read");
        }
    });
    let mut back = Vec::new();
    soon(async {
        while let Some((_, bytes)) = session.output.recv().await {
            back.extend_from_slice(&bytes);
        }
    })
    .await;
    assert!(back == big, "{} of {} bytes came back", back.len(), big.len());
    assert_eq!(soon(session.exit).await.expect("an exit").expect("a code"), 0);

    let missing = ExecSpec { command: command(&["no-such"]), stdout: true, ..ExecSpec::default() };
    let error = ground.runtime.exec(&id, &missing).await.expect_err("there is no such command");
    let want = "exec: \"no-such\": executable file not found in $PATH";
    assert!(matches!(&error, RuntimeError::Start(why) if why.ends_with(want)), "{error:?}");
    soon(ground.runtime.stop_container(&id, Duration::ZERO)).await.expect("it stops");
    assert!(matches!(ground.runtime.exec(&id, &missing).await, Err(RuntimeError::WrongState { .. })));
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn an_exec_can_have_a_terminal(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let spec = ExecSpec { command: command(&["sh"]), tty: true, stdin: true, stdout: true, ..ExecSpec::default() };
    let mut session = ground.runtime.exec(&id, &spec).await.expect("an exec");
    let stdin = session.stdin.take().expect("an input");
    session.resize.send(TerminalSize { columns: 123, rows: 45 }).await.expect("it is resized");
    // Sizes and input have separate ways, so it asks until the size is there.
    let ask = "until [ \"$(stty size)\" = '45 123' ]; do sleep 0.01; done; echo si''ze; tty=$TERM; echo $tty; exit 9\n";
    stdin.send(Bytes::from_static(ask.as_bytes())).await.expect("it is read");
    assert!(read_until(&mut session, "xterm\r\n").await.contains("size\r\n"));
    assert_eq!(soon(session.exit).await.expect("an exit").expect("a code"), 9);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn a_dropped_exec_is_killed(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let id = ground.started(&sandbox, &ground.spec(&["sleep", "1000"])).await;
    let spec =
        ExecSpec { command: command(&["sh", "-c", "echo go; sleep 4321; true"]), stdout: true, ..ExecSpec::default() };
    let mut session = ground.runtime.exec(&id, &spec).await.expect("an exec");
    read_until(&mut session, "go").await;
    assert_eq!(ground.exec(&id, "ps | grep -q '[4]321'").await.0, 0, "it runs");
    drop(session);
    soon(async { while ground.exec(&id, "ps | grep -q '[4]321'").await.0 == 0 {} }).await;
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn several_attach_and_stdin_once_ends_with_the_first(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let spec = ContainerSpec { stdin: true, stdin_once: true, ..ground.shell("echo hello; cat; echo done; exit 6") };
    let id = ground.started(&sandbox, &spec).await;
    ground.logged(&id, "hello").await;
    let listen = ExecSpec { stdout: true, ..ExecSpec::default() };
    let mut listener = ground.runtime.attach(&id, &listen).await.expect("attached");
    let speak = ExecSpec { stdin: true, stdout: true, ..ExecSpec::default() };
    let mut speaker = ground.runtime.attach(&id, &speak).await.expect("attached");
    let stdin = speaker.stdin.take().expect("an input");
    stdin.send(Bytes::from_static(b"echoed\n")).await.expect("it is read");
    read_until(&mut speaker, "echoed\n").await;
    read_until(&mut listener, "echoed\n").await;
    drop((stdin, speaker));
    read_until(&mut listener, "done\n").await;
    assert_eq!(soon(listener.exit).await.expect("an exit").expect("a code"), 6);
    assert_eq!(exit_code(&ground.ended(&id).await), 6);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn a_terminal_can_be_attached(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let spec = ContainerSpec { tty: true, stdin: true, ..ground.spec(&["sh"]) };
    let id = ground.started(&sandbox, &spec).await;
    let attach = ExecSpec { tty: true, stdin: true, stdout: true, ..ExecSpec::default() };
    let mut session = ground.runtime.attach(&id, &attach).await.expect("attached");
    session.resize.send(TerminalSize { columns: 99, rows: 11 }).await.expect("it is resized");
    let stdin = session.stdin.take().expect("an input");
    let ask = "until [ \"$(stty size)\" = '11 99' ]; do sleep 0.01; done; echo si''ze; exit 2\n";
    stdin.send(Bytes::from_static(ask.as_bytes())).await.expect("it is read");
    read_until(&mut session, "size\r\n").await;
    assert_eq!(exit_code(&ground.ended(&id).await), 2);
    assert!(ground.log(&id).await.contains("size\r\n"), "a terminal's output is logged too");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// Somebody attaches and never reads: the container goes on all the same.
pub async fn a_deaf_client_does_not_hold_a_container_up(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let script =
        "read go; i=0; while [ $i -lt 400 ]; do head -c 10000 /dev/zero | tr '\\0' 'z'; i=$((i+1)); done; exit 8";
    let spec = ContainerSpec { stdin: true, ..ground.shell(script) };
    let id = ground.started(&sandbox, &spec).await;
    let attach = ExecSpec { stdin: true, stdout: true, ..ExecSpec::default() };
    let mut session = ground.runtime.attach(&id, &attach).await.expect("attached");
    session.stdin.take().expect("an input").send(Bytes::from_static(b"go\n")).await.expect("it is read");
    assert_eq!(exit_code(&ground.ended(&id).await), 8);
    let (stream, first) = session.output.recv().await.expect("what it had room for");
    assert!(stream == OutputStream::Stdout && first.starts_with(b"z"));
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}
