//! Network namespaces of tests, and what listens and asks in them.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace that lives as long as this value.
pub struct Namespace(File);
/// What needs no waiting for an answer is over by then, however busy the machine; a lost SYN is sent again after 1 s and
/// 3 s, an address that does not answer to ARP is given up after 3 s.
pub const AT_ONCE: Duration = Duration::from_millis(2500);

impl Namespace {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new namespace");
            Self::current()
        });
        made.join().expect("the thread ends")
    }

    pub fn current() -> Self {
        Self(File::open("/proc/thread-self/ns/net").expect("the namespace of this thread"))
    }

    pub fn open(path: &std::path::Path) -> Self {
        Self(File::open(path).expect("a namespace"))
    }

    /// As a runtime would pin it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Runs `work` inside, on a thread of its own.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = self.0.try_clone().expect("a descriptor");
        let done = std::thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).expect("the namespace");
            work()
        });
        done.join().expect("the work ends")
    }

    pub fn ip(&self, arguments: &str) -> String {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        self.run(move || {
            let output = Command::new("ip").args(&arguments).output().expect("`ip` is there");
            assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// Says `name` and the client's address to everyone who connects.
    pub fn serve_tcp(&self, port: u16, name: &str) {
        let name = name.to_owned();
        let listener = self.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let Ok(client) = stream.peer_addr() else { continue };
                let name = name.clone();
                std::thread::spawn(move || {
                    // A client may send a line first, and then hears it again; most only listen.
                    let said = writeln!(stream, "{name} {}", client.ip());
                    let mut buffer = [0; 64];
                    while let (Ok(()), Ok(length @ 1..)) = (&said, stream.read(&mut buffer)) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    pub fn serve_udp(&self, port: u16, name: &str) {
        let name = name.to_owned();
        let socket = self.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port"));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                drop(socket.send_to(format!("{name} {}", client.ip()).as_bytes(), client));
            }
        });
    }

    pub fn get(&self, address: &str) -> io::Result<String> {
        let address: SocketAddr = address.parse().expect("an address");
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            read_line(&mut stream)
        })
    }

    /// What the server says; panics with the error if it does not.
    pub fn hear(&self, address: &str) -> String {
        self.get(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// A connection that stays.
    pub fn connect(&self, address: &str) -> TcpStream {
        let address: SocketAddr = address.parse().expect("an address");
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
            read_line(&mut stream).expect("a greeting");
            stream
        })
    }

    pub fn udp(&self) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket
        })
    }
}

pub fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends a line and expects it back.
pub fn echo(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"still there\n")?;
    read_line(stream)
}

pub fn ask(socket: &UdpSocket, address: &str) -> io::Result<String> {
    socket.send_to(b"?", address)?;
    let mut buffer = [0; 512];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
