//! The handshake, end to end in memory: what either side refuses, and what a session is worth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;

use fleet_core::code::{ApiKey, SessionToken};
use fleet_core::commit::NeedsSave;
use fleet_core::driver::ServerError;
use fleet_core::handshake::agent::{ExpectChallenge, ExpectVerification, HandshakeError, begin};
use fleet_core::handshake::server::AuthError;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest};
use fleet_core::keys::{AgentKeyring, CommandSecretKey, RootSecretKey, Signature};
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SuccessionError};
use fleet_core::name::Name;
use fleet_core::refusal::{Code, Refusal, UNAUTHENTICATED};
use fleet_core::store::{AgentKeyStore as _, AgentState, AgentStore as _};
use fleet_core::testing::{AgentPeer, SeededRandom, World, block_on};
use fleet_core::time::Clock as _;

struct Enrolled {
    world: World,
    agent: AgentPeer,
}

impl Enrolled {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let agent = world.agent(0);
        let code = block_on(world.server.create_code());
        block_on(agent.enroll(&world, "site-1", &code)).unwrap();
        world.advance(Duration::from_secs(1));
        Self { world, agent }
    }

    fn state(&self) -> AgentState {
        block_on(self.agent.store.load()).unwrap().unwrap().record
    }

    fn keyring(&self) -> AgentKeyring {
        block_on(self.agent.keys.open()).unwrap().unwrap()
    }

    fn expect(&self) -> ExpectChallenge {
        let state = self.state();
        let api_key = state.api_key.clone().unwrap();
        begin(state, api_key, self.world.clock.monotonic(), &SeededRandom::new(77)).unwrap()
    }

    /// The server's honest answer to an agent that waits for it.
    fn challenge(&self) -> (ExpectChallenge, BeginResponse) {
        let expect = self.expect();
        let response = block_on(self.world.server.driver.begin(expect.request())).unwrap();
        (expect, response)
    }

    fn receive(
        &self,
        expect: ExpectChallenge,
        response: BeginResponse,
    ) -> Result<NeedsSave<ExpectVerification>, HandshakeError> {
        expect.challenge(response, self.world.clock.monotonic())
    }

    /// The agent gets this answer: does it sign?
    fn judge(&self, change: impl FnOnce(&mut BeginResponse)) -> Result<(), HandshakeError> {
        let (expect, mut response) = self.challenge();
        self.world.advance(Duration::from_secs(1));
        change(&mut response);
        self.receive(expect, response)?.saved().verify().map(|_| ())
    }

    /// A signature of the agent over an honest challenge.
    fn signed(&self) -> CompleteRequest {
        let (expect, response) = self.challenge();
        self.world.advance(Duration::from_secs(1));
        let needs = self.receive(expect, response).unwrap().saved().verify().unwrap();
        let signature = block_on(self.keyring().identity.sign(needs.to_sign().as_bytes())).unwrap();
        needs.signed(signature, self.world.clock.monotonic()).unwrap().request().clone()
    }
}

