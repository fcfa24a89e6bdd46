//! What examples over the crates share: an organization on a server, and calls off a wire of their own. The README beside this file says which to read first.

pub mod records;

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use fleet_agent::clock::SystemClock;
use fleet_core::driver::{Founding, ServerDriver, ServerKeys};
use fleet_core::enrollment::server::{Confirm, Operator};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::{CommandSecretKey, RootSecretKey};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::OsRandom;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{Actor, Query, ServerStore};
use fleet_proto::agentgateway::v1;
use fleet_proto::convert::ConvertError;
use fleet_proto::validate::Validate;
use prost::Message as _;

/// A server and its organization.
#[derive(Debug)]
pub struct Acme {
    /// Answers calls.
    pub server: ServerDriver,
    /// The key that signs the server's half of handshakes.
    pub command: Arc<CommandSecretKey>,
    /// Who makes codes and confirms agents.
    pub operator: Operator,
}

/// A server over a store, with an organization whose root it manages, and the organization's operator.
///
/// # Errors
/// Whatever fails.
///
/// # Cancel safety
/// Dropped, it has stored the organization or not. The future is `Send`; it does not panic.
pub async fn acme(store: Arc<dyn ServerStore>) -> anyhow::Result<Acme> {
    // A server keeps these two in files that its user alone can read.
    let root = Arc::new(RootSecretKey::generate(&OsRandom)?);
    let command = Arc::new(CommandSecretKey::generate(&OsRandom)?);
    let (keys, policy) = (ServerKeys::managed(root, command.clone()), Policy::default());
    let server =
        ServerDriver::new(Arc::clone(&store), Arc::new(SystemClock), Arc::new(OsRandom), keys, policy);
    let operator = Operator { org_id: OrgId::new(1)?, actor: Actor::System };
    let (org_id, actor) = (operator.org_id, operator.actor.clone());
    let founding = Founding { org_id, name: Name::new("Acme Mining")?, recovery: None, actor };
    let step = server.found_organization(founding).await?;
    store.commit(step.change().clone()).await?;
    step.committed();
    Ok(Acme { server, command, operator })
}

/// The operator types the fingerprint that the agent shows, to the agent that registered with a code.
///
/// # Errors
/// Whatever fails, a fingerprint that is another's above all.
///
/// # Cancel safety
/// Dropped, it has confirmed the agent or not. The future is `Send`; it does not panic.
pub async fn confirm(
    driver: &ServerDriver,
    store: &dyn ServerStore,
    operator: Operator,
    enrollment_id: EnrollmentId,
    fingerprint: Fingerprint,
) -> anyhow::Result<AgentId> {
    let found = store.load(Query::Enrollment(enrollment_id)).await?;
    let agent_id = found.and_then(|found| found.agent).context("nobody has registered")?.record.id;
    driver.confirm(Confirm { operator, agent_id, enrollment_id, fingerprint, certificate: None }).await?;
    Ok(agent_id)
}

/// Register on the wires of these examples.
pub const REGISTER: u8 = 0;
/// BeginAuthHandshake.
pub const BEGIN: u8 = 1;
/// CompleteAuthHandshake.
pub const COMPLETE: u8 = 2;

/// What a server answers to a call: the messages of `fleet-proto`, whatever carries them.
///
/// # Errors
/// [`Refusal`], which is what the peer may know; the cause is for the server's log.
///
/// # Cancel safety
/// As the driver's: what was stored stays, whole, and the call may be made again. The future is `Send`; it does not panic.
pub async fn answer(driver: &ServerDriver, call: u8, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let invalid = |error: anyhow::Error| Refusal {
        code: Code::InvalidArgument,
        message: error.to_string(),
        retry_after: None,
    };
    Ok(match call {
        REGISTER => {
            let request = parse::<v1::RegisterRequest, _>(bytes).map_err(invalid)?;
            v1::RegisterResponse::from(&driver.register(request).await?).encode_to_vec()
        }
        BEGIN => {
            let request = parse::<v1::BeginAuthHandshakeRequest, _>(bytes).map_err(invalid)?;
            v1::BeginAuthHandshakeResponse::from(&driver.begin(request).await?).encode_to_vec()
        }
        COMPLETE => {
            let request = parse::<v1::CompleteAuthHandshakeRequest, _>(bytes).map_err(invalid)?;
            v1::CompleteAuthHandshakeResponse::from(&driver.complete(request).await?).encode_to_vec()
        }
        _ => return Err(invalid(anyhow!("there is no such call"))),
    })
}

/// Writes a message to a wire that blocks: a byte for the call, four for the length, the message.
///
/// # Errors
/// Whatever the wire says.
pub fn send(wire: &mut impl Write, call: u8, message: &[u8]) -> anyhow::Result<()> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok(wire.write_all(&[&[call], &length[..], message].concat())?)
}

/// Reads a message from a wire that blocks.
///
/// # Errors
/// Whatever the wire says, and that it is longer than any of these calls is.
pub fn receive(wire: &mut impl Read) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    wire.read_exact(&mut head)?;
    let [call, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(length <= 16 * 1024, "the message is too long");
    let mut message = vec![0; length];
    wire.read_exact(&mut message)?;
    Ok((call, message))
}

/// A message as it came over some wire, as the type that the state machines take: its rules are checked first, then the
/// form of its fields. Keys and signatures are the machines' to judge.
///
/// # Errors
/// What is wrong with it, by field.
pub fn parse<M, T>(bytes: &[u8]) -> anyhow::Result<T>
where
    M: prost::Message + Default + Validate,
    T: TryFrom<M, Error = ConvertError>,
{
    let message = M::decode(bytes)?;
    message.validate()?;
    Ok(message.try_into()?)
}
