//! Questions that others answer: the configured name servers, or the host's.

use super::answer::Transport;
use super::resolv::{self, HOST_FILE};
use crate::limits::{DNS_RESOLV_CONF_AGE, DNS_UPSTREAM_TIMEOUT, DNS_UPSTREAMS};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;
const LARGEST_MESSAGE: usize = 65_535;
const ID_BYTES: usize = 2;

/// Who is asked.
#[derive(Debug)]
pub struct Upstream {
    configured: Vec<SocketAddr>,
    own: Ipv4Addr,
    host: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Upstream {
    pub fn new(configured: &[IpAddr], own: Ipv4Addr) -> Self {
        let configured = configured.iter().take(DNS_UPSTREAMS).map(|address| SocketAddr::new(*address, PORT)).collect();
        Self { configured, own, host: Mutex::new(None) }
    }

    /// Asks one server after the other; `None` if none answered. The query's own id never leaves.
    pub async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for server in self.servers() {
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(server, query).await,
                    Transport::Tcp => ask_tcp(server, query).await,
                }
            };
            match timeout(DNS_UPSTREAM_TIMEOUT, asked).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "an upstream name server failed"),
                Err(_) => tracing::debug!(%server, "an upstream name server did not answer in time"),
            }
        }
        None
    }

    /// The servers of now: the host's file may change while we run.
    fn servers(&self) -> Vec<SocketAddr> {
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        let mut known = self.host.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*known {
            Some((read_at, servers)) if read_at.elapsed() < DNS_RESOLV_CONF_AGE => servers.clone(),
            _ => {
                let text = std::fs::read_to_string(HOST_FILE).unwrap_or_default();
                // To ask ourselves would never end.
                let others = resolv::parse(&text).servers.into_iter().filter(|server| *server != IpAddr::V4(self.own));
                let servers: Vec<_> = others.map(|address| SocketAddr::new(address, PORT)).collect();
                *known = Some((Instant::now(), servers.clone()));
                servers
            }
        }
    }
}

/// From a fresh port, with a fresh id: what comes back must match both, and the question.
async fn ask_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (asked, id) = with_fresh_id(query);
    socket.send(&asked).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        if is_answer(&asked, &answer[..length]) {
            answer.truncate(length);
            restore_id(&mut answer, id);
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let (asked, id) = with_fresh_id(query);
    write_message(&mut stream, &asked).await?;
    let mut answer = read_message(&mut stream).await?;
    if !is_answer(&asked, &answer) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question"));
    }
    restore_id(&mut answer, id);
    Ok(answer)
}

/// A message over TCP has its length before it (RFC 1035 §4.2.2).
pub async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len().min(LARGEST_MESSAGE)).unwrap_or(u16::MAX);
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message[..usize::from(length)]);
    stream.write_all(&framed).await
}

fn with_fresh_id(query: &[u8]) -> (Vec<u8>, [u8; ID_BYTES]) {
    let mut asked = query.to_vec();
    let own = asked.first_chunk().copied().unwrap_or_default();
    restore_id(&mut asked, rand::random());
    (asked, own)
}

fn restore_id(message: &mut [u8], id: [u8; ID_BYTES]) {
    if let Some(start) = message.first_chunk_mut() {
        *start = id;
    }
}

/// A response with the same id to the same question.
fn is_answer(asked: &[u8], answer: &[u8]) -> bool {
    let head =
        answer.len() >= 12 && asked.len() >= 12 && answer[..ID_BYTES] == asked[..ID_BYTES] && answer[2] & 0x80 != 0;
    head && question(asked).is_some_and(|question| {
        let same = |other: &[u8]| other.eq_ignore_ascii_case(question);
        answer.get(12..12 + question.len()).is_some_and(same)
    })
}

/// The bytes of the first question: labels, type and class.
fn question(message: &[u8]) -> Option<&[u8]> {
    let mut end = 12;
    loop {
        match usize::from(*message.get(end)?) {
            0 => return message.get(12..end + 5),
            length if length < 64 => end += length + 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03abc\x00\x00\x01\x00\x01";

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let answer = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = QUERY.to_vec();
            bytes[2] |= 0x80;
            change(&mut bytes);
            is_answer(QUERY, &bytes)
        };
        assert!(answer(&|_| {}));
        assert!(answer(&|bytes| bytes[13] = b'A'), "names have no case");
        assert!(!answer(&|bytes| bytes[0] = 0), "another id");
        assert!(!answer(&|bytes| bytes[2] = 0), "a query");
        assert!(!answer(&|bytes| bytes[13] = b'x'), "another name");
        assert!(!answer(&|bytes| bytes.truncate(15)), "cut short");
        assert_eq!(question(&QUERY[..14]), None);
    }
}
