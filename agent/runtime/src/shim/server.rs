//! The shim's one loop: wait for something to happen to the container, its execs or the clients, and answer it. Nothing
//! in it blocks but the wait.

use super::clients::{Client, Role};
use super::ending::Phase;
use super::job::{self, Exit, Job, Running};
use super::launch::{self, Launch, Streams};
use super::log_files::Log;
use super::process::{Console, Ended, Process};
use super::{complain, terminal};
use crate::cgroup::Cgroups;
use crate::durable::{self, Survives};
use crate::frame::{Frame, Started};
use crate::limits::{CHUNK_BYTES, EARLY_EXITS, SHIM_CLIENTS};
use crate::{OutputStream, frame};
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

/// The container's first process.
pub const FIRST: u32 = 0;

pub struct Server {
    pub(super) folder: PathBuf,
    pub(super) job: Job,
    pub(super) log: Log,
    log_fails: bool,
    pub(super) cgroups: Cgroups,
    signals: SignalFd,
    listener: UnixListener,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) clients: BTreeMap<u32, Client>,
    /// Reaped before their launch told whose they are.
    early: Vec<(i32, Ended)>,
    pub(super) started: Option<Started>,
    pub(super) stop: Option<super::ending::Stop>,
    pub(super) phase: Phase,
    /// How the container ended, as long as the disk does not take it.
    pub(super) unrecorded: Option<Exit>,
    next: u32,
    pub(super) begun: Instant,
}

/// What became ready.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Reports(u32),
    Console(u32),
    Output(u32, OutputStream),
    Input(u32),
    Client(u32),
}

impl Server {
    pub fn new(
        folder: PathBuf,
        job: Job,
        log: Log,
        cgroups: Cgroups,
        signals: SignalFd,
        listener: UnixListener,
    ) -> Self {
        Self {
            folder,
            job,
            log,
            log_fails: false,
            cgroups,
            signals,
            listener,
            processes: BTreeMap::new(),
            clients: BTreeMap::new(),
            early: Vec::new(),
            started: None,
            stop: None,
            phase: Phase::Following,
            unrecorded: None,
            next: FIRST + 1,
            begun: Instant::now(),
        }
    }

    /// The agent that started the shim needs not ask.
    pub fn watched_by(&mut self, agent: UnixStream) {
        let id = self.number();
        self.clients.insert(id, Client::new(agent, Role::Watch));
    }

