//! The agent's state machines by hand: no driver, no transport trait. Each machine says what it
//! wants signed, sent or saved, and hands over its next state for the result.
//!
//! The server is a `ServerDriver` over a store in memory, in the same process.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use fleet_core::code::EnrollmentCode;
use fleet_core::commit::NeedsSave;
use fleet_core::driver::{Founding, ServerDriver, ServerKeys};
use fleet_core::enrollment::agent::{Progress, begin as begin_enrollment};
use fleet_core::enrollment::server::{Confirm, CreateCode, Operator};
use fleet_core::handshake::agent::begin as begin_handshake;
use fleet_core::hpke;
use fleet_core::id::OrgId;
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey, RootSecretKey};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::OsRandom;
use fleet_core::store::{Actor, AgentState, MemoryServerStore, ServerStore as _};
use fleet_core::testing::{VirtualClock, block_on};
use fleet_core::time::Clock as _;

fn main() -> anyhow::Result<()> {
    block_on(enroll_and_handshake())
}

/// An agent's disk: whatever was saved last.
#[derive(Default)]
struct Disk(Option<AgentState>);

impl Disk {
    fn save<T>(&mut self, step: NeedsSave<T>) -> T {
        if let Some(state) = step.state() {
            self.0 = Some(state.clone());
        }
        step.saved()
    }
}

async fn enroll_and_handshake() -> anyhow::Result<()> {
    let clock = Arc::new(VirtualClock::default());
    let (server, operator) = server(clock.clone()).await?;
    let new = server.create_code(CreateCode::default(), &operator).await?;

    // The agent's host: a code comes in by hand, keys are made and kept.
    let mut disk = Disk::default();
    let code = EnrollmentCode::parse(new.code.as_ref().context("a managed root")?.expose())?;
    let keys = AgentSecretKeys::generate(&OsRandom)?;
    let name = Name::new("site-1")?;
    let proofs = disk.save(begin_enrollment(code, "https://fleet.example", name, keys.public()?, None)?);
    let [identity, miner_signing] = proofs.to_sign();
    let expect = proofs.signed([
        keys.identity.sign(identity.as_bytes()),
        keys.miner_signing.sign(miner_signing.as_bytes()),
    ])?;

    // The first answer: verified, saved, and a person agrees to join.
    let answer = server.register(expect.request().clone()).await?;
    let agent_id = answer.agent_id;
    let Progress::AskToJoin(ask) = disk.save(expect.answer(answer)?) else { bail!("expected a question") };
    println!("join {}? yes; the fingerprint is {}", ask.organization(), ask.fingerprint());
    let fingerprint = ask.fingerprint();
    let Progress::Wait(expect) = disk.save(ask.join()?) else { bail!("expected to wait") };

    // The operator types the fingerprint that the agent shows; the agent asks again.
    let enrollment_id = new.enrollment_id;
    server.confirm(Confirm { operator, agent_id, enrollment_id, fingerprint, certificate: None }).await?;
    clock.advance(std::time::Duration::from_secs(2));
    let answer = server.register(expect.request().clone()).await?;
    let Progress::Open(needs) = disk.save(expect.answer(answer)?) else { bail!("expected an api_key") };
    let opened = hpke::open(&keys.sealing, needs.info().as_bytes(), &[], needs.sealed())?;
    disk.save(needs.opened(&opened)?);

    // The handshake.
    let state = disk.0.clone().context("saved above")?;
    let api_key = state.api_key.clone().context("saved above")?;
    let expect = begin_handshake(state, api_key, clock.monotonic(), &OsRandom)?;
    let challenge = server.begin(expect.request()).await?;
    let needs = disk.save(expect.challenge(challenge, clock.monotonic())?).verify()?;
    let signature = keys.identity.sign(needs.to_sign().as_bytes());
    let expect = needs.signed(signature, clock.monotonic())?;
    let reply = server.complete(expect.request().clone()).await?;
    let online = disk.save(expect.session(reply, clock.monotonic())?);

    let caller = server.authenticate(&online.session.token.hash()).await?;
    ensure!(caller.agent_id == agent_id, "the session is another agent's");
    println!("agent {agent_id} is online");
    Ok(())
}

async fn server(clock: Arc<VirtualClock>) -> anyhow::Result<(ServerDriver, Operator)> {
    let store = Arc::new(MemoryServerStore::new());
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::generate(&OsRandom)?),
        Arc::new(CommandSecretKey::generate(&OsRandom)?),
    );
    let server = ServerDriver::new(store.clone(), clock, Arc::new(OsRandom), keys, Policy::default());
    let (org_id, actor) = (OrgId::new(1)?, Actor::System);
    let founding = Founding { org_id, name: Name::new("Acme")?, recovery: None, actor: actor.clone() };
    let step = server.found_organization(founding).await?;
    store.commit(step.change().clone()).await?;
    Ok((server, Operator { org_id, actor }))
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::unwrap_used)]
    fn it_runs() {
        super::main().unwrap();
    }
}
