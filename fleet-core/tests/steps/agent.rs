//! The agent's half of both: what it keeps, and what it takes for an answer.

use core::time::Duration;

use fleet_core::certificate::AgentCertificate;
use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::commit::NeedsSave;
use fleet_core::enrollment::agent::{
    self as enrolling, EnrollError, ExpectAnswer, NeedsProofs, Plan, Progress,
};
use fleet_core::enrollment::{RegisterResponse, api_key_info};
use fleet_core::handshake::agent::{self as online, ExpectSession, HandshakeError, Online, REPLY_LIMIT};
use fleet_core::handshake::{BeginResponse, CompleteResponse};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{AgentSecretKeys, KeyRole};
use fleet_core::manifest::{SignedManifest, SuccessionError};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::{AgentSession, AgentState, AgentStatus, Changeset, OrganizationRecord};
use fleet_core::testing::{SeededRandom, block_on};
use fleet_core::time::{Clock as _, Monotonic, UnixMillis};
use zeroize::Zeroizing;

use super::{Bench, MILLISECOND, SECOND, put, server_keys};

const SERVER: &str = "https://fleet.example";

fn code(bench: &Bench) -> EnrollmentCode {
    bench.code.code.clone().unwrap()
}

fn another_code() -> EnrollmentCode {
    EnrollmentCode::generate(fleet_core::manifest::Pin::from_bytes([7; 16]), &SeededRandom::new(1)).unwrap()
}

fn session(bench: &Bench) -> AgentSession {
    let token = SessionToken::generate(&SeededRandom::new(1)).unwrap();
    AgentSession { token, created_at: bench.now(), expires_at: bench.now() }
}

fn begin(bench: &Bench, server: &str, name: &str, state: Option<AgentState>) -> NeedsSave<NeedsProofs> {
    enrolling::begin(code(bench), server, Name::new(name).unwrap(), bench.public(), state).unwrap()
}

/// The state of an agent that has sent nothing yet.
fn fresh(bench: &Bench) -> AgentState {
    begin(bench, SERVER, "site-1", None).state().unwrap().clone()
}

fn proven(bench: &Bench, needs: NeedsProofs) -> ExpectAnswer {
    let [identity, miner_signing] = needs.to_sign();
    let proofs = [
        bench.keys.identity.sign(identity.as_bytes()),
        bench.keys.miner_signing.sign(miner_signing.as_bytes()),
    ];
    needs.signed(proofs).unwrap()
}

fn expecting(bench: &Bench, state: AgentState) -> ExpectAnswer {
    proven(bench, begin(bench, SERVER, "site-1", Some(state)).saved())
}

/// What the server answers now.
fn answer(bench: &Bench) -> RegisterResponse {
    bench.world.advance(SECOND);
    block_on(bench.world.server.driver.register(bench.request())).unwrap()
}

/// The state of an agent that was answered and joined.
fn joined(bench: &Bench, answer: RegisterResponse) -> AgentState {
    let step = expecting(bench, fresh(bench)).answer(answer).unwrap();
    let Progress::AskToJoin(ask) = step.saved() else { panic!("nobody is asked") };
    ask.join().unwrap().state().unwrap().clone()
}

/// A manifest that says the same under a later epoch.
fn later(manifest: &SignedManifest, by: i64) -> SignedManifest {
    let mut manifest = manifest.manifest().clone();
    manifest.epoch += by;
    let signature = server_keys().0.sign(manifest.transcript().as_bytes());
    SignedManifest::verify(manifest, signature).unwrap()
}

