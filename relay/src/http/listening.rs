//! The listening end.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use super::{
    bounds::HttpBounds,
    pages::{Pages, router},
};

/// Why HTTP can't be listened for.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "can't serve HTTP at {address} (TCP): the port is in use; stop what uses it, or set `listen_http` to another"
    )]
    InUse {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("can't serve HTTP at {address} (TCP)")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A bound port, not yet served.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpListener {
    /// Where it is: with the port that was given where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds the port.
pub fn bind(address: SocketAddr) -> Result<HttpListener, BindError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Refused { address, source },
    };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok(HttpListener { listener, address })
}

/// Serves the pages until `end` comes; what is being answered then is answered.
pub async fn serve(
    listener: HttpListener,
    pages: Pages,
    bounds: HttpBounds,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener.listener)?;
    let places = Arc::new(Semaphore::new(bounds.connections));
    axum::serve(Guarded { listener, places, age: bounds.age }, router(pages)).with_graceful_shutdown(end).await
}

/// A listener with so many places, each for so long.
struct Guarded {
    listener: tokio::net::TcpListener,
    places: Arc<Semaphore>,
    age: Duration,
}

impl Listener for Guarded {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (GuardedStream { stream, end: Box::pin(sleep(self.age)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it ends, and ends when its time is up: reading finds the end, writing fails.
struct GuardedStream {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl GuardedStream {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::atomic::{AtomicBool, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        config::Limits,
        metrics::{Metrics, observe::tests::status},
    };

    struct Serving {
        address: SocketAddr,
        ready: Arc<AtomicBool>,
        end: oneshot::Sender<()>,
        task: JoinHandle<io::Result<()>>,
    }

    fn serving(recovered: bool) -> Serving {
        serving_within(recovered, HttpBounds::from(&Limits::default()))
    }

    fn serving_within(recovered: bool, bounds: HttpBounds) -> Serving {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.address();
        let ready = Arc::new(AtomicBool::new(true));
        let now = ready.clone();
        let pages = Pages::new(Metrics::new(), move || {
            let ready = now.load(Ordering::SeqCst);
            let because = (!ready).then(|| "filling from <site2>".to_string());
            recovered.then(|| landbridge_protocol::frame::admin::Status {
                ready,
                not_ready_because: because,
                ..status()
            })
        });
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(serve(listener, pages, bounds, async move { ended.await.unwrap_or_default() }));
        Serving { address, ready, end, task }
    }

    async fn fetch(address: SocketAddr, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    #[tokio::test]
    async fn health_and_metrics_and_the_page_tell_how_the_relay_is() {
        let relay = serving(true);
        assert_eq!(fetch(relay.address, "GET /health/ready").await.0, 200);
        let (status, page) = fetch(relay.address, "GET /metrics").await;
        assert!(status == 200 && page.contains("\nlandbridge_cache_entries{cache=\"sessions\"} 7\n"), "{page}");
        assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
        let (status, page) = fetch(relay.address, "GET /").await;
        assert!(status == 200 && page.contains("<td>sessions<td>remove_wins"), "{page}");
        assert!(page.contains("&lt;127.0.0.1:2&gt;"), "what others say is escaped: {page}");
        assert!(page.contains("site site3 is not &lt;configured&gt;"), "{page}");

        relay.ready.store(false, Ordering::SeqCst);
        let (status, answer) = fetch(relay.address, "GET /health/ready").await;
        assert!(status == 503 && answer.ends_with("not ready: filling from <site2>\n"), "{answer}");
        assert_eq!(fetch(relay.address, "GET /health/live").await.0, 200);
        assert!(fetch(relay.address, "GET /metrics").await.1.contains("\nlandbridge_ready 0\n"));
        assert!(fetch(relay.address, "GET /").await.1.contains("Not ready: filling from &lt;site2&gt;"));
    }

    #[tokio::test]
    async fn a_relay_that_recovers_is_alive_and_not_ready() {
        let relay = serving(false);
        assert_eq!(fetch(relay.address, "GET /health/live").await.0, 200);
        assert_eq!(fetch(relay.address, "GET /health/ready").await.0, 503);
        assert_eq!(fetch(relay.address, "GET /").await.0, 200);
    }

    #[tokio::test]
    async fn there_is_nothing_else_and_nothing_to_write() {
        let relay = serving(true);
        assert_eq!(fetch(relay.address, "GET /caches").await.0, 404);
        assert_eq!(fetch(relay.address, "POST /health/ready").await.0, 405);
    }

    #[tokio::test]
    async fn it_ends_when_told_to_and_frees_its_port() {
        let relay = serving(true);
        assert_eq!(fetch(relay.address, "GET /health/live").await.0, 200);
        relay.end.send(()).unwrap();
        relay.task.await.unwrap().unwrap();
        bind(relay.address).unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_in_plain_words() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let error = bind(first.address()).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }));
        assert!(error.to_string().contains("the port is in use"), "{error}");
    }

    #[tokio::test]
    async fn a_caller_that_says_nothing_does_not_stay() {
        let relay = serving_within(true, HttpBounds { connections: 1, age: Duration::from_millis(50) });
        let mut silent = TcpStream::connect(relay.address).await.unwrap();
        let mut nothing = Vec::new();
        silent.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
    }
}
