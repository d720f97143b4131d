//! Starting the worker, reading what it says, and killing it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

pub const DIR: &str = "CORACLE_STORE_WORKER_DIR";
pub const PLANTED: &str = "CORACLE_STORE_WORKER_ACKNOWLEDGES_TOO_EARLY";

/// Long enough for any machine to open a store.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write that the worker says is durable.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    pub task: usize,
    pub number: u64,
    pub revision: u64,
}

pub struct Worker {
    child: Child,
    reader: Option<JoinHandle<Said>>,
    opened: mpsc::Receiver<()>,
}

/// Everything the worker said until it was gone.
#[derive(Default)]
pub struct Said {
    pub acks: Vec<Ack>,
    pub refused: Option<String>,
}

impl Worker {
    pub fn start(dir: &Path, planted: bool) -> Worker {
        let binary = std::env::current_exe().expect("this test is a program");
        let mut command = Command::new(binary);
        command.args(["worker::run", "--exact", "--ignored", "--nocapture"]).env(DIR, dir).stdin(Stdio::null());
        if planted {
            command.env(PLANTED, "1");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be started");
        let out = child.stdout.take().expect("it is piped");
        let (open, opened) = mpsc::channel();
        let reader = std::thread::spawn(move || listen(BufReader::new(out), &open));
        Worker { child, reader: Some(reader), opened }
    }

    /// Whether it opened its store; if not it has said why.
    pub fn wait_open(&self) -> bool {
        match self.opened.recv_timeout(PATIENCE) {
            Ok(()) => true,
            Err(mpsc::RecvTimeoutError::Disconnected) => false,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the worker did not open its store in time"),
        }
    }

    pub fn kill(mut self) -> Said {
        self.end();
        let reader = self.reader.take().expect("it is taken only here");
        reader.join().expect("the reader does not panic")
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(out: impl BufRead, open: &mpsc::Sender<()>) -> Said {
    let mut said = Said::default();
    for line in out.lines() {
        let Ok(line) = line else { break };
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["open"] => {
                // The test may not be waiting for it.
                let _ = open.send(());
            }
            ["ack", task, number, revision] => {
                let parse = |word: &str| word.parse::<u64>();
                // The last line may be cut off; then nobody was told.
                if let (Ok(task), Ok(number), Ok(revision)) = (parse(task), parse(number), parse(revision)) {
                    said.acks.push(Ack { task: task as usize, number, revision });
                }
            }
            ["refused", ..] => said.refused = Some(line.clone()),
            _ => {}
        }
    }
    said
}
