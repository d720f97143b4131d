//! `coracle load`: sends HTTP requests without a pause and counts what comes back. For lessons and tests; it is in the
//! demo image too, so that it can run in a pod.

use clap::Parser;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longer than any answer of a healthy server takes.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 1 << 20;
/// Between requests of one client, so that it does not run out of local ports.
const PAUSE: Duration = Duration::from_millis(2);

/// Send requests, each on a new connection, and count the answers.
#[derive(Parser)]
#[command(name = "coracle load")]
struct Load {
    /// HOST:PORT
    target: String,
    #[arg(long, default_value = "/")]
    path: String,
    #[arg(long, default_value_t = 2)]
    clients: u16,
    /// Stop after so many seconds; without it, when standard input ends.
    #[arg(long)]
    seconds: Option<u64>,
}

/// What one client counted.
#[derive(Default, serde::Serialize)]
struct Tally {
    answered: u64,
    failed: u64,
    /// By the first line of the answer's body.
    bodies: BTreeMap<String, u64>,
    /// The first few failures, as people read them.
    errors: Vec<String>,
}

pub fn main(args: Vec<std::ffi::OsString>) -> ExitCode {
    let load = Load::parse_from(std::iter::once("coracle load".into()).chain(args));
    let stop = AtomicBool::new(false);
    let tally = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..load.clients).map(|_| scope.spawn(|| client(&load, &stop))).collect();
        match load.seconds {
            Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
            // Whatever it holds, only its end counts.
            None => drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink())),
        }
        stop.store(true, Ordering::Relaxed);
        let tallies = clients.into_iter().map(|c| c.join().expect("a client does not panic"));
        tallies.fold(Tally::default(), Tally::and)
    });
    println!("{}", serde_json::to_string(&tally).expect("plain data serialises"));
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn client(load: &Load, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        match request(&load.target, &load.path) {
            Ok(body) => {
                tally.answered += 1;
                *tally.bodies.entry(body).or_default() += 1;
            }
            Err(why) => {
                tally.failed += 1;
                if tally.errors.len() < 5 {
                    tally.errors.push(format!("{why} after {:?}", start.elapsed()));
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
    tally
}

fn request(target: &str, path: &str) -> Result<String, String> {
    let text = |doing: &'static str| move |e: std::io::Error| format!("{doing}: {e}");
    let address = target.to_socket_addrs().map_err(text("resolving"))?.next().ok_or("resolving: no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text("connecting"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text("connecting"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n").map_err(text("sending"))?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).map_err(text("receiving"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("receiving: the answer is cut short")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {status:?}"));
    }
    Ok(body.lines().next().unwrap_or_default().to_owned())
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.failed += other.failed;
        self.errors.extend(other.errors);
        for (body, count) in other.bodies {
            *self.bodies.entry(body).or_default() += count;
        }
        self
    }
}
