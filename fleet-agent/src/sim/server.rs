//! The TCP side of a simulated miner: accepting, faults, killing and reviving.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fleet_core::future::BoxFuture;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// How a simulated miner misbehaves. New connections see the fault that is set when they are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// It takes connections and requests and never answers.
    Hang,
    /// It takes connections and closes them at once.
    Close,
    /// It answers with bytes that are not of its protocol.
    Garbage,
    /// It begins a well-formed answer and makes it this long.
    Flood {
        /// Length, in bytes.
        bytes: usize,
    },
    /// It begins a well-formed answer and goes on byte by byte.
    Drip {
        /// The pause before each byte.
        every: Duration,
    },
}

/// Which protocol a fault's answer begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    CgMiner,
    Http,
}

pub(super) type Handler = Arc<dyn Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// A simulated miner's listener. Dropping it kills the miner.
pub(super) struct Server {
    address: SocketAddr,
    wire: Wire,
    handler: Handler,
    fault: watch::Sender<Fault>,
    running: Mutex<Option<JoinSet<()>>>,
}

/// How many requests a miner works on and has worked on at the same time, and how long it takes
/// for each.
#[derive(Debug, Default)]
pub(super) struct Work {
    now: AtomicUsize,
    peak: AtomicUsize,
    latency: Mutex<Duration>,
}

impl Work {
    pub(super) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Takes the time that a request takes.
    pub(super) async fn on_request(&self) {
        let latency = *self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        let _done = Done(&self.now);
        if !latency.is_zero() {
            sleep(latency).await;
        }
    }
}

struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) async fn start(address: SocketAddr, wire: Wire, handler: Handler) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let server = Self {
            address: listener.local_addr()?,
            wire,
            handler,
            fault: watch::Sender::new(Fault::None),
            running: Mutex::new(None),
        };
        server.accept_on(listener);
        Ok(server)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Closes the listener and every connection, and returns when they are closed.
    pub(super) async fn kill(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut running) = running {
            running.shutdown().await;
        }
    }

    pub(super) async fn revive(&self) -> io::Result<()> {
        self.kill().await;
        self.accept_on(TcpListener::bind(self.address).await?);
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener) {
        let handler = Arc::clone(&self.handler);
        let fault = self.fault.subscribe();
        let wire = self.wire;
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        let fault = *fault.borrow();
                        let handler = Arc::clone(&handler);
                        connections.spawn(async move {
                            if fault == Fault::None {
                                handler(stream).await;
                            } else {
                                // The client sees a connection that ends; nothing is to be reported.
                                drop(misbehave(stream, fault, wire).await);
                            }
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }
}

/// One request of the cgminer API; `None` if the client goes away or sends none. Requests end with
/// a newline or with nothing at all: they are whole when they parse.
pub(super) async fn cgminer_request(stream: &mut TcpStream) -> io::Result<Option<Value>> {
    const LONGEST: usize = 64 * 1024;
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await?;
        request.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Ok(request) = serde_json::from_slice(&request) {
            return Ok(Some(request));
        }
        if count == 0 || request.len() > LONGEST {
            return Ok(None);
        }
    }
}

async fn misbehave(mut stream: TcpStream, fault: Fault, wire: Wire) -> io::Result<()> {
    static CHUNK: [u8; 64 * 1024] = [b'a'; 64 * 1024];
    if fault == Fault::Close {
        return Ok(());
    }
    let mut request = [0; 4096];
    let received = stream.read(&mut request).await?;
    if received == 0 {
        return Ok(());
    }
    let opening = |length: usize| match wire {
        Wire::CgMiner => br#"{"STATUS":[{"STATUS":"S"}],"FILL":""#.to_vec(),
        Wire::Http => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
            format!("{head} {length}\r\n\r\n{{\"cb_sn\":\"").into_bytes()
        }
    };
    match fault {
        Fault::None | Fault::Close => Ok(()),
        Fault::Hang => {
            // Until the client gives up.
            while stream.read(&mut request).await? > 0 {}
            Ok(())
        }
        Fault::Garbage => {
            stream.write_all(b"\x16\x03\xff\xfe not what you asked for \x00\x01\r\n\r\n").await?;
            stream.shutdown().await
        }
        Fault::Flood { bytes } => {
            stream.write_all(&opening(bytes)).await?;
            let mut sent = 0;
            while sent < bytes {
                stream.write_all(&CHUNK).await?;
                sent += CHUNK.len();
            }
            stream.shutdown().await
        }
        Fault::Drip { every } => {
            stream.write_all(&opening(1_000_000)).await?;
            loop {
                sleep(every).await;
                stream.write_all(b"a").await?;
            }
        }
    }
}
