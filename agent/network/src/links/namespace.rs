//! A conversation with rtnetlink, in this network namespace or in a pod's.

use crate::NetworkError;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{Error, Handle};
use std::fs::File;
use std::io;
use std::path::Path;
use tokio::task::JoinHandle;

/// A netlink socket and the task that serves it; ends when dropped.
pub struct Connection {
    pub handle: Handle,
    task: JoinHandle<()>,
}

impl Connection {
    /// In the namespace of the calling thread.
    pub fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| io_error("opening netlink", &error))?;
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// In another namespace. A thread of its own goes there to make the socket and ends, so no other work of this
    /// process ever runs in the pod's namespace.
    pub async fn open_in(namespace: File) -> Result<Self, NetworkError> {
        let runtime = tokio::runtime::Handle::current();
        let (done, made) = tokio::sync::oneshot::channel();
        let thread = move || {
            let entered = runtime.enter();
            let socket = setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
            let socket = socket.and_then(|()| rtnetlink::new_connection());
            drop(entered);
            drop(done.send(socket));
        };
        std::thread::Builder::new()
            .name("pod-netlink".into())
            .spawn(thread)
            .map_err(|error| io_error("starting a thread", &error))?;
        let socket =
            made.await.map_err(|_| io_error("entering the pod's network", &io::ErrorKind::BrokenPipe.into()))?;
        let (connection, handle, _) = socket.map_err(|error| io_error("entering the pod's network", &error))?;
        Ok(Self { handle, task: tokio::spawn(connection) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a pinned network namespace.
pub fn open_namespace(path: &Path) -> Result<File, NetworkError> {
    File::open(path).map_err(|error| io_error(&format!("opening the network namespace {}", path.display()), &error))
}

fn io_error(doing: &str, error: &io::Error) -> NetworkError {
    NetworkError::Io { doing: doing.into(), why: error.to_string() }
}

/// The error number in a netlink answer, if it is one.
pub fn errno(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

/// Names what was being done, for an error of the kernel.
pub fn kernel_error(doing: impl Into<String>) -> impl FnOnce(Error) -> NetworkError {
    let doing = doing.into();
    move |error| match errno(&error) {
        Some(code) if code == Errno::EPERM as i32 => {
            NetworkError::Host { what: format!("{doing}: not allowed"), fix: "run as root (CAP_NET_ADMIN)".into() }
        }
        Some(code) => NetworkError::Kernel { doing, why: Errno::from_raw(code).desc().into() },
        None => NetworkError::Kernel { doing, why: error.to_string() },
    }
}
