//! How the forked child that launches a process tells the shim about it: lines of JSON through a pipe that `execve`
//! closes. Its end without a failure means that the program runs.

use crate::limits::LAUNCH_REPORT_BYTES;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    Pid(i32),
    Warning(String),
    /// Why the program can't run, for people.
    Failed(String),
    /// What libcontainer complained about; explains a failure that says too little.
    Detail(String),
}

pub fn send(pipe: BorrowedFd<'_>, report: &Report) {
    let mut line = serde_json::to_vec(report).expect("plain data becomes JSON");
    line.push(b'\n');
    // A shim that is gone needs no report; there is nobody else to tell.
    let _ = write_all(pipe, &line);
}

fn write_all(pipe: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = nix::unistd::write(pipe, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// The shim's end.
pub struct Reports {
    pipe: File,
    buffer: Vec<u8>,
}

/// What a launch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub pid: Option<i32>,
    pub warnings: Vec<String>,
    /// `None` where the program runs.
    pub failure: Option<String>,
}

impl Reports {
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe: pipe.into(), buffer: Vec::new() }
    }

    /// Reads what is there; true at the end.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        match self.pipe.read(&mut chunk) {
            Ok(0) => Ok(true),
            Ok(count) => {
                let room = LAUNCH_REPORT_BYTES.saturating_sub(self.buffer.len());
                self.buffer.extend_from_slice(&chunk[..count.min(room)]);
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn outcome(&self) -> Outcome {
        parse(&self.buffer)
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn parse(lines: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut detail = None;
    for line in lines.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Report::Pid(pid)) => outcome.pid = Some(pid),
            Ok(Report::Warning(text)) => outcome.warnings.push(text),
            // The first is nearest to the cause.
            Ok(Report::Failed(text)) => outcome.failure = outcome.failure.or(Some(text)),
            Ok(Report::Detail(text)) => detail = detail.or(Some(text)),
            Err(_) => {}
        }
    }
    if outcome.pid.is_none() && outcome.failure.is_none() {
        outcome.failure = Some("the container's first process ended before it could run the program".to_owned());
    }
    if let (Some(failure), Some(detail)) = (&mut outcome.failure, detail)
        && !failure.starts_with("exec: ")
    {
        failure.push_str(": ");
        failure.push_str(&detail);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reports: &[Report]) -> Outcome {
        let lines: Vec<u8> =
            reports.iter().flat_map(|one| [serde_json::to_vec(one).unwrap(), b"\n".to_vec()].concat()).collect();
        parse(&lines)
    }

    #[test]
    fn the_first_failure_counts_and_details_explain_it() {
        let fine = told(&[Report::Pid(3), Report::Warning("w".into()), Report::Detail("noise".into())]);
        assert_eq!(fine, Outcome { pid: Some(3), warnings: vec!["w".into()], failure: None });
        let why = |reports: &[Report]| told(reports).failure.unwrap();
        assert_eq!(why(&[Report::Detail("ENOENT".into()), Report::Failed("mount".into())]), "mount: ENOENT");
        let exec = "exec: \"x\": permission denied";
        assert_eq!(
            why(&[Report::Failed(exec.into()), Report::Failed("later".into()), Report::Detail("d".into())]),
            exec
        );
        assert!(why(&[]).contains("ended before"));
    }
}
