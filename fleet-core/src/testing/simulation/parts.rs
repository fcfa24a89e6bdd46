//! What a simulation runs, and where parts of your own take their place.

use core::fmt::Debug;
use std::sync::Arc;

use super::StoreDump;
use crate::code::{ApiKey, SecretHash};
use crate::driver::{ServerDriver, ServerError};
use crate::enrollment::server::{Confirm, CreateCode, Operator, Revoke};
use crate::enrollment::{NewCode, RegisterRequest, RegisterResponse};
use crate::future::BoxFuture;
use crate::handshake::server::AgentIdentity;
use crate::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::id::EnrollmentId;
use crate::store::{AgentStore, MemoryAgentStore, MemoryServerStore, ServerStore};

/// A call of a server, by whomever.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums, reason = "a service must answer every call")]
pub enum Call {
    /// CreateEnrollmentCode.
    CreateCode(Operator),
    /// Register.
    Register(RegisterRequest),
    /// BeginAuthHandshake.
    Begin(BeginRequest),
    /// CompleteAuthHandshake.
    Complete(CompleteRequest),
    /// Any call under a session.
    Authenticate(SecretHash),
    /// A session opens a control stream.
    TakeOver(SecretHash),
    /// ConfirmAgent.
    Confirm(Confirm),
    /// CancelEnrollment.
    Cancel(EnrollmentId, Operator),
    /// RevokeAgent.
    Revoke(Revoke),
    /// The server's own sweep of what is due.
    Sweep,
}

/// What a server answers.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums, reason = "as Call")]
pub enum Reply {
    /// To [`Call::CreateCode`].
    Code(NewCode),
    /// To [`Call::Register`].
    Registered(RegisterResponse),
    /// To [`Call::Begin`].
    Begun(BeginResponse),
    /// To [`Call::Complete`].
    Completed(CompleteResponse),
    /// To [`Call::Authenticate`] and [`Call::TakeOver`].
    Caller(AgentIdentity),
    /// To [`Call::Confirm`].
    Confirmed(ApiKey),
    /// To [`Call::Cancel`], [`Call::Revoke`] and [`Call::Sweep`].
    Done,
}

/// Answers the calls of a server. [`ServerDriver`] does; so may a server of yours, or one that is broken on purpose.
///
/// The future must wait for nothing but the store that it was given: the simulation stops it there, and drops it when
/// the server crashes.
pub trait Service: Debug + Send + Sync {
    /// Answers one call.
    ///
    /// # Cancel safety
    /// Dropped, it is a server that crashed: what the store has committed stays, and nothing else. The future must be
    /// `Send`. A panic is a crash too.
    fn serve(&self, call: Call) -> BoxFuture<'static, Result<Reply, ServerError>>;
}

impl Service for ServerDriver {
    fn serve(&self, call: Call) -> BoxFuture<'static, Result<Reply, ServerError>> {
        let driver = self.clone();
        Box::pin(async move {
            Ok(match call {
                Call::CreateCode(operator) => {
                    Reply::Code(driver.create_code(CreateCode::default(), &operator).await?)
                }
                Call::Register(request) => Reply::Registered(driver.register(request).await?),
                Call::Begin(request) => Reply::Begun(driver.begin(request).await?),
                Call::Complete(request) => Reply::Completed(driver.complete(request).await?),
                Call::Authenticate(token) => Reply::Caller(driver.authenticate(&token).await?),
                Call::TakeOver(token) => Reply::Caller(driver.take_over(&token).await?),
                Call::Confirm(request) => Reply::Confirmed(driver.confirm(request).await?),
                Call::Cancel(enrollment, operator) => {
                    driver.cancel(enrollment, &operator).await?;
                    Reply::Done
                }
                Call::Revoke(request) => {
                    driver.revoke(request).await?;
                    Reply::Done
                }
                Call::Sweep => {
                    driver.sweep(u32::MAX).await?;
                    Reply::Done
                }
            })
        })
    }
}

/// A server's store that shows everything it holds.
pub trait Inspect: ServerStore {
    /// Everything, as of one moment. The simulation compares and searches it, so what is left out is not tested.
    fn dump(&self) -> StoreDump;

    /// The server crashed and starts again: what was not durable is lost now.
    fn crashed(&self) {}
}

impl Inspect for MemoryServerStore {
    fn dump(&self) -> StoreDump {
        StoreDump::from(self.tables())
    }
}

/// Makes the parts of a simulation. Each has a default, the one of this crate.
pub trait Parts {
    /// The server's store, empty.
    fn server_store(&self) -> Arc<dyn Inspect> {
        Arc::new(MemoryServerStore::new())
    }

    /// The server, when it starts and whenever it starts again. `driver` is this crate's, over `store`.
    fn service(&self, driver: ServerDriver, store: Arc<dyn ServerStore>) -> Arc<dyn Service> {
        let _ = store;
        Arc::new(driver)
    }

    /// An agent's store, empty.
    fn agent_store(&self) -> Arc<dyn AgentStore> {
        Arc::new(MemoryAgentStore::new())
    }
}

/// This crate's own parts.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing to it")]
pub struct Sound;

impl Parts for Sound {}