#[test]
fn keys_are_reused_with_the_same_code_until_a_session_was_made() {
    let bench = Bench::new();
    let api_key = || Some(ApiKey::generate(&SeededRandom::new(1)).unwrap());
    assert_eq!(enrolling::plan(None, &code(&bench)), Ok(Plan::MakeKeys));
    for (has_key, has_session, same, other) in [
        (false, false, Ok(Plan::ReuseKeys), Ok(Plan::MakeKeys)),
        (false, true, Ok(Plan::ReuseKeys), Ok(Plan::MakeKeys)),
        (true, false, Ok(Plan::ReuseKeys), Err(EnrollError::AlreadyEnrolled)),
        (true, true, Err(EnrollError::AlreadyEnrolled), Err(EnrollError::AlreadyEnrolled)),
    ] {
        let api_key = if has_key { api_key() } else { None };
        let session = has_session.then(|| session(&bench));
        let state = AgentState { api_key, session, ..fresh(&bench) };
        let planned = [code(&bench), another_code()].map(|code| enrolling::plan(Some(&state), &code));
        assert_eq!(planned, [same, other], "key: {has_key}, session: {has_session}");
    }
}

#[test]
fn what_an_agent_begins_with_is_kept_and_its_name_once_it_was_answered() {
    let bench = Bench::new();
    let new = fresh(&bench);
    assert_eq!((new.server.as_str(), new.name.as_str()), (SERVER, "site-1"));
    assert_eq!((new.code, new.keys), (code(&bench).hash(), bench.public()));
    assert!(new.manifest.is_none() && new.agent_id.is_none() && !new.joined);
    assert!(new.api_key.is_none() && new.session.is_none());
    let answered = joined(&bench, answer(&bench));
    for (state, server, name, is_saved, kept) in [
        (&new, SERVER, "site-1", false, "site-1"),
        (&new, "https://other.example", "site-1", true, "site-1"),
        (&new, SERVER, "site-2", true, "site-2"),
        (&new, "https://other.example", "site-2", true, "site-2"),
        (&answered, SERVER, "site-2", false, "site-1"),
        (&answered, "https://other.example", "site-2", true, "site-1"),
    ] {
        let step = begin(&bench, server, name, Some(state.clone()));
        assert_eq!(step.state().is_some(), is_saved, "{server} {name}");
        if let Some(saved) = step.state() {
            assert_eq!((saved.server.as_str(), saved.name.as_str()), (server, kept));
            assert_eq!(saved.manifest, state.manifest);
        }
        let expect = proven(&bench, step.saved());
        assert_eq!(expect.request().name.as_str(), kept, "what it registers as");
        assert_eq!(expect.request().expose_token(), code(&bench).expose());
        assert_eq!(expect.request().transcripts()[0], bench.request_of(kept, &bench.keys).transcripts()[0]);
    }
    let other = AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().public().unwrap();
    let name = || Name::new("site-1").unwrap();
    let error = enrolling::begin(code(&bench), SERVER, name(), other, Some(new.clone())).unwrap_err();
    assert_eq!(error, EnrollError::OtherKeys);
    // Of another code nothing is taken up.
    let step = enrolling::begin(another_code(), SERVER, name(), other, Some(answered)).unwrap();
    let state = step.state().unwrap();
    assert_eq!((state.code, state.keys, state.manifest.is_none()), (another_code().hash(), other, true));
}

#[test]
fn each_proof_is_verified_before_it_is_sent() {
    let bench = Bench::new();
    let needs = || begin(&bench, SERVER, "site-1", None).saved();
    let [identity, miner_signing] = needs().to_sign();
    let good = [
        bench.keys.identity.sign(identity.as_bytes()),
        bench.keys.miner_signing.sign(miner_signing.as_bytes()),
    ];
    needs().signed(good).unwrap();
    for (proofs, role) in [
        ([good[1], good[1]], KeyRole::Identity),
        ([good[0], good[0]], KeyRole::MinerSigning),
        ([good[0], bench.keys.miner_signing.sign(identity.as_bytes())], KeyRole::MinerSigning),
    ] {
        assert_eq!(needs().signed(proofs).unwrap_err(), EnrollError::Signer { role });
    }
}

