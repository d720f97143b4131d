//! The last steps inside the container, between libcontainer's work and the program: who runs it, with which
//! capabilities, behind which seccomp filter, and then `execve`. libcontainer leaves us root with all capabilities,
//! because a filter without `no_new_privs` can be loaded only before they are dropped.

use super::job::Process;
use super::report::{Report, send};
use crate::privilege::{self, Identity};
use crate::{seccomp, sys};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, execve, fchdir, fchown};
use rustix::fs::{CWD, OFlags, ResolveFlags, openat2};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone)]
pub struct Payload {
    process: Rc<Process>,
    filters: Rc<Vec<seccomp::Program>>,
    report: Rc<OwnedFd>,
}

impl Payload {
    pub fn new(process: &Process, report: &OwnedFd) -> Result<Self, seccomp::SeccompError> {
        let filters = seccomp::compile(&process.privileges)?;
        let report = report.try_clone().map_err(|error| seccomp::SeccompError::Load(error.to_string()))?;
        Ok(Self { process: Rc::new(process.clone()), filters: Rc::new(filters), report: Rc::new(report) })
    }

    fn run(&self) -> Result<Infallible, String> {
        let process = &self.process;
        let privileges = &process.privileges;
        sys::reset_signals().map_err(|error| format!("resetting signals: {error}"))?;
        let identity = privilege::identify(privileges).map_err(|error| error.to_string())?;
        own_streams(&identity);
        enter(Path::new(&process.cwd))?;
        let env = environment(&process.env, &identity.home);
        let (program, args) = (find(&process.args, &env)?, texts(&process.args)?);
        let program = CString::new(program.into_os_string().into_encoded_bytes()).map_err(|error| error.to_string())?;
        let env = texts(&env)?;
        sys::close_all_but(self.report.as_fd()).map_err(|error| format!("closing descriptors: {error}"))?;
        let load = || seccomp::load(&self.filters).map_err(|error| error.to_string());
        if !privileges.no_new_privileges {
            load()?;
        }
        privilege::assume(&identity, &privileges.capabilities)?;
        if privileges.no_new_privileges {
            load()?;
        }
        let Err(error) = execve(&program, &args, &env);
        Err(refused(&process.args[0], error))
    }
}

impl Executor for Payload {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let Err(why) = self.run();
        send(self.report.as_fd(), &Report::Failed(why.clone()));
        Err(ExecutorError::Other(why))
    }

    /// Everything is checked where it is used.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The environment goes straight to `execve`.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// A program that is not root must be able to open `/dev/stdout` and its like.
fn own_streams(identity: &Identity) {
    let null = nix::sys::stat::stat("/dev/null").map(|found| found.st_rdev).ok();
    for stream in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
        if fstat(stream).is_ok_and(|found| Some(found.st_rdev) != null) {
            // What can't be given away (a socket, a read-only file system) can still be written to.
            let _ = fchown(stream, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)));
        }
    }
}

/// Changes into the working directory, making it where it is missing, and never through one of our own descriptors:
/// `/proc/self/fd/7/..` would lead out of the container.
fn enter(cwd: &Path) -> Result<(), String> {
    let told = |error: rustix::io::Errno| format!("chdir to cwd ({:?}) set in config.json failed: {error}", cwd);
    let open = |at: &OwnedFd, path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(at, path, flags, rustix::fs::Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).map_err(told)?;
    let mut folder = root;
    for part in cwd.components().skip_while(|part| matches!(part, std::path::Component::RootDir)) {
        let part = Path::new(part.as_os_str());
        folder = match open(&folder, part) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&folder, part, rustix::fs::Mode::from_raw_mode(0o755)).map_err(told)?;
                open(&folder, part).map_err(told)?
            }
            other => other.map_err(told)?,
        };
    }
    fchdir(&folder).map_err(|error| format!("chdir to {}: {error}", cwd.display()))?;
    std::env::current_dir().map(drop).map_err(|_| format!("the working directory {} is outside", cwd.display()))
}

fn environment(env: &[String], home: &str) -> Vec<String> {
    let mut env = env.to_vec();
    if !env.iter().any(|one| one.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}

/// As the shell finds a program, but never through a descriptor of ours. The messages are those that users of Kubernetes
/// know.
fn find(args: &[String], env: &[String]) -> Result<PathBuf, String> {
    let name = args.first().ok_or("no command was given")?;
    if name.contains('/') {
        return check(Path::new(name)).map(|()| name.into()).map_err(|error| match error {
            Errno::ENOENT => format!("exec: {name:?}: stat {name}: no such file or directory"),
            other => refused(name, other),
        });
    }
    let path = env.iter().rev().find_map(|one| one.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = None;
    for folder in path.split(':') {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other) => denied = denied.or(Some(other)),
        }
    }
    Err(denied
        .map_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"), |error| refused(name, error)))
}

fn check(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = openat2(CWD, path, flags, rustix::fs::Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    let found = fstat(&file)?;
    let executable = Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH);
    match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ if executable => Ok(()),
        _ => Err(Errno::EACCES),
    }
}

fn refused(name: &str, error: Errno) -> String {
    let why = match error {
        Errno::ENOENT => "no such file or directory",
        Errno::EACCES => "permission denied",
        Errno::ENOEXEC => "exec format error",
        Errno::EISDIR => "is a directory",
        other => other.desc(),
    };
    format!("exec: {name:?}: {why}")
}

fn texts(values: &[String]) -> Result<Vec<CString>, String> {
    values
        .iter()
        .map(|value| CString::new(value.as_bytes()).map_err(|_| format!("{value:?} contains a zero byte")))
        .collect()
}
