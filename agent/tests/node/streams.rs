//! Logs, exec and port-forward as the control plane orders them.

use crate::control::StreamEnds;
use crate::ground::{ground, is_ready};
use coracle_proto::nodelink::stream_request::Kind;
use coracle_proto::nodelink::{
    Channel, Data, ExecRequest, Frame, LogRequest, PortForwardRequest, StreamRequest, frame,
};
use serde_json::{Value, json};

struct Read {
    out: String,
    err: String,
    end: Result<i32, Value>,
}

async fn read(ends: &mut StreamEnds) -> Read {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = async {
        loop {
            match ends.from_agent.recv().await.and_then(|f| f.kind) {
                Some(frame::Kind::Data(data)) if data.channel() == Channel::Stderr => err.extend(data.bytes),
                Some(frame::Kind::Data(data)) => out.extend(data.bytes),
                Some(frame::Kind::Exit(exit)) => return Ok(exit.code),
                Some(frame::Kind::Error(status)) => return Err(serde_json::from_slice(&status).expect("a Status")),
                other => panic!("unexpected: {other:?}"),
            }
        }
    };
    let end = tokio::time::timeout(crate::ground::PATIENCE, all).await.expect("in time");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Read { out: text(out), err: text(err), end }
}

fn named(kind: Kind) -> StreamRequest {
    StreamRequest { kind: Some(kind) }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_exec_and_port_forward() {
    let Some(ground) = ground().await else { return };
    // The server listens on the pod's loopback only.
    let script = "echo one; echo two >&2; mkdir /w; echo hello > /w/f; httpd -f -p 127.0.0.1:8080 -h /w & \
        trap 'exit 0' TERM; wait";
    ground.run("web", json!({"containers": [{"name": "main", "sh": script}]}));
    let pod = ground.pod("web", is_ready).await;
    let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let log = |previous: bool, tail: Option<i64>| LogRequest {
        namespace: "default".into(),
        pod: "web".into(),
        uid: uid.clone(),
        container: "main".into(),
        previous,
        tail_lines: tail,
        ..LogRequest::default()
    };
    let all = loop {
        let all = read(&mut ground.control.open(named(Kind::Log(log(false, None)))).await).await;
        if all.out.lines().count() >= 2 {
            break all;
        }
    };
    assert_eq!((all.out.as_str(), all.end), ("one\ntwo\n", Ok(0)));
    let tail = read(&mut ground.control.open(named(Kind::Log(log(false, Some(1))))).await).await;
    assert_eq!(tail.out, "two\n");
    let none = read(&mut ground.control.open(named(Kind::Log(log(true, None)))).await).await;
    let message = "previous terminated container \"main\" in pod \"web\" not found";
    assert_eq!(none.end.expect_err("there is none")["message"], message);

    let exec = |container: &str, script: &str, stdin: bool| ExecRequest {
        namespace: "default".into(),
        pod: "web".into(),
        uid: uid.clone(),
        container: container.into(),
        command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec(),
        stdin,
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    let mut ends = ground.control.open(named(Kind::Exec(exec("main", "cat; echo bad >&2; exit 5", true)))).await;
    let data = Data { channel: Channel::Stdin.into(), bytes: b"in".to_vec() };
    for kind in [frame::Kind::Data(data), frame::Kind::Close(Channel::Stdin.into())] {
        ends.to_agent.send(Frame { kind: Some(kind) }).await.expect("it listens");
    }
    let answer = read(&mut ends).await;
    assert_eq!((answer.out.as_str(), answer.err.as_str(), answer.end), ("in", "bad\n", Ok(5)));
    let none = read(&mut ground.control.open(named(Kind::Exec(exec("other", "true", false)))).await).await;
    assert_eq!(none.end.expect_err("there is none")["message"], "container not found (\"other\")");

    let port =
        |port: u32| PortForwardRequest { namespace: "default".into(), pod: "web".into(), uid: uid.clone(), port };
    let asked = async {
        loop {
            let mut ends = ground.control.open(named(Kind::PortForward(port(8080)))).await;
            let data = Data { channel: Channel::Stdin.into(), bytes: b"GET /f HTTP/1.0\r\n\r\n".to_vec() };
            ends.to_agent.send(Frame { kind: Some(frame::Kind::Data(data)) }).await.expect("it listens");
            let said = read(&mut ends).await;
            // It may not listen yet.
            if said.end.is_ok() {
                return said.out;
            }
        }
    };
    let said = tokio::time::timeout(crate::ground::PATIENCE, asked).await.expect("in time");
    assert!(said.ends_with("hello\n"), "{said}");
    let closed = read(&mut ground.control.open(named(Kind::PortForward(port(9)))).await).await;
    assert!(
        closed.end.expect_err("nobody listens")["message"].as_str().is_some_and(|m| m.contains("connection refused"))
    );
    ground.finish().await;
}
