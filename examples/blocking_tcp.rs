//! Enrollment and handshake over a blocking `TcpStream`, with the state machines by hand on both sides: no driver, no async
//! runtime. Each machine says what it wants loaded, signed, sent or saved, and hands over its next state for the result.
//!
//! Two threads speak over loopback: a byte for the call, four for the length, and the protobuf of `fleet-proto`.

use std::net::{TcpListener, TcpStream};
use std::{sync::Arc, sync::mpsc, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use fleet_agent::clock::SystemClock;
use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::enrollment::agent::{Progress, begin as begin_enrollment};
use fleet_core::enrollment::server::{CreateCode, Register, RegisterOutcome};
use fleet_core::handshake::agent::{Online, begin as begin_handshake};
use fleet_core::handshake::server::{Begin, Complete};
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey};
use fleet_core::store::{AgentState, MemoryServerStore, Query, ServerStore as _, Snapshot};
use fleet_core::{code::EnrollmentCode, fingerprint::Fingerprint, hpke, name::Name, policy::Policy};
use fleet_core::{random::OsRandom, testing::block_on, time::Clock as _};
use fleet_examples::{Acme, BEGIN, COMPLETE, REGISTER, acme, confirm, parse, receive, send};
use fleet_proto::agentgateway::v1;
use prost::Message as _;

/// What the server's store says at once, as it is in memory; one that blocks would be called here.
struct Server(Arc<MemoryServerStore>, Arc<CommandSecretKey>);

impl Server {
    /// What a machine asks for, as of one moment.
    fn load(&self, query: Query) -> anyhow::Result<Option<Snapshot>> {
        Ok(block_on(self.0.load(query))?)
    }

    /// The answer exists once the change does. Where records have changed meanwhile, the caller decides anew.
    fn commit<T>(&self, step: NeedsCommit<T>) -> anyhow::Result<T> {
        block_on(self.0.commit(step.change().clone()))?;
        Ok(step.committed())
    }

    fn answer(&self, call: u8, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (now, policy) = (SystemClock.now(), Policy::default());
        Ok(match call {
            REGISTER => {
                let register = Register::new(parse::<v1::RegisterRequest, _>(bytes)?);
                let found = self.load(register.query())?;
                match register.resolve(found, now, &policy, &OsRandom)? {
                    RegisterOutcome::Answer(step) => {
                        v1::RegisterResponse::from(&self.commit(*step)?).encode_to_vec()
                    }
                    RegisterOutcome::Refuse(step) => bail!(self.commit(step)?),
                }
            }
            BEGIN => {
                let begin = Begin::new(parse::<v1::BeginAuthHandshakeRequest, _>(bytes)?);
                let found = self.load(begin.query())?;
                let needs = begin.resolve(found, now, &policy, &OsRandom)?;
                let signature = self.1.sign(needs.to_sign().as_bytes());
                let answer = self.commit(needs.signed(signature)?)?;
                v1::BeginAuthHandshakeResponse::from(&answer).encode_to_vec()
            }
            _ => {
                let complete = Complete::new(parse::<v1::CompleteAuthHandshakeRequest, _>(bytes)?);
                let taken = block_on(self.0.take_challenge(complete.challenge()))?;
                let needs = complete.taken(taken, now)?;
                let found = self.load(needs.query())?;
                let step = needs.resolve(found, now, &policy, &OsRandom)?;
                v1::CompleteAuthHandshakeResponse::from(&self.commit(step.into())?).encode_to_vec()
            }
        })
    }
}

