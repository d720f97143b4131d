//! Port-forward: one TCP connection to a port of the pod, dialled inside its network namespace, so that what listens
//! on its loopback only is reached too.

use super::find::{self, Wanted};
use super::{Out, Source};
use crate::limits;
use bytes::{Bytes, BytesMut};
use coracle_proto::ApiError;
use coracle_proto::nodelink::{Channel, Frame, PortForwardRequest, frame};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tonic::Streaming;

pub async fn serve(
    source: &Source,
    request: &PortForwardRequest,
    out: &Out,
    incoming: &mut Streaming<Frame>,
) -> Result<i32, ApiError> {
    let wanted = Wanted { namespace: &request.namespace, pod: &request.pod, uid: &request.uid };
    let sandbox = find::sandbox(source, &wanted).await?;
    let port = u16::try_from(request.port).map_err(|_| ApiError::bad_request("the port must be at most 65535"))?;
    let stream = dial(sandbox.netns, port).await.map_err(|error| {
        let why = crate::probes::connect_error(&error);
        ApiError::internal(format_args!("failed to connect to localhost:{port} inside the pod: dial tcp: {why}"))
    })?;
    let (reading, writing) = stream.into_split();
    let failed = |e: io::Error| ApiError::internal(format_args!("reading from port {port}: {e}"));
    let output = from_pod(reading, out);
    tokio::pin!(output);
    tokio::select! {
        ended = &mut output => return ended.map(|()| 0).map_err(failed),
        () = to_pod(incoming, writing) => {}
    }
    // The client has said all; the pod may still answer.
    output.await.map(|()| 0).map_err(failed)
}

async fn to_pod(incoming: &mut Streaming<Frame>, mut writing: OwnedWriteHalf) {
    while let Ok(Some(Frame { kind: Some(kind) })) = incoming.message().await {
        let done = match kind {
            frame::Kind::Data(data) if data.channel() == Channel::Stdin => {
                writing.write_all(&data.bytes).await.is_err()
            }
            frame::Kind::Close(_) => break,
            _ => false,
        };
        if done {
            return;
        }
    }
    // Whether the pod still listens does not matter: it has all there is.
    let _ = writing.shutdown().await;
}

async fn from_pod(mut reading: OwnedReadHalf, out: &Out) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(limits::FRAME_MAX_BYTES);
    loop {
        buffer.reserve(limits::FRAME_MAX_BYTES);
        let read = tokio::select! {
            read = reading.read_buf(&mut buffer) => read?,
            () = out.closed() => return Ok(()),
        };
        let bytes: Bytes = buffer.split().freeze();
        if read == 0 || !out.data(Channel::Stdout, &bytes).await {
            return Ok(());
        }
    }
}

/// `None`: on the host's network.
async fn dial(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    // A thread of its own: it enters the namespace and must never serve anything else.
    let (sender, dialled) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("port-forward".into()).spawn(move || {
        // Nobody waits any more where this fails.
        let _ = sender.send(dial_inside(netns.as_deref(), port));
    })?;
    let stream = dialled.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

fn dial_inside(netns: Option<&Path>, port: u16) -> io::Result<StdStream> {
    if let Some(path) = netns {
        nix::sched::setns(File::open(path)?, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    StdStream::connect_timeout(&four, limits::CONNECT_TIMEOUT)
        .or_else(|error| StdStream::connect_timeout(&six, limits::CONNECT_TIMEOUT).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_dialled_or_said_to_be_closed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("has one").port();
        let (mut stream, accepted) = tokio::join!(dial(None, port), listener.accept());
        accepted.expect("accepts").0.write_all(b"hi").await.expect("writes");
        let mut text = String::new();
        stream.as_mut().expect("dials").read_to_string(&mut text).await.expect("reads");
        assert_eq!(text, "hi");
        drop(listener);
        assert_eq!(dial(None, port).await.expect_err("is closed").kind(), io::ErrorKind::ConnectionRefused);
    }
}