#[test]
fn an_answer_is_kept_if_it_says_something_new() {
    let bench = Bench::new();
    let first = answer(&bench);
    let expect = expecting(&bench, fresh(&bench));
    assert_eq!(expect.fingerprint(), bench.public().fingerprint());
    let step = expect.answer(first.clone()).unwrap();
    let kept = step.state().unwrap().clone();
    let manifest = kept.manifest.clone().unwrap();
    assert_eq!(manifest.manifest(), &first.manifest.manifest);
    assert_eq!((kept.agent_id, kept.joined), (Some(first.agent_id), false));
    let Progress::AskToJoin(ask) = step.saved() else { panic!("nobody is asked") };
    assert_eq!(ask.organization().as_str(), "Acme");
    assert_eq!(ask.fingerprint(), bench.public().fingerprint());
    let state = joined(&bench, first.clone());
    assert!(state.joined);
    assert_eq!(ask.decline(), EnrollError::Declined);
    let step = expecting(&bench, state.clone()).answer(first.clone()).unwrap();
    assert!(step.state().is_none(), "nothing is new");
    assert!(matches!(step.saved(), Progress::Wait(_)));
    let newer = later(&manifest, 1);
    let step = expecting(&bench, state.clone())
        .answer(RegisterResponse { manifest: (&newer).into(), ..first.clone() })
        .unwrap();
    assert_eq!(step.state().unwrap().manifest, Some(newer));
    // A manifest without an id is no first answer's.
    let torn = AgentState { agent_id: None, ..state.clone() };
    let step = expecting(&bench, torn).answer(first.clone()).unwrap();
    assert_eq!(step.state().unwrap().agent_id, Some(first.agent_id));
    let refused = |answer| expecting(&bench, state.clone()).answer(answer).map(drop).unwrap_err();
    let other = AgentId::new(999).unwrap();
    assert_eq!(
        refused(RegisterResponse { agent_id: other, ..first.clone() }),
        EnrollError::WrongAgent { expected: first.agent_id, got: other }
    );
    let keys = AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().public().unwrap();
    assert_eq!(
        refused(RegisterResponse { fingerprint: keys.fingerprint(), ..first.clone() }),
        EnrollError::WrongFingerprint
    );
    let older = later(&manifest, -1);
    let (expected, got) = (manifest.manifest().epoch, older.manifest().epoch);
    assert_eq!(
        refused(RegisterResponse { manifest: (&older).into(), ..first }),
        EnrollError::Succession(SuccessionError::Rollback { expected, got })
    );
}

#[test]
fn each_status_is_what_it_says_and_the_api_key_is_kept_once_it_is_open() {
    let bench = Bench::confirmed();
    let answer = answer(&bench);
    let with = |status, sealed_api_key| RegisterResponse { status, sealed_api_key, ..answer.clone() };
    let state = joined(&bench, with(AgentStatus::Pending, None));
    let judge = |answer| expecting(&bench, state.clone()).answer(answer).map(NeedsSave::saved);
    assert!(matches!(judge(with(AgentStatus::Pending, Some(vec![1]))), Ok(Progress::Wait(_))));
    assert!(matches!(judge(with(AgentStatus::Confirmed, None)), Ok(Progress::NeedsApiKey)));
    assert_eq!(judge(with(AgentStatus::Revoked, None)).map(drop), Err(EnrollError::Revoked));
    assert_eq!(judge(with(AgentStatus::Discarded, None)).map(drop), Err(EnrollError::Discarded));
    let open = || match judge(answer.clone()) {
        Ok(Progress::Open(open)) => *open,
        other => panic!("{other:?}"),
    };
    let info = api_key_info(answer.agent_id, code(&bench).hash(), bench.public().sealing().as_bytes());
    assert_eq!(open().info(), info);
    assert_eq!(Some(open().sealed()), answer.sealed_api_key.as_deref());
    let api_key = bench.api_key.as_ref().unwrap().expose();
    let step = open().opened(&Zeroizing::new(api_key.as_bytes().to_vec())).unwrap();
    assert_eq!(step.state().unwrap().api_key.as_ref().unwrap().expose(), api_key);
    for none in [&b"fleet_"[..], &[0xff; 57]] {
        let error = open().opened(&Zeroizing::new(none.to_vec())).unwrap_err();
        assert_eq!(error, EnrollError::SealedApiKey);
    }
}

/// An agent that is enrolled and has the answer to its Begin, a second after it was sent.
struct Beginning {
    bench: Bench,
    state: AgentState,
    sent: Monotonic,
    response: BeginResponse,
}

