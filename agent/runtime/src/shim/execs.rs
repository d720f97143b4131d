//! What clients ask of the shim: to watch, to stop the container, to run more in it, to attach to it.

use super::clients::{Client, Role};
use super::ending::{Phase, Stop};
use super::job::Process as JobProcess;
use super::launch::Launch;
use super::server::{FIRST, SPEAKS, Server};
use crate::frame::{Frame, Request, What};
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io;
use std::time::{Duration, Instant};

impl Server {
    /// Reads what a client sent and answers it.
    pub(super) fn serve(&mut self, id: u32, events: PollFlags) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if events.contains(PollFlags::POLLIN) {
            client.read();
        } else if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            client.gone = true;
        }
        loop {
            let Some(client) = self.clients.get_mut(&id) else { return };
            match client.next() {
                Ok(Some(frame)) => self.answer(id, frame),
                Ok(None) => return,
                // It speaks another language.
                Err(_) => {
                    client.gone = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, id: u32, frame: Frame) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        match (client.role, frame) {
            (Role::New, Frame::Request(request)) => self.begin(id, request),
            (Role::Exec(process), frame) => self.speak(process, frame, true),
            (Role::Attach { stdin, .. }, frame) => self.speak(FIRST, frame, stdin),
            _ => client.gone = true,
        }
    }

    fn speak(&mut self, process: u32, frame: Frame, stdin: bool) {
        let once = process != FIRST || self.job.stdin_once;
        let Some(process) = self.processes.get_mut(&process) else { return };
        match frame {
            Frame::Stdin(bytes) if stdin => {
                process.push_input(&bytes);
                process.feed();
            }
            Frame::StdinEnd if stdin && once => {
                process.end_stdin = true;
                process.feed();
            }
            Frame::Resize(size) => {
                // Only the look suffers.
                let _ = process.resize(size);
            }
            _ => {}
        }
    }

    fn begin(&mut self, id: u32, request: Request) {
        if request.version != SPEAKS {
            let why = format!("the shim speaks version {SPEAKS}, not {}", request.version);
            return self.refuse(id, why);
        }
        if !matches!(self.phase, Phase::Following | Phase::Clearing { .. } | Phase::Recording { .. }) {
            return self.refuse(id, "the container has ended".to_owned());
        }
        match request.what {
            What::Watch => {
                let started = self.started.clone();
                if let Some(client) = self.clients.get_mut(&id) {
                    client.role = Role::Watch;
                    if let Some(started) = started {
                        client.send(&Frame::Started(started));
                    }
                }
            }
            What::Stop { signal, grace_ms } => {
                let at = Instant::now() + Duration::from_millis(grace_ms);
                self.stop = Some(Stop { signal, at: self.stop.map_or(at, |other| other.at.min(at)), sent: false });
                if let Some(client) = self.clients.get_mut(&id) {
                    client.role = Role::Served;
                    client.finish(&Frame::Done);
                }
            }
            What::Exec { command, tty, stdin, stdout: _, stderr: _ } => self.exec(id, command, tty, stdin),
            What::Attach { stdin, stdout, stderr } => {
                let started = self.started.clone().filter(|_| matches!(self.phase, Phase::Following));
                match (started, self.clients.get_mut(&id)) {
                    (Some(started), Some(client)) => {
                        client.role = Role::Attach { stdin: stdin && self.job.stdin, stdout, stderr };
                        client.send(&Frame::Started(started));
                    }
                    _ => self.refuse(id, "the container is not running".to_owned()),
                }
            }
        }
    }

    fn refuse(&mut self, id: u32, why: String) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.role = Role::Served;
            client.finish(&Frame::Failed(why));
        }
    }

    fn exec(&mut self, client: u32, command: Vec<String>, tty: bool, stdin: bool) {
        let running = self.processes.get(&FIRST).is_some_and(|first| first.alive().is_some());
        if self.started.is_none() || !running {
            return self.refuse(client, "the container is not running".to_owned());
        }
        let mut process = JobProcess { args: command, tty, ..self.job.process.clone() };
        if tty && !process.env.iter().any(|one| one.starts_with("TERM=")) {
            process.env.push("TERM=xterm".to_owned());
        }
        let id = self.number();
        match self.launch(id, &Launch::Exec(id, &process), tty, stdin, Some(client)) {
            Ok(()) => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.role = Role::Exec(id);
                }
            }
            Err(error) => self.refuse(client, format!("starting the process: {error}")),
        }
    }

    pub(super) fn tell_exec(&mut self, id: u32, frame: &Frame) {
        let client = self.processes.get(&id).and_then(|process| process.client);
        if let Some(client) = client.and_then(|client| self.clients.get_mut(&client)) {
            client.send(frame);
        }
    }

    pub(super) fn exec_failed(&mut self, id: u32, why: &str) -> io::Result<()> {
        if let Some(process) = self.processes.remove(&id)
            && let Some(client) = process.client.and_then(|client| self.clients.get_mut(&client))
        {
            client.finish(&Frame::Failed(why.to_owned()));
        }
        Ok(())
    }

    /// Execs that ended and said everything.
    pub(super) fn finish_execs(&mut self, now: Instant) {
        let done: Vec<(u32, i32)> = self
            .processes
            .iter()
            .filter(|(id, _)| **id != FIRST)
            .filter_map(|(id, process)| {
                let (ended, at) = (process.ended?, process.ended_at?);
                let heard = process.is_silent() || now >= at + crate::limits::DRAIN;
                heard.then_some((*id, ended.code))
            })
            .collect();
        for (id, code) in done {
            self.tell_exec(id, &Frame::Exit(code));
            if let Some(process) = self.processes.remove(&id)
                && let Some(client) = process.client.and_then(|client| self.clients.get_mut(&client))
            {
                client.closing = true;
            }
        }
        for client in self.clients.values_mut() {
            client.flush();
        }
    }

    /// Drops clients that left. An exec's process does not outlive its client.
    pub(super) fn farewell(&mut self) {
        let gone: Vec<u32> = self.clients.iter().filter(|(_, client)| client.gone).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(Client { role, .. }) = self.clients.remove(&id) else { continue };
            match role {
                Role::Exec(process) => self.abandon(process),
                Role::Attach { stdin: true, .. } if self.job.stdin_once => {
                    if let Some(first) = self.processes.get_mut(&FIRST) {
                        first.end_stdin = true;
                        first.feed();
                    }
                }
                _ => {}
            }
        }
    }

    fn abandon(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.client = None;
        process.end_stdin = true;
        process.feed();
        if let Some(pid) = process.alive() {
            // It leads its own group; gone already is what we want.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Execs whose client left before they had a process.
    pub(super) fn kill_abandoned(&mut self) {
        let orphans: Vec<u32> = self
            .processes
            .iter()
            .filter(|(id, process)| **id != FIRST && process.client.is_none() && process.alive().is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in orphans {
            self.abandon(id);
        }
    }
}