    /// Until the container has ended and everyone heard of it.
    pub fn run(&mut self) -> io::Result<()> {
        let process = self.job.process.clone();
        if let Err(error) = self.launch(FIRST, &Launch::First, process.tty, self.job.stdin, None) {
            self.never_started(format!("starting the container's process: {error}"))?;
        }
        // It is there already, but the kernel lets whoever writes there wait for all processors once (some 10 ms), and
        // those who come soon after do not: so it waits beside the launcher's work, and the container does not.
        if let Err(error) = self.cgroups.join(&self.job.shim_cgroup, Pid::this()) {
            complain(error);
        }
        while !matches!(self.phase, Phase::Over) {
            self.turn()?;
            self.proceed()?;
        }
        Ok(())
    }

    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Forks a launcher for process `id` and keeps our ends of its streams.
    pub(super) fn launch(
        &mut self,
        id: u32,
        launch: &Launch<'_>,
        tty: bool,
        stdin: bool,
        client: Option<u32>,
    ) -> io::Result<()> {
        let (reports, report) = pipe2(OFlag::O_CLOEXEC)?;
        let mut process = Process::new(reports, tty, client);
        let streams = if tty {
            let socket = launch::console_socket(&self.folder, id);
            let name = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            process.console = Some(Console::Listening(terminal::listen(&self.folder, name)?));
            Streams::Terminal(socket)
        } else {
            let (stdout, theirs) = pipe2(OFlag::O_CLOEXEC)?;
            let (stderr, their_errors) = pipe2(OFlag::O_CLOEXEC)?;
            terminal::nonblocking(&stdout)?;
            terminal::nonblocking(&stderr)?;
            (process.stdout, process.stderr) = (Some(stdout.into()), Some(stderr.into()));
            let mut input = None;
            if stdin {
                let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
                terminal::nonblocking(&ours)?;
                process.stdin = Some(ours.into());
                input = Some(theirs);
            }
            Streams::Pipes { stdin: input, stdout: theirs, stderr: their_errors }
        };
        launch::start(&self.folder, &self.job, launch, streams, report)?;
        self.processes.insert(id, process);
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        for (source, events) in ready {
            match source {
                Source::Signals => self.reap()?,
                Source::Listener => self.accept(),
                Source::Reports(id) => self.hear(id)?,
                Source::Console(id) => self.connect(id),
                Source::Output(id, stream) => self.pump(id, stream)?,
                Source::Input(id) => {
                    if let Some(process) = self.processes.get_mut(&id) {
                        process.feed();
                    }
                }
                Source::Client(id) => self.serve(id, events),
            }
        }
        let now = Instant::now();
        for client in self.clients.values_mut() {
            client.flush();
            client.judge(now);
        }
        self.farewell();
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.clients.len() < SHIM_CLIENTS {
            sources.push(Source::Listener);
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        for (&id, process) in &self.processes {
            self.watch_process(id, process, &mut sources, &mut fds);
        }
        for (&id, client) in &self.clients {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, self.may_speak(client));
            events.set(PollFlags::POLLOUT, client.has_output());
            sources.push(Source::Client(id));
            fds.push(PollFd::new(client.stream.as_fd(), events));
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(sources.into_iter().zip(events).filter(|(_, events)| !events.is_empty()).collect())
    }

    fn watch_process<'a>(&self, id: u32, process: &'a Process, sources: &mut Vec<Source>, fds: &mut Vec<PollFd<'a>>) {
        let mut add = |source, fd| {
            sources.push(source);
            fds.push(fd);
        };
        if let Some(reports) = &process.reports {
            add(Source::Reports(id), PollFd::new(reports.as_fd(), PollFlags::POLLIN));
        }
        match &process.console {
            Some(Console::Listening(socket)) => {
                add(Source::Console(id), PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            }
            Some(Console::Connected(socket)) => {
                add(Source::Console(id), PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            }
            None => {}
        }
        if self.may_write(id, process) {
            for (stream, file) in [(OutputStream::Stdout, &process.stdout), (OutputStream::Stderr, &process.stderr)] {
                if let Some(file) = file {
                    add(Source::Output(id, stream), PollFd::new(file.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        if let (Some(stdin), false) = (&process.stdin, process.pending.is_empty()) {
            add(Source::Input(id), PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
    }

    /// Whether those who hear a process know that it runs, and have room for more of it.
    fn may_write(&self, id: u32, process: &Process) -> bool {
        if process.outcome.is_none() {
            return false;
        }
        match process.client {
            Some(client) => self.clients.get(&client).is_none_or(|client| !client.is_behind()),
            None if id == FIRST => {
                !self.clients.values().any(|client| matches!(client.role, Role::Attach { .. }) && client.is_behind())
            }
            None => true,
        }
    }

    /// Whether the process a client writes to has room for more.
    fn may_speak(&self, client: &Client) -> bool {
        let target = match client.role {
            Role::Exec(id) => id,
            Role::Attach { .. } => FIRST,
            _ => return true,
        };
        self.processes.get(&target).is_none_or(Process::wants_input)
    }

    fn timeout(&self) -> PollTimeout {
        let deadlines = self.clients.values().filter_map(Client::patience).chain(self.deadlines());
        match deadlines.min() {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up, or the loop would spin through the last millisecond.
                let millis = u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
                PollTimeout::from(millis)
            }
        }
    }

    fn accept(&mut self) {
        if let Ok((stream, _)) = self.listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            let id = self.number();
            self.clients.insert(id, Client::new(stream, Role::New));
        }
    }

    /// Every child that ended: the container's processes, launchers, and orphans that fell to us.
    fn reap(&mut self) -> io::Result<()> {
        while self.signals.read_signal()?.is_some() {}
        loop {
            let (pid, ended) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ended { code, signal: None }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, Ended { code: 128 + signal as i32, signal: Some(signal as i32) })
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let launching = self.processes.values().any(|process| process.outcome.is_none());
            let whose = self.processes.values_mut().find(|process| process.alive() == Some(pid.as_raw()));
            match whose {
                Some(process) => (process.ended, process.ended_at) = (Some(ended), Some(Instant::now())),
                None if launching => {
                    self.early.truncate(EARLY_EXITS - 1);
                    self.early.insert(0, (pid.as_raw(), ended));
                }
                None => {}
            }
        }
    }

    /// News of a launch.
    fn hear(&mut self, id: u32) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let Some(reports) = &mut process.reports else { return Ok(()) };
        if !reports.read()? {
            return Ok(());
        }
        let outcome = reports.outcome();
        process.reports = None;
        if let Some(at) = self.early.iter().position(|(pid, _)| Some(*pid) == outcome.pid) {
            (process.ended, process.ended_at) = (Some(self.early.swap_remove(at).1), Some(Instant::now()));
        }
        process.outcome = Some(outcome.clone());
        if process.tty {
            durable::remove_file(&launch::console_socket(&self.folder, id))?;
        }
        match (outcome.failure, outcome.pid) {
            (None, Some(pid)) if id == FIRST => self.now_running(pid, outcome.warnings),
            (None, Some(pid)) => {
                let started = Started { pid, at: Timestamp::now(), warnings: outcome.warnings };
                self.tell_exec(id, &Frame::Started(started));
                Ok(())
            }
            (failure, _) => {
                let why = failure.unwrap_or_default();
                if id == FIRST { self.never_started(why) } else { self.exec_failed(id, &why) }
            }
        }
    }

    fn now_running(&mut self, pid: i32, warnings: Vec<String>) -> io::Result<()> {
        let at = Timestamp::now();
        let running = Running { pid, started_at: at };
        // A full disk must not stop the container; without the record only the time of its start can be lost.
        if let Err(error) = durable::write(&self.folder.join(job::RUNNING), &running, Survives::Crash) {
            complain(format_args!("recording the start: {error}"));
        }
        let started = Started { pid, at, warnings };
        for client in self.clients.values_mut().filter(|client| client.role == Role::Watch) {
            client.send(&Frame::Started(started.clone()));
            client.flush();
        }
        self.started = Some(started);
        Ok(())
    }

    fn connect(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.console = match process.console.take() {
            Some(Console::Listening(socket)) => match socket.accept() {
                Ok((stream, _)) => Some(Console::Connected(stream)),
                Err(_) => Some(Console::Listening(socket)),
            },
            Some(Console::Connected(stream)) => {
                // Without its terminal the process fails by itself and says why.
                let taken = terminal::receive_master(&stream).and_then(|master| process.take_terminal(master));
                if let Err(error) = taken {
                    complain(error);
                }
                None
            }
            None => None,
        };
    }

    /// Carries what a process wrote to the log and to those who listen.
    pub(super) fn pump(&mut self, id: u32, stream: OutputStream) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let Some(bytes) = process.read(stream) else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        debug_assert!(bytes.len() <= CHUNK_BYTES.min(crate::limits::FRAME_BYTES), "one read is one frame");
        if id == FIRST {
            // A full disk must not stop the container. It is said once, not for every line.
            match self.log.write(stream, &bytes, Timestamp::now()) {
                Ok(()) => self.log_fails = false,
                Err(_) if self.log_fails => {}
                Err(error) => {
                    self.log_fails = true;
                    complain(format_args!("writing the log: {error}"));
                }
            }
            let frame = Frame::Output(stream, bytes);
            for client in self.clients.values_mut().filter(|client| client.hears(stream)) {
                client.send(&frame);
            }
        } else {
            self.tell_exec(id, &Frame::Output(stream, bytes));
        }
        Ok(())
    }
}

/// The protocol's version that this shim speaks.
pub(super) const SPEAKS: u32 = frame::VERSION;
