//! One connection: a task that reads frames and hands data to streams, a task that writes, and the streams' handles.

use super::SpdyError;
use super::frame::{Control, HEADER_BYTES, Head, Outgoing, ResetStatus};
use super::headers::{Deflater, Headers, Inflater};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Data is read and written in pieces of at most so many bytes.
const PIECE: usize = 32 << 10;
/// Pieces of one stream that nobody has read yet; then the connection waits.
const PIECES_BUFFERED: usize = 16;
const FRAMES_BUFFERED: usize = 64;
/// Open at once on one connection: a forwarded connection takes two.
const MAX_STREAMS: usize = 512;
/// New streams that nobody has accepted yet.
const STREAMS_BUFFERED: usize = 64;

/// The server's end of a connection. It ends when the client does, or when this is dropped.
pub struct Session {
    incoming: mpsc::Receiver<Stream>,
    end: CancellationToken,
}

/// A stream the client opened. Not replied to yet.
pub struct Stream {
    pub headers: Headers,
    pub reader: Reader,
    pub writer: Writer,
}

/// What the client sends; drops the rest when it is dropped.
pub struct Reader(mpsc::Receiver<Bytes>);

/// Where the client reads. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    stream: u32,
    frames: mpsc::Sender<Outgoing>,
    /// The client has reset the stream, or the connection is over.
    gone: CancellationToken,
}

/// The stream or the connection is over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client is gone")]
pub struct Gone;

impl Session {
    /// Starts on an upgraded connection.
    pub fn start(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(io);
        let (frames, outgoing) = mpsc::channel(FRAMES_BUFFERED);
        let (streams, incoming) = mpsc::channel(STREAMS_BUFFERED);
        let end = CancellationToken::new();
        tokio::spawn(write_frames(write, outgoing, end.clone()));
        let reading = Reading { streams: HashMap::new(), newest: 0, incoming: streams, frames, end: end.clone() };
        tokio::spawn(async move {
            let end = reading.end.clone();
            let result = tokio::select! {
                result = reading.run(read) => result,
                () = end.cancelled() => Ok(()),
            };
            end.cancel();
            if let Err(error @ SpdyError::Protocol(_)) = result {
                tracing::debug!(%error, "a SPDY connection was dropped");
            }
        });
        Self { incoming, end }
    }

