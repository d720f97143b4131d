//! What containers write is kept and can be read.

use super::ground::{Ground, soon};
use coracle_runtime::{ContainerId, LogLine, LogQuery, OutputStream};
use futures::StreamExt;

async fn lines(ground: &Ground, id: &ContainerId, query: LogQuery) -> Vec<LogLine> {
    let lines = ground.runtime.logs(id, &query).await.expect("a log").map(|line| line.expect("a line"));
    soon(lines.collect()).await
}

fn text(lines: &[LogLine]) -> String {
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

pub async fn lines_come_back_as_they_were_written(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let script = "echo one; sleep 0.05; echo two >&2; sleep 0.05; printf 'no newline'";
    let id = ground.started(&sandbox, &ground.shell(script)).await;
    ground.ended(&id).await;
    let all = lines(ground, &id, LogQuery::default()).await;
    let streams: Vec<_> = all.iter().map(|line| line.stream).collect();
    assert_eq!(streams, [OutputStream::Stdout, OutputStream::Stderr, OutputStream::Stdout]);
    assert_eq!(text(&all), "one\ntwo\nno newline");
    let tail = lines(ground, &id, LogQuery { tail_lines: Some(2), ..LogQuery::default() }).await;
    assert_eq!(text(&tail), "two\nno newline");
    assert!(lines(ground, &id, LogQuery { tail_lines: Some(0), ..LogQuery::default() }).await.is_empty());
    let since = lines(ground, &id, LogQuery { since: Some(all[1].at), ..LogQuery::default() }).await;
    assert_eq!(text(&since), "two\nno newline");
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

pub async fn a_follower_hears_everything_until_the_end(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let script = "for i in $(seq 1 500); do echo line $i; done; sleep 0.1; echo last";
    let id = ground.runtime.create_container(&sandbox.id, &ground.shell(script)).await.expect("a container");
    // From before it starts.
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let following = ground.runtime.logs(&id, &query).await.expect("a log");
    ground.runtime.start_container(&id).await.expect("it starts");
    let heard: Vec<LogLine> = soon(following.map(|line| line.expect("a line")).collect()).await;
    let want: String = (1..=500).map(|i| format!("line {i}\n")).chain(["last\n".to_owned()]).collect();
    assert_eq!(text(&heard), want);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}

/// 24 MB go through three files; a follower loses nothing and doubles nothing.
pub async fn a_follower_keeps_its_place_over_rotation(ground: &Ground) {
    let sandbox = ground.sandbox().await;
    let script = "x=$(head -c 200 /dev/zero | tr '\\0' x); seq -f \"%.0f $x\" 1 100000 2>/dev/null || \
                  for i in $(seq 1 100000); do echo $i $x; done";
    let id = ground.runtime.create_container(&sandbox.id, &ground.shell(script)).await.expect("a container");
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut following = ground.runtime.logs(&id, &query).await.expect("a log");
    ground.runtime.start_container(&id).await.expect("it starts");
    let count = soon(async {
        let mut next = 1u32;
        while let Some(line) = following.next().await {
            let line = line.expect("a line").bytes;
            let line = String::from_utf8_lossy(&line);
            let number: u32 = line.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
            assert_eq!(number, next);
            next += 1;
        }
        next - 1
    })
    .await;
    assert_eq!(count, 100_000);
    ground.runtime.remove_sandbox(&sandbox.id).await.expect("the sandbox goes");
}
