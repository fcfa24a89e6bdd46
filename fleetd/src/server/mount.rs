//! What the server serves, on a listener of somebody else's.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use fleet_proto::rpc::ResponseBody;
use http::{Request, Response};
use hyper::body::Incoming;

use super::auth::guard_of;
use super::connections::{Place, Room};
use super::http::Front;

/// What a [`Server`](super::Server) serves, for a listener that you run: its calls beside routes of your own, at one
/// address. [`Server::mount`](super::Server::mount) gives it. Cheap to clone.
///
/// For each connection that you accept ask for a [`Connection`], and give it the requests whose path
/// [`Mount::serves`]; it is a hyper service. Agents speak HTTP/2 (in clear, by prior knowledge, where there is no TLS),
/// scripts and browsers HTTP/1.1: hyper-util's `auto` serves both.
///
/// All limits of the server hold that are about calls, callers and how many connections there are. What a connection
/// may do below that is yours to bound: TLS and clients' certificates, the time that headers take, how many streams
/// HTTP/2 may open. Whoever listens beyond loopback without TLS is not refused here, and must know why. Await
/// [`Connection::closing`] and close then: a connection that is not closed keeps the place of another.
///
/// The [`Server`](super::Server) must outlive its mounts: once it was stopped, every call is answered `unavailable`, and
/// once it was dropped, nothing keeps another process from its data directory.
#[derive(Debug, Clone)]
pub struct Mount {
    front: Front,
    room: Arc<Room>,
}

impl Mount {
    pub(super) const fn new(front: Front, room: Arc<Room>) -> Self {
        Self { front, room }
    }

    /// Whether the server answers this path: every procedure, `/healthz`, `/metrics`, and the link to set the server up
    /// by. What else there is, is yours.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        guard_of(path).is_some() || matches!(path, "/healthz" | "/metrics") || path.starts_with("/setup/")
    }

    /// A place for a connection that was accepted from `peer`, which is whom the server counts its calls for. `None` if
    /// there are as many as there may be: close it at once, and its peer tries again later.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    #[must_use]
    pub fn connection(&self, peer: SocketAddr) -> Option<Connection> {
        let place = self.room.admit(peer.ip())?;
        Some(Connection { front: self.front.clone(), peer, place })
    }
}

/// One connection to a [`Mount`]. Its place is free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    front: Front,
    peer: SocketAddr,
    place: Arc<Place>,
}

impl Connection {
    /// Waits until the connection is to be closed: it has asked for nothing in a while, or it has shown no credentials
    /// and somebody else needs its place. Whoever serves it selects between the two, and closes it then.
    ///
    /// # Cancel safety
    /// May be dropped and called again: it waits for the same. The future is `Send`. It does not panic within a tokio
    /// runtime.
    pub async fn closing(&self) {
        self.place.closing().await;
    }
}

impl hyper::service::Service<Request<Incoming>> for Connection {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Answers a request.
    ///
    /// # Cancel safety
    /// A future that is dropped is a caller that went away: what was stored stays, whole, and the call may be made again.
    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.place));
        Box::pin(self.front.clone().answer(self.peer, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_servers_or_it_is_not() {
        for ours in [
            "/agentgateway.v1.AgentGatewayService/Register",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/healthz",
            "/metrics",
            "/setup/abc",
        ] {
            assert!(Mount::serves(ours), "{ours}");
        }
        for yours in ["/", "", "/setup", "/metrics/", "/agentgateway.v1.AgentGatewayService", "/hello"] {
            assert!(!Mount::serves(yours), "{yours}");
        }
    }
}
