//! The netlink socket to nf_tables: sends a transaction and reads the verdict on it, or lists what is there.

use super::attributes::{self, Attributes};
use super::batch::{Batch, frame};
use super::constants::{ERROR_TEXT, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4};
use crate::NetworkError;
use crate::limits;
use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
};
use netlink_sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use rustix::net::sockopt;
use std::io;

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket(netlink_sys::Socket);

/// Why the kernel refused a transaction: the first message it did not like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub doing: String,
    pub errno: Errno,
    /// The kernel's own words, where it has any.
    pub text: String,
}

impl From<Rejected> for NetworkError {
    fn from(rejected: Rejected) -> Self {
        let Rejected { doing, errno, text } = rejected;
        match errno {
            Errno::EPERM => {
                NetworkError::Host { what: format!("{doing}: not allowed"), fix: "run as root (CAP_NET_ADMIN)".into() }
            }
            Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT => NetworkError::Host {
                what: format!("{doing}: this kernel cannot do that"),
                fix: "load or build nf_tables with nat, masquerade, numgen, fib and reject".into(),
            },
            _ if text.is_empty() => NetworkError::Kernel { doing, why: errno.desc().into() },
            _ => NetworkError::Kernel { doing, why: format!("{}: {text}", errno.desc()) },
        }
    }
}

impl Socket {
    pub fn open() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(limits::NETLINK_TIMEOUT))?;
        // Without privilege the ordinary limit holds, and the kernel refuses the request itself with a clearer word.
        sockopt::set_socket_recv_buffer_size_force(&socket, limits::NETLINK_RECEIVE_BYTES)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, limits::NETLINK_RECEIVE_BYTES))?;
        Ok(Self(socket))
    }

    /// Applies the whole transaction, or nothing of it.
    pub fn commit(&self, mut batch: Batch) -> Result<(), NetworkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, last) = batch.finish();
        let io = |error: io::Error| NetworkError::Io { doing: "committing the rules".into(), why: error.to_string() };
        // A transaction must go in one piece, however large.
        let room = bytes.len() + 4096;
        sockopt::set_socket_send_buffer_size_force(&self.0, room)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&self.0, room))
            .map_err(|errno| io(errno.into()))?;
        self.0.send(bytes, 0).map_err(io)?;
        let mut rejected: Option<(u32, i32, String)> = None;
        let mut answered = false;
        while !answered {
            let (datagram, _) = self.0.recv_from_full().map_err(io)?;
            for answer in messages(&datagram).filter(|answer| answer.kind == NLMSG_ERROR) {
                let code = answer.error_code();
                if code != 0 && rejected.is_none() {
                    rejected = Some((answer.sequence, -code, answer.error_text()));
                }
                answered |= answer.sequence == last || answer.sequence == 0;
            }
        }
        self.drain();
        match rejected {
            None => Ok(()),
            Some((sequence, errno, text)) => {
                Err(Rejected { doing: batch.doing(sequence).to_owned(), errno: Errno::from_raw(errno), text }.into())
            }
        }
    }

    /// Lists objects: the attributes of each message the kernel answers with. `kind` is one of the GET messages.
    pub fn list(&self, kind: u8, fill: impl Fn(&mut Attributes<'_>)) -> Result<Vec<Vec<u8>>, NetworkError> {
        for _ in 0..limits::DUMP_RETRIES {
            match self.list_once(kind, &fill)? {
                Some(found) => return Ok(found),
                None => continue,
            }
        }
        Err(NetworkError::Kernel { doing: "listing rules".into(), why: "they change all the time".into() })
    }

    /// `None` where the rules changed meanwhile, so that the list may be of no moment at all.
    fn list_once(&self, kind: u8, fill: impl Fn(&mut Attributes<'_>)) -> Result<Option<Vec<Vec<u8>>>, NetworkError> {
        let io = |error: io::Error| NetworkError::Io { doing: "listing rules".into(), why: error.to_string() };
        let mut request = Vec::new();
        let kind = u16::from(NFNL_SUBSYS_NFTABLES) << 8 | u16::from(kind);
        frame(&mut request, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, (NFPROTO_IPV4, 0), fill);
        self.0.send(&request, 0).map_err(io)?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        loop {
            let (datagram, _) = self.0.recv_from_full().map_err(io)?;
            for answer in messages(&datagram) {
                interrupted |= answer.flags & NLM_F_DUMP_INTR != 0;
                match answer.kind {
                    NLMSG_DONE => return Ok((!interrupted).then_some(found)),
                    NLMSG_ERROR => {
                        let errno = Errno::from_raw(-answer.error_code());
                        // A table or chain that is not there has nothing to list.
                        return if errno == Errno::ENOENT {
                            Ok(Some(found))
                        } else {
                            Err(Rejected { doing: "listing rules".into(), errno, text: answer.error_text() }.into())
                        };
                    }
                    // After the four bytes of the nfnetlink header.
                    _ => found.push(answer.payload.get(4..).unwrap_or_default().to_vec()),
                }
            }
        }
    }

    /// Forgets answers that nobody waits for any more.
    fn drain(&self) {
        let mut scratch = Vec::with_capacity(64);
        while self.0.recv(&mut scratch, rustix::net::RecvFlags::DONTWAIT.bits() as i32).is_ok() {
            scratch.clear();
        }
    }
}

struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Answer<'_> {
    fn error_code(&self) -> i32 {
        self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
    }

    /// After the code and the header of the message it is about.
    fn error_text(&self) -> String {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return String::new();
        }
        let details = self.payload.get(20..).unwrap_or_default();
        attributes::find(details, ERROR_TEXT).map(attributes::text).unwrap_or_default()
    }
}

fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = (message.length() as usize).clamp(16, datagram.len());
        let answer = Answer {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: &datagram[16..length],
        };
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
        Some(answer)
    })
}
