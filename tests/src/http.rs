//! Plain HTTP to a pod or a service, each request on a connection of its own.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longer than any healthy answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status and the body of `GET path` at `address`, a `HOST:PORT`.
pub fn fetch(address: &str, path: &str) -> Result<(u16, String)> {
    let socket = address.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&socket, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cut = || Error::new(ErrorKind::UnexpectedEof, format!("a whole answer, not {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
    Ok((status, body.to_owned()))
}
