//! The accept loop: HTTP/1.1 and HTTP/2, in clear or over TLS.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleet_proto::rpc::ResponseBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connections::{Place, Room};
use super::metrics::Metrics;
use super::tls::Tls;

/// What it takes to tell HTTP/2 from HTTP/1.1 (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
/// A peer that is gone is noticed after both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls and streams at once on one connection.
const MAX_STREAMS: u32 = 256;
/// The least that hyper buffers of an HTTP/1.1 connection.
const LEAST_BUFFER: usize = 8 * 1024;

/// How long, and for how much, a connection without a handshake is kept for its peer to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// What holds for every connection of a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) room: Arc<Room>,
    pub(super) header_bytes: u32,
    /// How long a TLS handshake, the first bytes, and the headers of an HTTP/1.1 request may take.
    pub(super) handshake_timeout: Duration,
    /// How long what is open may go on when the server stops.
    pub(super) drain_timeout: Duration,
}

/// Accepts connections until `stop`, then lets open calls end within a deadline and cuts off what has not. Whether all
/// had ended. Every request has its connection's [`Place`] in its extensions.
pub(super) async fn accept<H, F>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    bounds: Bounds,
    metrics: Metrics,
    handler: H,
    stop: CancellationToken,
) -> bool
where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + 'static,
{
    let graceful = Arc::new(GracefulShutdown::new());
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept_one(&listener, &bounds.room) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let connection = metrics.connection();
        let watcher = graceful.watcher();
        let (tls, handler, stop, bounds) = (tls.clone(), handler.clone(), stop.clone(), bounds.clone());
        let cut = cut.clone();
        tokio::spawn(async move {
            let _held = connection;
            let seat = Arc::clone(&place);
            let served = async {
                let Some(tls) = tls else {
                    return serve(stream, peer, seat, &bounds, handler, watcher).await;
                };
                let handshake = tls.acceptor().accept(stream).into_fallible();
                let handshake = tokio::time::timeout(bounds.handshake_timeout, handshake);
                let Some(accepted) = stop.run_until_cancelled(handshake).await else { return };
                match accepted {
                    Ok(Ok(stream)) => serve(stream, peer, seat, &bounds, handler, watcher).await,
                    Ok(Err((error, stream))) => {
                        handshake_failed(peer, &error);
                        stop.run_until_cancelled(linger(stream)).await;
                    }
                    Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                }
            };
            tokio::select! {
                _ = cut.run_until_cancelled(served) => {}
                () = place.closing() => tracing::debug!(%peer, "a connection without credentials was closed"),
            }
        });
    }
    drop(listener);
    match Arc::try_unwrap(graceful) {
        Ok(graceful) => tokio::time::timeout(bounds.drain_timeout, graceful.shutdown()).await.is_ok(),
        Err(_) => false,
    }
}

/// Says why a handshake failed. A client that was asked for a certificate has an owner who will look for the reason.
fn handshake_failed(peer: SocketAddr, error: &io::Error) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::NoCertificatesPresented) => {
            tracing::info!(%peer, "a client was refused: it shows no certificate");
        }
        Some(rustls::Error::InvalidCertificate(problem)) => {
            tracing::info!(%peer, %problem, "a client was refused: its certificate is not valid");
        }
        Some(_) | None => tracing::debug!(%peer, %error, "a TLS handshake failed"),
    }
}

/// Closes a connection so that the peer gets the alert that was sent last: closed with bytes of the peer unread, it would
/// be reset, and the peer would know no cause.
async fn linger(mut stream: TcpStream) {
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, it is over.
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// A connection that must say something before long. HTTP's own time limits begin only when it is known which HTTP is
/// spoken, and that takes the first bytes.
struct Impatient<S> {
    stream: S,
    deadline: Pin<Box<tokio::time::Sleep>>,
    missing: usize,
}

impl<S> Impatient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, deadline: Box::pin(tokio::time::sleep(patience)), missing: PREFACE_BYTES }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.missing > 0 {
            let got = buffer.filled().len().saturating_sub(before);
            self.missing = self.missing.saturating_sub(got);
            if read.is_pending() && self.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The next connection that there is a place for; another is closed at once, so that its peer tries again later.
async fn accept_one(listener: &TcpListener, room: &Arc<Room>) -> Option<(TcpStream, SocketAddr, Arc<Place>)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let place = room.admit(peer.ip())?;
            // A delay of small answers is the only cost.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            let passing = matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::Interrupted
            );
            if !passing {
                // Out of file descriptors, most likely: others must close first.
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None
        }
    }
}

async fn serve<S, H, F>(
    stream: S,
    peer: SocketAddr,
    place: Arc<Place>,
    bounds: &Bounds,
    handler: H,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let headers = usize::try_from(bounds.header_bytes).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.handshake_timeout)
        .max_buf_size(headers.max(LEAST_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(bounds.header_bytes);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&place));
        handler(peer, request)
    });
    let stream = Impatient::new(stream, bounds.handshake_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
