//! Logs, exec, attach and port-forward with every kubectl on this machine, against a node that runs commands here.

mod support;

use async_trait::async_trait;
use coracle_apiserver::node_streams::{NodeStream, NodeStreams};
use coracle_client::Patch;
use coracle_proto::nodelink::stream_request::Kind;
use coracle_proto::nodelink::{Channel, Data, ExecRequest, Exit, Frame, LogRequest, StreamRequest, frame};
use coracle_proto::resource::PODS;
use coracle_proto::{ApiError, ObjectKey};
use serde_json::json;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use support::{Cluster, admin, bound_pod, kubectls, prepared};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

const DEADLINE: Duration = Duration::from_secs(20);

/// Runs commands as processes of this machine, echoes forwarded connections, and has one log.
struct Here;

#[async_trait]
impl NodeStreams for Here {
    async fn open(&self, node: &str, request: StreamRequest) -> Result<NodeStream, ApiError> {
        if node != "here" {
            return Err(ApiError::unavailable(format!("node {node:?} is not connected")));
        }
        let (tx, from_client) = mpsc::channel(8);
        let (to_client, rx) = mpsc::channel(8);
        tokio::spawn(async move {
            match request.kind {
                Some(Kind::Log(log)) => write_log(log, to_client).await,
                Some(Kind::Exec(exec)) => run(exec, from_client, to_client).await,
                _ => echo(from_client, to_client).await,
            }
        });
        Ok(NodeStream { tx, rx })
    }
}

fn data(channel: Channel, bytes: &[u8]) -> Frame {
    Frame { kind: Some(frame::Kind::Data(Data { channel: channel.into(), bytes: bytes.to_vec() })) }
}

fn exit(code: i32) -> Frame {
    Frame { kind: Some(frame::Kind::Exit(Exit { code })) }
}

async fn write_log(log: LogRequest, out: mpsc::Sender<Frame>) {
    if log.previous {
        let status = ApiError::bad_request("previous terminated container \"c\" in pod \"p\" not found").to_status();
        let _ = out.send(Frame { kind: Some(frame::Kind::Error(status.to_string().into_bytes())) }).await;
        return;
    }
    let lines = ["one\n", "two\n", "three\n"];
    let skipped = log.tail_lines.map_or(0, |n| lines.len().saturating_sub(n as usize));
    for line in &lines[skipped..] {
        let _ = out.send(data(Channel::Stdout, line.as_bytes())).await;
    }
    let _ = out.send(exit(0)).await;
}

async fn echo(mut from: mpsc::Receiver<Frame>, to: mpsc::Sender<Frame>) {
    while let Some(Frame { kind: Some(frame::Kind::Data(piece)) }) = from.recv().await {
        if to.send(data(Channel::Stdout, &piece.bytes)).await.is_err() {
            return;
        }
    }
}

async fn run(exec: ExecRequest, mut from: mpsc::Receiver<Frame>, to: mpsc::Sender<Frame>) {
    let command = if exec.attach { vec!["cat".to_owned()] } else { exec.command };
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test's command exists");
    let mut stdin = child.stdin.take();
    if !exec.stdin {
        stdin = None;
    }
    let input = tokio::spawn(async move {
        while let Some(frame) = from.recv().await {
            match frame.kind {
                Some(frame::Kind::Data(piece)) => {
                    if let Some(pipe) = &mut stdin {
                        let _ = pipe.write_all(&piece.bytes).await;
                    }
                }
                Some(frame::Kind::Close(_)) => stdin = None,
                _ => {}
            }
        }
    });
    let out = pump(child.stdout.take().expect("piped"), Channel::Stdout, to.clone());
    let err = pump(child.stderr.take().expect("piped"), Channel::Stderr, to.clone());
    let (_, _, status) = tokio::join!(out, err, child.wait());
    input.abort();
    let _ = to.send(exit(status.expect("waited for").code().unwrap_or(-1))).await;
}

