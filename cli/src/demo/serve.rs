//! Accepting, and ending without losing a request.

use super::answer::Demo;
use super::limits;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// Until a signal came and nobody is left, or the deadline after it.
pub async fn serve(listener: TcpListener, demo: Demo) -> std::io::Result<()> {
    // Asked for explicitly: as PID 1 a process gets only signals it handles.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    LocalSet::new().run_until(serve_until(listener, Rc::new(demo), stop)).await
}

async fn serve_until(listener: TcpListener, demo: Rc<Demo>, stop: impl Future<Output = ()>) -> std::io::Result<()> {
    let connected = Rc::new(Cell::new(0usize));
    let mut stop = std::pin::pin!(stop);
    let mut stopped_at = None;
    loop {
        let room = connected.get() < limits::CONNECTIONS;
        tokio::select! {
            biased;
            () = &mut stop, if stopped_at.is_none() => {
                stopped_at = Some(Instant::now());
                demo.stopping.set(true);
                demo.active_at.set(Instant::now());
            }
            // Whoever reached the kernel's queue is served, also after the signal: the service may still send clients.
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    demo.active_at.set(Instant::now());
                    tokio::task::spawn_local(connection(stream, demo.clone(), Open::of(connected.clone())));
                }
                // Out of descriptors: those that are open will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            () = tokio::time::sleep(Duration::from_millis(20)), if stopped_at.is_some() || !room => {}
        }
        if stopped_at.is_some_and(|at| may_end(&demo, connected.get(), at.elapsed())) {
            return Ok(());
        }
    }
}

fn may_end(demo: &Demo, connected: usize, since_stop: Duration) -> bool {
    let quiet = demo.active_at.get().elapsed();
    let busy = demo.metrics.borrow().in_flight > 0;
    let idle = match connected {
        0 => quiet >= limits::QUIET_ALONE,
        _ => !busy && quiet >= limits::QUIET_CONNECTED,
    };
    idle || since_stop >= limits::SHUTDOWN
}

async fn connection(stream: TcpStream, demo: Rc<Demo>, _open: Open) {
    // Small answers must not wait for more.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let demo = demo.clone();
        async move { Ok::<_, Infallible>(demo.answer(request).await) }
    });
    // A client that breaks off is no error of ours.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Counts a connection while it is there.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn of(count: Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Open(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::sync::oneshot;

    async fn with_demo<T>(test: impl AsyncFnOnce(std::net::SocketAddr, oneshot::Sender<()>) -> T) -> T {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send, receive) = oneshot::channel();
        let demo = Rc::new(Demo::from_env(|name| (name == "DEMO_VERSION").then(|| "v7".to_owned())));
        let stop = async move { drop(receive.await) };
        let run = async {
            let (served, result) = tokio::join!(serve_until(listener, demo, stop), test(address, send));
            served.unwrap();
            result
        };
        tokio::time::timeout(Duration::from_secs(20), LocalSet::new().run_until(run)).await.expect("it ends")
    }

    async fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> (u16, String, String) {
        stream.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, String::from_utf8(body).unwrap())
    }

    async fn connect(address: std::net::SocketAddr) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(address).await.unwrap())
    }

    #[tokio::test]
    async fn it_describes_itself_and_its_probes_can_be_switched() {
        with_demo(async |address, stop| {
            let mut client = connect(address).await;
            let (status, _, body) = ask(&mut client, "GET /").await;
            assert_eq!((status, body.contains("\"version\":\"v7\"")), (200, true));
            for (path, failing) in [("/healthz", 500), ("/ready", 503)] {
                assert_eq!(ask(&mut client, &format!("GET {path}")).await.0, 200);
                assert_eq!(ask(&mut client, &format!("POST {path}?fail=true")).await.0, 200);
                assert_eq!(ask(&mut client, &format!("GET {path}")).await.0, failing);
                assert_eq!(ask(&mut client, &format!("POST {path}?fail=false")).await.0, 200);
                assert_eq!(ask(&mut client, &format!("GET {path}")).await.0, 200);
            }
            assert_eq!(ask(&mut client, "GET /burn?ms=1").await.0, 200);
            let (_, _, metrics) = ask(&mut client, "GET /metrics").await;
            assert!(metrics.contains("http_requests_total{path=\"/ready\",code=\"503\"} 1"), "{metrics}");
            drop((client, stop));
        })
        .await;
    }

    #[tokio::test]
    async fn after_the_signal_it_finishes_and_serves_who_still_comes() {
        with_demo(async |address, stop| {
            let mut slow = connect(address).await;
            let mut idle = connect(address).await;
            assert_eq!(ask(&mut idle, "GET /").await.0, 200);
            let slow = async { ask(&mut slow, "GET /delay?ms=300").await };
            let others = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(stop);
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut late = connect(address).await;
                [
                    ask(&mut late, "GET /").await,
                    ask(&mut idle, "GET /").await,
                    ask(&mut connect(address).await, "GET /ready").await,
                ]
            };
            let (slow, [late, idle, ready]) = tokio::join!(slow, others);
            for (status, head, _) in [slow, late, idle] {
                assert_eq!(status, 200);
                assert!(head.contains("connection: close"), "{head}");
            }
            assert_eq!(ready.0, 503);
        })
        .await;
    }
}