fn refused<T: core::fmt::Debug>(result: Result<T, ServerError>) -> AuthError {
    match result {
        Err(ServerError::Auth(error)) => {
            let refusal = Refusal::from(error);
            if refusal.code == Code::Unauthenticated {
                assert_eq!(refusal.message, UNAUTHENTICATED, "one text for every cause");
            }
            error
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn begin_is_refused_for_a_wrong_key_of_either_kind() {
    let e = Enrolled::new(1);
    let driver = &e.world.server.driver;
    let state = e.state();
    let (api_key, identity) = (state.api_key.unwrap(), *state.keys.identity().as_bytes());
    let request = |api_key: &str, identity| BeginRequest::new(api_key.to_owned(), identity, [1; 32]);
    let stranger = ApiKey::generate(&SeededRandom::new(1)).unwrap();
    assert_eq!(refused(block_on(driver.begin(request(stranger.expose(), identity)))), AuthError::ApiKey);
    assert_eq!(refused(block_on(driver.begin(request("", identity)))), AuthError::ApiKey);
    let other = *state.keys.miner_signing().as_bytes();
    assert_eq!(refused(block_on(driver.begin(request(api_key.expose(), other)))), AuthError::Identity);
    let low_order = refused(block_on(driver.begin(request(api_key.expose(), [0; 32]))));
    assert!(matches!(low_order, AuthError::Key(_)), "{low_order:?}");
}

#[test]
fn begin_is_answered_a_few_times_a_second() {
    let e = Enrolled::new(2);
    e.challenge();
    let too_soon = refused(block_on(e.world.server.driver.begin(e.expect().request())));
    assert_eq!(too_soon, AuthError::TooSoon { retry_after: Duration::from_millis(250) });
    e.world.advance(Duration::from_millis(250));
    e.challenge();
    // A wall clock that is set back locks nobody out.
    let back = e.world.clock.now().saturating_sub(Duration::from_secs(3600));
    e.world.clock.set_wall(back);
    e.challenge();
}

#[test]
fn a_challenge_works_once_whatever_happens() {
    let e = Enrolled::new(3);
    let driver = &e.world.server.driver;
    let request = e.signed();
    let bad = CompleteRequest { signature: Signature::from_bytes([1; 64]), ..request.clone() };
    assert_eq!(refused(block_on(driver.complete(bad))), AuthError::Signature);
    assert_eq!(refused(block_on(driver.complete(request))), AuthError::Challenge, "it was taken");
    let request = e.signed();
    block_on(driver.complete(request.clone())).unwrap();
    assert_eq!(refused(block_on(driver.complete(request))), AuthError::Challenge, "a replay");
}

#[test]
fn a_challenge_lives_30_seconds_and_until_the_next() {
    let e = Enrolled::new(4);
    let driver = &e.world.server.driver;
    let late = e.signed();
    e.world.advance(Duration::from_secs(29));
    assert_eq!(refused(block_on(driver.complete(late))), AuthError::ChallengeExpired);
    let (first, second) = (e.signed(), e.signed());
    assert_eq!(refused(block_on(driver.complete(first))), AuthError::Challenge, "it was replaced");
    block_on(driver.complete(second)).unwrap();
}

#[test]
fn the_agents_signature_covers_its_challenge_and_its_own_domain() {
    let e = Enrolled::new(5);
    let driver = &e.world.server.driver;
    let (expect, response) = e.challenge();
    // The server's own signature thrown back.
    let reflected = CompleteRequest { challenge: response.challenge, signature: response.signature };
    assert_eq!(refused(block_on(driver.complete(reflected))), AuthError::Signature);
    drop(expect);
    // A signature over another challenge.
    e.world.advance(Duration::from_secs(1));
    let old = e.signed();
    e.world.advance(Duration::from_secs(1));
    let (_, response) = e.challenge();
    let crossed = CompleteRequest { challenge: response.challenge, ..old };
    assert_eq!(refused(block_on(driver.complete(crossed))), AuthError::Signature);
}

#[test]
fn the_agent_signs_for_nobody_but_its_server() {
    let e = Enrolled::new(6);
    assert_eq!(e.judge(|_| {}), Ok(()));
    // Every field of the challenge is under the server's signature.
    let changes: [fn(&mut BeginResponse); 5] = [
        |r| r.challenge[0] ^= 1,
        |r| r.server_time = r.server_time.saturating_add(Duration::from_millis(1)),
        |r| r.expires_at = r.expires_at.saturating_add(Duration::from_millis(1)),
        |r| r.last_sequence += 1,
        |r| r.signature = Signature::from_bytes([1; 64]),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert_eq!(e.judge(change), Err(HandshakeError::ServerSignature), "change {at}");
    }
    assert_eq!(e.judge(|r| r.expires_at = r.server_time), Err(HandshakeError::Malformed));
    // Another key signs the very same fields.
    let impostor = CommandSecretKey::from_seed(&[66; 32]);
    let signed_by_another = e.judge(|r| r.signature = impostor.sign(b"whatever"));
    assert_eq!(signed_by_another, Err(HandshakeError::ServerSignature));
    // An answer to another nonce: a recorded challenge.
    let (_, recorded) = e.challenge();
    e.world.advance(Duration::from_secs(1));
    let state = e.state();
    let api_key = state.api_key.clone().unwrap();
    let other = begin(state, api_key, e.world.clock.monotonic(), &SeededRandom::new(78)).unwrap();
    let judged = e.receive(other, recorded).unwrap().saved().verify();
    assert_eq!(judged.map(|_| ()), Err(HandshakeError::ServerSignature));
}

#[test]
fn the_agent_refuses_another_certificate() {
    let e = Enrolled::new(7);
    let forged = e.judge(|r| r.certificate.0.key_epoch = 2);
    assert!(matches!(forged, Err(HandshakeError::Certificate(_))), "{forged:?}");
    // A certificate of the same root for another agent.
    let code = block_on(e.world.server.create_code());
    let second = e.world.agent(1);
    block_on(second.enroll(&e.world, "site-2", &code)).unwrap();
    e.world.advance(Duration::from_secs(1));
    let state = block_on(second.store.load()).unwrap().unwrap().record;
    let api_key = state.api_key.clone().unwrap();
    let expect = begin(state, api_key, e.world.clock.monotonic(), &SeededRandom::new(79)).unwrap();
    let theirs = block_on(e.world.server.driver.begin(expect.request())).unwrap();
    let swapped = e.judge(|r| r.certificate = theirs.certificate);
    assert_eq!(swapped, Err(HandshakeError::OtherCertificate));
    // Of this very agent and signed by the root, but under a name that it does not have.
    let renamed = e.judge(|r| {
        r.certificate.0.name = Name::new("site-3").unwrap();
        r.certificate.1 = root(7).sign(r.certificate.0.transcript().as_bytes());
    });
    assert_eq!(renamed, Err(HandshakeError::OtherCertificate));
}

/// The server's root key, which the world derives from its seed.
fn root(seed: u64) -> RootSecretKey {
    RootSecretKey::generate(&SeededRandom::new(seed)).unwrap()
}

fn resign(response: &mut BeginResponse, root: &RootSecretKey, change: impl FnOnce(&mut OrgManifest)) {
    change(&mut response.manifest.manifest);
    response.manifest.signature = root.sign(response.manifest.manifest.transcript().as_bytes());
}

#[test]
fn the_agent_takes_no_manifest_of_another_root_or_a_lower_epoch() {
    let e = Enrolled::new(8);
    let ours = root(8);
    let held = e.state().manifest.unwrap();
    assert_eq!(held.manifest().root, ours.public(), "the test knows the root");
    let rolled_back = e.judge(|r| resign(r, &ours, |m| m.epoch -= 1));
    let Err(HandshakeError::Succession(error)) = rolled_back else { panic!("{rolled_back:?}") };
    assert!(matches!(error, SuccessionError::Rollback { .. }));
    assert!(error.to_string().contains("restored from a backup and must issue a new manifest"));
    let forked = e.judge(|r| resign(r, &ours, |m| m.revoked.push(RevokedKeyId::from_bytes([1; 16]))));
    assert!(matches!(forked, Err(HandshakeError::Succession(SuccessionError::Fork { .. }))));
    let theirs = RootSecretKey::from_seed(&[9; 32]);
    let other_root = e.judge(|r| {
        resign(r, &theirs, |m| {
            m.root = theirs.public();
            m.epoch += 1;
        });
    });
    assert_eq!(other_root, Err(HandshakeError::Succession(SuccessionError::Root)));
    let unsigned = e.judge(|r| r.manifest.manifest.epoch += 1);
    assert!(matches!(unsigned, Err(HandshakeError::Manifest(_))));
    assert_eq!(e.state().manifest.unwrap(), held, "none of them is kept");
}

#[test]
fn a_newer_manifest_is_kept_before_the_rest_is_judged() {
    let e = Enrolled::new(9);
    let (expect, mut response) = e.challenge();
    resign(&mut response, &root(9), |m| m.epoch += 1);
    let step = e.receive(expect, response.clone()).unwrap();
    let kept = step.state().expect("the manifest is to be saved").manifest.clone().unwrap();
    assert_eq!(kept.manifest(), &response.manifest.manifest);
    // The server's signature binds the manifest that the server had in force.
    assert_eq!(step.saved().verify().map(|_| ()), Err(HandshakeError::ServerSignature));
}

#[test]
fn an_agent_that_the_manifest_revokes_does_not_sign() {
    let e = Enrolled::new(10);
    let own = RevokedKeyId::of(e.state().keys.identity());
    let revoked = e.judge(|r| {
        resign(r, &root(10), |m| {
            m.epoch += 1;
            m.revoked.push(own);
        });
    });
    assert_eq!(revoked, Err(HandshakeError::Revoked));
}

#[test]
fn a_reply_older_than_30_seconds_is_dropped() {
    let e = Enrolled::new(11);
    let (expect, response) = e.challenge();
    e.world.advance(Duration::from_millis(30_001));
    let stale = e.receive(expect, response).map(|_| ());
    assert_eq!(stale, Err(HandshakeError::Stale { took: Duration::from_millis(30_001) }));
    // Of Complete's reply it is counted from when Complete was sent.
    for (late, taken) in [(30_000, true), (30_001, false)] {
        let (expect, response) = e.challenge();
        e.world.advance(Duration::from_secs(20));
        let needs = e.receive(expect, response).unwrap().saved().verify().unwrap();
        let signature = block_on(e.keyring().identity.sign(needs.to_sign().as_bytes())).unwrap();
        let expect = needs.signed(signature, e.world.clock.monotonic()).unwrap();
        let session = block_on(e.world.server.driver.complete(expect.request().clone())).unwrap();
        e.world.advance(Duration::from_millis(late));
        let outcome = expect.session(session, e.world.clock.monotonic()).map(|_| ());
        let stale = Err(HandshakeError::Stale { took: Duration::from_millis(late) });
        assert_eq!(outcome, if taken { Ok(()) } else { stale });
    }
}

#[test]
fn server_time_at_the_agent_is_counted_from_the_sending_of_begin() {
    let e = Enrolled::new(12);
    let sent = e.world.clock.monotonic();
    let expect = e.expect();
    e.world.advance(Duration::from_secs(3));
    let response = block_on(e.world.server.driver.begin(expect.request())).unwrap();
    let at_server = response.server_time;
    e.world.advance(Duration::from_secs(2));
    let needs = e.receive(expect, response).unwrap().saved().verify().unwrap();
    let signature = block_on(e.keyring().identity.sign(needs.to_sign().as_bytes())).unwrap();
    let expect = needs.signed(signature, e.world.clock.monotonic()).unwrap();
    let reply = block_on(e.world.server.driver.complete(expect.request().clone())).unwrap();
    let now = e.world.clock.monotonic();
    let online = expect.session(reply, now).unwrap().saved();
    assert_eq!(online.server_time.at(sent), at_server);
    assert_eq!(online.server_time.at(now), at_server.saturating_add(Duration::from_secs(5)));
    // The agent's own wall clock has no part in it.
    e.world.clock.set_wall(fleet_core::time::UnixMillis::EPOCH);
    assert_eq!(
        online.server_time.at(e.world.clock.monotonic()),
        at_server.saturating_add(Duration::from_secs(5))
    );
}

#[test]
fn a_session_ends_in_time_and_with_its_agent() {
    let e = Enrolled::new(13);
    let driver = &e.world.server.driver;
    let session = block_on(e.agent.driver.handshake()).unwrap().session;
    let token = session.token.hash();
    let agent_id = block_on(driver.authenticate(&token)).unwrap().agent_id;
    let stranger = SessionToken::generate(&SeededRandom::new(3)).unwrap().hash();
    assert_eq!(refused(block_on(driver.authenticate(&stranger))), AuthError::Session);
    e.world.advance(session.expires_at.since(e.world.clock.now()).saturating_sub(Duration::from_millis(1)));
    block_on(driver.authenticate(&token)).unwrap();
    e.world.advance(Duration::from_millis(1));
    assert_eq!(refused(block_on(driver.authenticate(&token))), AuthError::Session);
    let session = block_on(e.agent.driver.handshake()).unwrap().session;
    e.world.advance(Duration::from_secs(1));
    let pending = e.signed();
    block_on(e.world.server.revoke(agent_id)).unwrap();
    assert_eq!(refused(block_on(driver.authenticate(&session.token.hash()))), AuthError::Session);
    assert_eq!(refused(block_on(driver.complete(pending))), AuthError::Challenge);
    assert_eq!(refused(block_on(driver.begin(e.expect().request()))), AuthError::ApiKey);
}

#[test]
fn a_predecessor_lives_60_seconds_or_until_a_control_stream_and_there_are_never_more_than_two() {
    let e = Enrolled::new(14);
    let driver = &e.world.server.driver;
    let session = || {
        e.world.advance(Duration::from_secs(1));
        block_on(e.agent.driver.handshake()).unwrap().session.token.hash()
    };
    let valid = |token: &_| block_on(driver.authenticate(token)).is_ok();
    let (one, two) = (session(), session());
    assert!(valid(&one) && valid(&two));
    let three = session();
    assert_eq!([valid(&one), valid(&two), valid(&three)], [false, true, true]);
    e.world.advance(Duration::from_secs(60));
    assert_eq!([valid(&two), valid(&three)], [false, true]);
    let four = session();
    block_on(driver.take_over(&four)).unwrap();
    assert_eq!([valid(&three), valid(&four)], [false, true]);
}