async fn pump(mut pipe: impl tokio::io::AsyncRead + Unpin, channel: Channel, to: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        if to.send(data(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

struct Fixture {
    // Held so that the server and its files live as long as the test.
    _cluster: Cluster,
    dir: tempfile::TempDir,
    config: std::path::PathBuf,
}

async fn fixture() -> Fixture {
    let registry = prepared(Arc::new(Here)).await;
    bound_pod(&registry, "p", "here").await;
    bound_pod(&registry, "away", "elsewhere").await;
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    admin(&registry).patch(&PODS, &ObjectKey::new("default", "p"), "status", running).await.expect("running");
    let cluster = Cluster::over(registry).await;
    let dir = tempfile::tempdir().expect("a directory");
    let config = cluster.kubeconfig(dir.path());
    Fixture { _cluster: cluster, dir, config }
}

impl Fixture {
    fn command(&self, kubectl: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(&self.config).args(args).env("HOME", self.dir.path()).kill_on_drop(true);
        command
    }

    async fn run(&self, kubectl: &Path, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(kubectl, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let feed = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = timeout(DEADLINE, child.wait_with_output()).await;
        feed.abort();
        output.unwrap_or_else(|_| panic!("{kubectl:?} {args:?} hangs")).expect("kubectl ends")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs() {
    let fixture = fixture().await;
    for kubectl in kubectls() {
        let all = fixture.run(&kubectl, &["logs", "p"], b"").await;
        assert_eq!(text(&all.stdout), "one\ntwo\nthree\n", "{kubectl:?} {}", text(&all.stderr));
        let tail = fixture.run(&kubectl, &["logs", "-f", "--tail=1", "p", "-c", "c"], b"").await;
        assert_eq!(text(&tail.stdout), "three\n", "{kubectl:?}");
        let previous = fixture.run(&kubectl, &["logs", "-p", "p"], b"").await;
        assert!(text(&previous.stderr).contains("previous terminated container"), "{}", text(&previous.stderr));
        let wrong = fixture.run(&kubectl, &["logs", "p", "-c", "x"], b"").await;
        assert!(text(&wrong.stderr).contains("container x is not valid for pod p"), "{}", text(&wrong.stderr));
        let away = fixture.run(&kubectl, &["logs", "away"], b"").await;
        assert!(!away.status.success() && text(&away.stderr).contains("is not connected"), "{}", text(&away.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_and_attach() {
    let fixture = fixture().await;
    for kubectl in kubectls() {
        let out = fixture.run(&kubectl, &["exec", "p", "--", "echo", "hello world"], b"").await;
        assert_eq!(text(&out.stdout), "hello world\n", "{kubectl:?} {}", text(&out.stderr));
        let failed = fixture.run(&kubectl, &["exec", "p", "--", "sh", "-c", "echo no >&2; exit 7"], b"").await;
        assert_eq!(failed.status.code(), Some(7), "{kubectl:?}");
        assert!(text(&failed.stderr).starts_with("no\n"), "{}", text(&failed.stderr));
        let large: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let copied = fixture.run(&kubectl, &["exec", "-i", "p", "--", "cat"], &large).await;
        assert!(copied.stdout == large, "{kubectl:?}: {} bytes of {}", copied.stdout.len(), large.len());
        let attached = fixture.run(&kubectl, &["attach", "-i", "p"], b"to the process").await;
        assert_eq!(text(&attached.stdout), "to the process", "{kubectl:?} {}", text(&attached.stderr));
        let away = fixture.run(&kubectl, &["exec", "away", "--", "true"], b"").await;
        assert!(!away.status.success() && text(&away.stderr).contains("is not connected"), "{}", text(&away.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_files() {
    let fixture = fixture().await;
    let there = tempfile::tempdir().expect("a directory");
    let source = fixture.dir.path().join("source");
    std::fs::write(&source, "contents").expect("written");
    for kubectl in kubectls() {
        let target = format!("p:{}/copy", there.path().display());
        let pushed = fixture.run(&kubectl, &["cp", &source.display().to_string(), &target], b"").await;
        assert!(pushed.status.success(), "{kubectl:?} {}", text(&pushed.stderr));
        let copy = there.path().join("copy");
        assert_eq!(std::fs::read_to_string(&copy).expect("copied"), "contents");
        let back = fixture.dir.path().join("back");
        let pulled = fixture.run(&kubectl, &["cp", &target, &back.display().to_string()], b"").await;
        assert!(pulled.status.success(), "{kubectl:?} {}", text(&pulled.stderr));
        assert_eq!(std::fs::read_to_string(&back).expect("copied"), "contents");
        std::fs::remove_file(&copy).expect("removed");
        std::fs::remove_file(&back).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_forward() {
    let fixture = fixture().await;
    for kubectl in kubectls() {
        let mut command = fixture.command(&kubectl, &["port-forward", "pod/p", ":80"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.expect("in time").expect("a line").unwrap_or_default();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let port: u16 = port.and_then(|p| p.parse().ok()).unwrap_or_else(|| panic!("{kubectl:?}: {line}"));
        for round in 0..3 {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("kubectl listens");
            let sent = vec![round; 100_000];
            let (mut read, mut write) = stream.split();
            let mut received = vec![0; sent.len()];
            let both = async { tokio::join!(write.write_all(&sent), read.read_exact(&mut received)) };
            let (written, back) = timeout(DEADLINE, both).await.expect("in time");
            written.expect("written");
            back.expect("read");
            assert!(received == sent, "{kubectl:?}");
        }
        child.kill().await.expect("killed");
    }
}