    /// The next stream the client opens; `None` when the connection is over.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// Cancelled when the connection is over.
    pub fn ended(&self) -> CancellationToken {
        self.end.clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Stream {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Takes the stream.
    pub async fn reply(&self) -> Result<(), Gone> {
        self.writer.send(Outgoing::SynReply { stream: self.writer.stream }).await
    }

    pub async fn refuse(self) {
        self.writer.reset(ResetStatus::Refused).await;
    }
}

impl Reader {
    /// `None` at the end of what the client sends.
    pub async fn read(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Writer {
    pub async fn write(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.send(Outgoing::Data { stream: self.stream, fin: false, bytes: piece }).await?;
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub async fn finish(&self) -> Result<(), Gone> {
        self.send(Outgoing::Data { stream: self.stream, fin: true, bytes: Bytes::new() }).await
    }

    /// Cancelled when nobody reads any more.
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    async fn reset(&self, status: ResetStatus) {
        // A client that is gone needs no telling.
        let _ = self.send(Outgoing::Reset { stream: self.stream, status }).await;
    }

    async fn send(&self, frame: Outgoing) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Gone),
            sent = self.frames.send(frame) => sent.map_err(|_| Gone),
        }
    }
}

/// The reading task's own state.
struct Reading {
    /// `data` is dropped when the client has finished or reset the stream.
    streams: HashMap<u32, Open>,
    newest: u32,
    incoming: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Outgoing>,
    end: CancellationToken,
}

struct Open {
    data: mpsc::Sender<Bytes>,
    gone: CancellationToken,
}

impl Reading {
    async fn run(mut self, mut io: impl AsyncRead + Unpin) -> Result<(), SpdyError> {
        let mut inflater = Inflater::new();
        let mut head = [0; HEADER_BYTES];
        loop {
            if io.read_exact(&mut head).await.is_err() {
                return Ok(());
            }
            match Head::parse(head)? {
                Head::Data { stream, fin, length } => self.data(&mut io, stream, fin, length).await?,
                Head::Control { kind, fin, length } => {
                    let mut payload = vec![0; length];
                    io.read_exact(&mut payload).await?;
                    let control = Control::parse(kind, fin, &payload, &mut inflater)?;
                    if !self.control(control).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn data(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        stream: u32,
        fin: bool,
        mut length: usize,
    ) -> Result<(), SpdyError> {
        while length > 0 {
            let mut piece = vec![0; length.min(PIECE)];
            io.read_exact(&mut piece).await?;
            length -= piece.len();
            if let Some(open) = self.streams.get(&stream) {
                // Whoever dropped the reader wants no more.
                let _ = open.data.send(piece.into()).await;
            }
        }
        if fin {
            self.finished(stream);
        }
        Ok(())
    }

    /// False when the client says goodbye.
    async fn control(&mut self, control: Control) -> Result<bool, SpdyError> {
        match control {
            Control::SynStream { stream, fin, headers } => self.open(stream, fin, headers).await?,
            Control::Reset { stream } => {
                if let Some(open) = self.streams.remove(&stream) {
                    open.gone.cancel();
                }
            }
            // Odd ids are the client's questions, even ones would be answers to ours.
            Control::Ping { id } if id % 2 == 1 => {
                let _ = self.frames.send(Outgoing::Ping { id }).await;
            }
            Control::Headers { stream, fin: true } => self.finished(stream),
            Control::GoAway => return Ok(false),
            Control::Ping { .. } | Control::Headers { .. } | Control::Other => {}
        }
        Ok(true)
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) -> Result<(), SpdyError> {
        if id.is_multiple_of(2) || id <= self.newest {
            return Err(SpdyError::Protocol(format!("stream {id} cannot follow stream {}", self.newest)));
        }
        self.newest = id;
        self.streams.retain(|_, open| !open.data.is_closed());
        if self.streams.len() >= MAX_STREAMS {
            let _ = self.frames.send(Outgoing::Reset { stream: id, status: ResetStatus::Refused }).await;
            return Ok(());
        }
        let (data, receiver) = mpsc::channel(PIECES_BUFFERED);
        let gone = self.end.child_token();
        let writer = Writer { stream: id, frames: self.frames.clone(), gone: gone.clone() };
        if !fin {
            self.streams.insert(id, Open { data, gone });
        }
        let _ = self.incoming.send(Stream { headers, reader: Reader(receiver), writer }).await;
        Ok(())
    }

    /// The client sends no more on a stream; it may still read.
    fn finished(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }
}

async fn write_frames(mut io: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Outgoing>, end: CancellationToken) {
    let mut deflater = Deflater::new();
    let mut buffer = BytesMut::with_capacity(PIECE * 2);
    loop {
        let frame = tokio::select! {
            biased;
            frame = frames.recv() => frame,
            () = end.cancelled() => None,
        };
        let Some(frame) = frame else { break };
        frame.write(&mut buffer, &mut deflater);
        while buffer.len() < PIECE * 2 {
            match frames.try_recv() {
                Ok(frame) => frame.write(&mut buffer, &mut deflater),
                Err(_) => break,
            }
        }
        if io.write_all_buf(&mut buffer).await.is_err() || io.flush().await.is_err() {
            end.cancel();
            return;
        }
    }
    Outgoing::GoAway { last: 0 }.write(&mut buffer, &mut deflater);
    // The client may have gone first.
    let _ = io.write_all_buf(&mut buffer).await;
    let _ = io.shutdown().await;
    end.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's side, by hand.
    struct Client {
        io: tokio::io::DuplexStream,
        deflater: Deflater,
    }

    impl Client {
        async fn open(&mut self, stream: u32, kind: &str) {
            let block = self.deflater.block(&[("Streamtype".into(), kind.into())]);
            let mut frame = vec![0x80, 3, 0, 1, 0];
            frame.extend(&(10 + block.len() as u32).to_be_bytes()[1..]);
            frame.extend(stream.to_be_bytes());
            frame.extend([0; 6]);
            frame.extend(block);
            self.io.write_all(&frame).await.expect("written");
        }

        async fn data(&mut self, stream: u32, fin: bool, bytes: &[u8]) {
            let mut frame = stream.to_be_bytes().to_vec();
            frame.push(u8::from(fin));
            frame.extend(&(bytes.len() as u32).to_be_bytes()[1..]);
            frame.extend(bytes);
            self.io.write_all(&frame).await.expect("written");
        }

        async fn frame(&mut self) -> (Head, Vec<u8>) {
            let mut head = [0; HEADER_BYTES];
            self.io.read_exact(&mut head).await.expect("a frame");
            let head = Head::parse(head).expect("a good frame");
            let (Head::Data { length, .. } | Head::Control { length, .. }) = head;
            let mut payload = vec![0; length];
            self.io.read_exact(&mut payload).await.expect("its payload");
            (head, payload)
        }
    }

    fn connect() -> (Client, Session) {
        let (client, server) = tokio::io::duplex(1 << 16);
        (Client { io: client, deflater: Deflater::new() }, Session::start(server))
    }

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways() {
        let (mut client, mut session) = connect();
        client.open(1, "stdin").await;
        let mut stream = session.accept().await.expect("a stream");
        assert_eq!(stream.header("streamtype"), Some("stdin"));
        stream.reply().await.expect("replied");
        assert!(matches!(client.frame().await, (Head::Control { kind: 2, .. }, _)));
        client.data(1, false, b"hello").await;
        client.data(1, true, b"").await;
        assert_eq!(stream.reader.read().await, Some(Bytes::from_static(b"hello")));
        assert_eq!(stream.reader.read().await, None);
        stream.writer.write(Bytes::from(vec![7; PIECE + 1])).await.expect("written");
        stream.writer.finish().await.expect("finished");
        let lengths = [client.frame().await.1.len(), client.frame().await.1.len()];
        assert_eq!(lengths, [PIECE, 1]);
        assert_eq!(client.frame().await.0, Head::Data { stream: 1, fin: true, length: 0 });
    }

    #[tokio::test]
    async fn pings_are_answered_and_resets_reach_the_writer() {
        let (mut client, mut session) = connect();
        client.io.write_all(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]).await.expect("written");
        assert_eq!(client.frame().await, (Head::Control { kind: 6, fin: false, length: 4 }, vec![0, 0, 0, 9]));
        client.open(1, "error").await;
        let stream = session.accept().await.expect("a stream");
        client.io.write_all(&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5]).await.expect("written");
        stream.writer.gone().cancelled().await;
        assert_eq!(stream.writer.write(Bytes::from_static(b"x")).await, Err(Gone));
    }

    #[tokio::test]
    async fn a_broken_client_ends_the_session() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x80, 3, 0, 1, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]] {
            let (mut client, mut session) = connect();
            client.io.write_all(bytes).await.expect("written");
            client.io.shutdown().await.expect("shut down");
            assert!(session.accept().await.is_none());
            session.ended().cancelled().await;
        }
    }
}