impl Beginning {
    fn new(bench: Bench) -> Self {
        let state = joined(&bench, answer(&bench));
        let sent = bench.world.clock.monotonic();
        let request = expect(&bench, state.clone(), sent).request();
        assert_eq!(request.expose_api_key(), bench.api_key.as_ref().unwrap().expose());
        assert_eq!(&request.identity, bench.public().identity().as_bytes());
        let response = block_on(bench.world.server.driver.begin(request)).unwrap();
        bench.world.advance(SECOND);
        Self { bench, state, sent, response }
    }

    /// Up to what the agent would sign.
    fn judge(&self, change: impl FnOnce(&mut BeginResponse)) -> Result<(), HandshakeError> {
        let mut response = self.response.clone();
        change(&mut response);
        let received = self.bench.world.clock.monotonic();
        let expect = expect(&self.bench, self.state.clone(), self.sent);
        expect.challenge(response, received)?.saved().verify().map(drop)
    }

    /// Signed and sent, now.
    fn signed(&self) -> ExpectSession {
        let now = self.bench.world.clock.monotonic();
        let expect = expect(&self.bench, self.state.clone(), self.sent);
        let needs = expect.challenge(self.response.clone(), now).unwrap().saved().verify().unwrap();
        let signature = self.bench.keys.identity.sign(needs.to_sign().as_bytes());
        needs.signed(signature, now).unwrap()
    }

    /// A session until then, received some time after it was asked for.
    fn session(&self, expires_at: UnixMillis, after: Duration) -> Result<NeedsSave<Online>, HandshakeError> {
        let token = SessionToken::generate(&SeededRandom::new(1)).unwrap();
        let received = self.bench.world.clock.monotonic().saturating_add(after);
        self.signed().session(CompleteResponse { token, expires_at }, received)
    }
}

fn expect(bench: &Bench, state: AgentState, sent: Monotonic) -> online::ExpectChallenge {
    online::begin(state, bench.api_key.clone().unwrap(), sent, &SeededRandom::new(77)).unwrap()
}

#[test]
fn an_agent_that_was_not_answered_or_did_not_join_makes_no_handshake() {
    let bench = Bench::confirmed();
    let state = joined(&bench, answer(&bench));
    for not_enrolled in [
        AgentState { manifest: None, ..state.clone() },
        AgentState { agent_id: None, ..state.clone() },
        AgentState { joined: false, ..state },
    ] {
        let api_key = bench.api_key.clone().unwrap();
        let result =
            online::begin(not_enrolled, api_key, bench.world.clock.monotonic(), &SeededRandom::new(1));
        assert_eq!(result.map(drop), Err(HandshakeError::NotEnrolled));
    }
}

#[test]
fn a_reply_of_30_seconds_is_taken_and_a_longer_one_dropped() {
    let b = Beginning::new(Bench::confirmed());
    for (took, is_taken) in
        [(REPLY_LIMIT, true), (REPLY_LIMIT + MILLISECOND, false), (REPLY_LIMIT * 2, false)]
    {
        let dropped = if is_taken { Ok(()) } else { Err(HandshakeError::Stale { took }) };
        let expect = expect(&b.bench, b.state.clone(), b.sent);
        let judged = expect.challenge(b.response.clone(), b.sent.saturating_add(took));
        assert_eq!(judged.map(drop), dropped, "{took:?}");
        let expires_at = b.response.server_time.saturating_add(Duration::from_secs(3600));
        assert_eq!(b.session(expires_at, took).map(drop), dropped, "{took:?}");
    }
}