fn main() -> anyhow::Result<()> {
    let store = Arc::new(MemoryServerStore::new());
    let Acme { server: office, operator, command } = block_on(acme(store.clone()))?;
    let new = block_on(office.create_code(CreateCode::default(), &operator))?;
    let code = new.code.context("a managed root")?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, server) = (listener.local_addr()?, Server(store.clone(), command));
    thread::spawn(move || -> anyhow::Result<()> {
        let (mut stream, _) = listener.accept()?;
        loop {
            // An error ends the connection; its cause is not for the peer.
            let (call, message) = receive(&mut stream)?;
            send(&mut stream, call, &server.answer(call, &message)?)?;
        }
    });
    let (shows, shown) = mpsc::channel();
    let agent = thread::spawn(move || agent(TcpStream::connect(address)?, code.expose(), &shows));
    if let Ok(fingerprint) = shown.recv() {
        block_on(confirm(&office, store.as_ref(), operator, new.enrollment_id, fingerprint))?;
    }
    let online = agent.join().map_err(|_| anyhow!("the agent panicked"))??;
    let caller = block_on(office.authenticate(&online.session.token.hash()))?;
    println!("agent {} is online", caller.agent_id);
    Ok(())
}

/// Enrolls, shows its fingerprint, and comes online. `disk` stands for a file that is replaced whole.
fn agent(mut stream: TcpStream, code: &str, shows: &mpsc::Sender<Fingerprint>) -> anyhow::Result<Online> {
    let mut disk: Option<AgentState> = None;
    let mut call =
        |call, message: &[u8]| send(&mut stream, call, message).and_then(|()| Ok(receive(&mut stream)?.1));
    let keys = AgentSecretKeys::generate(&OsRandom)?;
    let (code, name) = (EnrollmentCode::parse(code)?, Name::new("site-1")?);
    let proofs = save(&mut disk, begin_enrollment(code, "tcp://localhost", name, keys.public()?, None)?);
    let [identity, miner_signing] = proofs.to_sign().map(|transcript| transcript.as_bytes().to_vec());
    let mut expect =
        proofs.signed([keys.identity.sign(&identity), keys.miner_signing.sign(&miner_signing)])?;
    let needs = loop {
        let answer = call(REGISTER, &v1::RegisterRequest::from(expect.request()).encode_to_vec())?;
        let mut progress = save(&mut disk, expect.answer(parse::<v1::RegisterResponse, _>(&answer)?)?);
        if let Progress::AskToJoin(ask) = progress {
            println!("join {}? yes; the fingerprint is {}", ask.organization(), ask.fingerprint());
            shows.send(ask.fingerprint())?;
            progress = save(&mut disk, ask.join()?);
        }
        match progress {
            Progress::Wait(again) => expect = *again,
            Progress::Open(needs) => break needs,
            Progress::AskToJoin(_) | Progress::NeedsApiKey => bail!("not in this order"),
        }
        thread::sleep(Duration::from_secs(2));
    };
    let opened = hpke::open(&keys.sealing, needs.info().as_bytes(), &[], needs.sealed())?;
    save(&mut disk, needs.opened(&opened)?);

    let state = disk.clone().context("saved above")?;
    let api_key = state.api_key.clone().context("saved above")?;
    let expect = begin_handshake(state, api_key, SystemClock.monotonic(), &OsRandom)?;
    let answer = call(BEGIN, &v1::BeginAuthHandshakeRequest::from(&expect.request()).encode_to_vec())?;
    let answer = parse::<v1::BeginAuthHandshakeResponse, _>(&answer)?;
    let needs = save(&mut disk, expect.challenge(answer, SystemClock.monotonic())?).verify()?;
    let signature = keys.identity.sign(needs.to_sign().as_bytes());
    let expect = needs.signed(signature, SystemClock.monotonic())?;
    let answer = call(COMPLETE, &v1::CompleteAuthHandshakeRequest::from(expect.request()).encode_to_vec())?;
    let answer = parse::<v1::CompleteAuthHandshakeResponse, _>(&answer)?;
    Ok(save(&mut disk, expect.session(answer, SystemClock.monotonic())?))
}

fn save<T>(disk: &mut Option<AgentState>, step: NeedsSave<T>) -> T {
    if let Some(state) = step.state() {
        *disk = Some(state.clone());
    }
    step.saved()
}
