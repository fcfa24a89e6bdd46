//! Counts Begins that the server refuses, so that a revoked agent stops asking (protocol
//! section 11).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fleet_core::{
    enrollment::{RegisterRequest, RegisterResponse},
    future::BoxFuture,
    handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse},
    refusal::Code,
    time::{Clock, Monotonic},
    transport::{Transport, TransportError},
};

/// So many Begins in a row answered `unauthenticated` ...
pub const BEGINS: u32 = 5;
/// ... over at least this long stop the agent.
pub const PERIOD: Duration = Duration::from_secs(600);

/// A transport that counts.
///
/// A Begin that is answered in any other way ends the row. One that is not answered at all says
/// nothing about the agent, so it neither counts nor ends the row.
#[derive(Debug)]
pub struct CountingTransport {
    inner: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    row: Mutex<Row>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    count: u32,
    first: Monotonic,
    last: Monotonic,
}

impl CountingTransport {
    /// Counts what goes through `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, row: Mutex::default() }
    }

    /// Whether the server has refused this agent often and long enough to believe it.
    #[must_use]
    pub fn is_refused_for_good(&self) -> bool {
        let row = *self.row.lock().unwrap_or_else(PoisonError::into_inner);
        row.count >= BEGINS && row.last.since(row.first) >= PERIOD
    }

    fn note(&self, answer: Result<&BeginResponse, &TransportError>) {
        let now = self.clock.monotonic();
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(TransportError::Refused(refusal)) if refusal.code == Code::Unauthenticated => {
                let first = if row.count == 0 { now } else { row.first };
                *row = Row { count: row.count.saturating_add(1), first, last: now };
            }
            Err(TransportError::Unreachable(_)) => {}
            Ok(_) | Err(_) => *row = Row::default(),
        }
    }
}

impl Transport for CountingTransport {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        self.inner.register(request)
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async {
            let answer = self.inner.begin(request).await;
            self.note(answer.as_ref());
            answer
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        self.inner.complete(request)
    }
}
