use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Crashed, VirtualClock, catch_crash};
use crate::driver::{ServerDriver, ServerError};
use crate::enrollment::{RegisterRequest, RegisterResponse};
use crate::future::BoxFuture;
use crate::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::refusal::Refusal;
use crate::transport::{Transport, TransportError};

/// What happens to one call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is lost: the server never sees it.
    LoseRequest,
    /// The reply is lost: the server has acted.
    LoseReply,
    /// The request arrives twice; the agent gets the first reply.
    Duplicate,
    /// The reply takes this long.
    Delay(Duration),
}

/// A link from an agent to a server in the same process, with faults in the order they are given.
#[derive(Debug)]
pub struct FaultyLink {
    server: ServerDriver,
    clock: Arc<VirtualClock>,
    faults: Mutex<VecDeque<Fault>>,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("lost by the link")]
    Lost,
    #[error("the server crashed")]
    ServerCrashed,
}

impl FaultyLink {
    /// A link without faults.
    #[must_use]
    pub fn new(server: ServerDriver, clock: Arc<VirtualClock>) -> Self {
        Self { server, clock, faults: Mutex::default() }
    }

    /// The next calls meet these faults, one each; calls after that meet none.
    pub fn expect_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    async fn call<Q: Clone + Send, R: Send>(
        &self,
        request: Q,
        serve: fn(ServerDriver, Q) -> BoxFuture<'static, Result<R, ServerError>>,
    ) -> Result<R, TransportError> {
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let lost = || TransportError::Unreachable(Box::new(LinkError::Lost));
        let server = &self.server;
        let answer = |request| async move {
            match catch_crash(serve(server.clone(), request)).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(error)) => Err(TransportError::Refused(Refusal::from(error))),
                Err(Crashed(_)) => Err(TransportError::Unreachable(Box::new(LinkError::ServerCrashed))),
            }
        };
        match fault.unwrap_or(Fault::None) {
            Fault::None => answer(request).await,
            Fault::LoseRequest => Err(lost()),
            Fault::LoseReply => {
                let _ = answer(request).await;
                Err(lost())
            }
            Fault::Duplicate => {
                let first = answer(request.clone()).await;
                let _ = answer(request).await;
                first
            }
            Fault::Delay(by) => {
                let reply = answer(request).await;
                self.clock.advance(by);
                reply
            }
        }
    }
}

impl Transport for FaultyLink {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async { self.call(request, |s, r| Box::pin(async move { s.register(r).await })).await })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async { self.call(request, |s, r| Box::pin(async move { s.begin(r).await })).await })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async { self.call(request, |s, r| Box::pin(async move { s.complete(r).await })).await })
    }
}