#[test]
fn a_certificate_must_be_the_agents_own_in_each_field() {
    let b = Beginning::new(Bench::confirmed());
    assert_eq!(b.judge(|_| {}), Ok(()));
    let changes: [fn(&mut AgentCertificate); 4] = [
        |c| c.org_id = OrgId::new(999).unwrap(),
        |c| c.agent_id = AgentId::new(999).unwrap(),
        |c| c.name = Name::new("site-2").unwrap(),
        |c| c.keys = AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().public().unwrap(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let judged = b.judge(|r| {
            change(&mut r.certificate.0);
            r.certificate.1 = server_keys().0.sign(r.certificate.0.transcript().as_bytes());
        });
        assert_eq!(judged, Err(HandshakeError::OtherCertificate), "change {at}");
    }
}

#[test]
fn times_and_sequences_out_of_order_are_malformed() {
    let b = Beginning::new(Bench::confirmed());
    for (life, last_sequence, is_malformed) in
        [(MILLISECOND, 0, false), (MILLISECOND, 1, false), (MILLISECOND, -1, true), (Duration::ZERO, 0, true)]
    {
        // What is not malformed is not what the server signed.
        let error = if is_malformed { HandshakeError::Malformed } else { HandshakeError::ServerSignature };
        let judged = b.judge(|r| {
            r.expires_at = r.server_time.saturating_add(life);
            r.last_sequence = last_sequence;
        });
        assert_eq!(judged, Err(error), "{life:?} {last_sequence}");
    }
}

#[test]
fn a_session_has_not_ended_when_it_comes_and_lasts_a_day_at_most() {
    let b = Beginning::new(Bench::confirmed());
    // Begin was sent a second ago, so that much has passed since the server told its time.
    let now = b.response.server_time.saturating_add(SECOND);
    let longest = now.saturating_add(Policy::MAX_SESSION_TTL);
    for (expires_at, is_taken) in [
        (b.response.server_time, false),
        (now, false),
        (now.saturating_add(MILLISECOND), true),
        (longest, true),
        (longest.saturating_add(MILLISECOND), false),
        (longest.saturating_add(SECOND), false),
    ] {
        let expected = if is_taken { Ok(()) } else { Err(HandshakeError::Malformed) };
        assert_eq!(b.session(expires_at, Duration::ZERO).map(drop), expected, "{expires_at:?}");
    }
}

#[test]
fn a_session_is_kept_with_its_api_key_and_renewed_at_two_thirds() {
    let b = Beginning::new(Bench::confirmed());
    assert!(b.state.api_key.is_none() && b.state.session.is_none());
    let server_time = b.response.server_time;
    let expires_at = server_time.saturating_add(Duration::from_secs(3600));
    let step = b.session(expires_at, Duration::ZERO).unwrap();
    let state = step.state().unwrap().clone();
    let kept = state.session.unwrap();
    assert_eq!((kept.created_at, kept.expires_at), (server_time, expires_at));
    assert_eq!(state.api_key.unwrap().expose(), b.bench.api_key.as_ref().unwrap().expose());
    let online = step.saved();
    assert_eq!(online.renew_at, server_time.saturating_add(Duration::from_secs(2400)));
    assert_eq!(online.session.token.expose(), kept.token.expose());
    assert_eq!(online.last_sequence, b.response.last_sequence);
}

#[test]
fn a_newer_manifest_is_still_there_once_the_session_is_kept() {
    let bench = Bench::confirmed();
    let state = joined(&bench, answer(&bench));
    let organization = bench.agent().organization;
    let newer = later(&organization.record.manifest, 1);
    let record = OrganizationRecord { manifest: newer.clone(), ..organization.record.clone() };
    let change = Changeset { organization: Some(put(record, &organization)), ..Changeset::default() };
    block_on(bench.world.server.store.commit(change)).unwrap();
    let sent = bench.world.clock.monotonic();
    let response =
        block_on(bench.world.server.driver.begin(expect(&bench, state.clone(), sent).request())).unwrap();
    let b = Beginning { bench, state: state.clone(), sent, response: response.clone() };
    let step = expect(&b.bench, state, sent).challenge(response.clone(), sent).unwrap();
    assert_eq!(step.state().unwrap().manifest.as_ref(), Some(&newer));
    let expires_at = response.server_time.saturating_add(Duration::from_secs(3600));
    let step = b.session(expires_at, Duration::ZERO).unwrap();
    let kept = step.state().unwrap().clone();
    assert_eq!(kept.manifest, Some(newer));
    // The same again is nothing new.
    let step = expect(&b.bench, kept, sent).challenge(response, sent).unwrap();
    assert!(step.state().is_none());
}
