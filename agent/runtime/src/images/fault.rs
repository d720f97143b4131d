//! What can go wrong while an image is read and unpacked: it is bad, or this host failed.

use crate::RuntimeError;
use std::fmt::Display;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The image is damaged or hostile.
    #[error("{0}")]
    Bad(String),
    /// Reading or writing on this host failed.
    #[error("{doing}: {why}")]
    Host { doing: String, why: io::Error },
}

impl Fault {
    pub fn bad(why: impl Display) -> Self {
        Fault::Bad(why.to_string())
    }

    /// A failure to read an image's bytes. What the kernel reports is the host's; the rest comes from a decoder.
    pub fn read(doing: &str, why: io::Error) -> Self {
        match why.raw_os_error() {
            Some(_) => Fault::Host { doing: doing.to_owned(), why },
            None => Fault::Bad(format!("{doing}: {why}")),
        }
    }

    pub fn host(doing: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |why| Fault::Host { doing: doing.to_string(), why }
    }

    /// With the name of what was read.
    pub fn of(self, origin: impl Display) -> RuntimeError {
        match self {
            Fault::Bad(why) => RuntimeError::BadImage { origin: origin.to_string(), why },
            Fault::Host { doing, why } => RuntimeError::Io { doing, why: why.to_string() },
        }
    }
}

/// For a failure that has nothing to do with an image's content.
pub fn io_error(doing: impl Display) -> impl FnOnce(io::Error) -> RuntimeError {
    move |why| RuntimeError::Io { doing: doing.to_string(), why: why.to_string() }
}

pub fn errno(doing: impl Display) -> impl FnOnce(rustix::io::Errno) -> RuntimeError {
    move |why| RuntimeError::Io { doing: doing.to_string(), why: why.to_string() }
}
