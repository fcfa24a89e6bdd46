//! The server's half of the handshake, and sessions.

use core::time::Duration;

use fleet_core::code::{ApiKey, SecretHash};
use fleet_core::handshake::server::{
    AgentIdentity, AuthError, Begin, Complete, NeedsAgent, NeedsServerSignature, check_session, end_delivery,
    take_over,
};
use fleet_core::handshake::{BeginRequest, CompleteRequest, CompleteResponse};
use fleet_core::id::AgentId;
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey, IdentityPublicKey, KeyError, KeyRole, Signature};
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    ActivityKind, Actor, AgentRecord, AgentStatus, ChallengeRecord, Changeset, Query, SessionRecord, Snapshot,
};
use fleet_core::testing::SeededRandom;
use fleet_core::time::UnixMillis;
use fleet_core::transcript::{Domain, Transcript};

use super::{Bench, MILLISECOND, Records as _, SECOND, put, server_keys};

const NONCE: [u8; 32] = [1; 32];
const OVERLAP: Duration = Duration::from_secs(60);
const UNCONFIRMED: [AgentStatus; 3] = [AgentStatus::Pending, AgentStatus::Revoked, AgentStatus::Discarded];

fn api_key(bench: &Bench) -> &ApiKey {
    bench.api_key.as_ref().unwrap()
}

fn other_identity() -> IdentityPublicKey {
    AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().identity.public()
}

fn other_command() -> CommandSecretKey {
    CommandSecretKey::from_seed(&[9; 32])
}

fn begin(bench: &Bench, found: &Snapshot) -> Result<NeedsServerSignature, AuthError> {
    let identity = *bench.public().identity().as_bytes();
    begin_with(bench, found, identity)
}

fn begin_with(
    bench: &Bench,
    found: &Snapshot,
    identity: [u8; 32],
) -> Result<NeedsServerSignature, AuthError> {
    let request = BeginRequest::new(api_key(bench).expose().to_owned(), identity, NONCE);
    let begin = Begin::new(request);
    assert_eq!(begin.query(), Query::AgentByApiKey(api_key(bench).hash()));
    begin.resolve(Some(found.clone()), bench.now(), &Policy::default(), &SeededRandom::new(5))
}

/// What both sides sign.
fn transcript(domain: Domain, record: &ChallengeRecord) -> Transcript {
    Transcript::new(domain)
        .field(record.command.as_bytes())
        .integer(record.agent_id.value())
        .field(record.identity.as_bytes())
        .field(&record.client_nonce)
        .field(&record.challenge)
        .time(record.server_time)
        .time(record.expires_at)
        .integer(record.last_sequence)
        .field(&record.manifest_hash)
}

/// The challenge that Begin made a second ago.
fn challenge(bench: &Bench) -> ChallengeRecord {
    let needs = begin(bench, &bench.agent()).unwrap();
    let signature = server_keys().1.sign(needs.to_sign().as_bytes());
    let step = needs.signed(signature).unwrap();
    bench.world.advance(SECOND);
    step.change().challenge.clone().unwrap()
}

/// Its answer, signed as it should be.
fn complete(bench: &Bench, record: &ChallengeRecord) -> Complete {
    let transcript = transcript(Domain::AuthAgent, record);
    let signature = bench.keys.identity.sign(transcript.as_bytes());
    Complete::new(CompleteRequest { challenge: record.challenge, signature })
}

fn taken(bench: &Bench, record: &ChallengeRecord) -> NeedsAgent {
    complete(bench, record).taken(Some(record.clone()), bench.now()).unwrap()
}

fn resolve(
    needs: NeedsAgent,
    found: &Snapshot,
    now: UnixMillis,
) -> Result<(Changeset, CompleteResponse), AuthError> {
    let step = needs.resolve(Some(found.clone()), now, &Policy::default(), &SeededRandom::new(6))?;
    Ok((step.change().clone(), step.committed()))
}

fn session(bench: &Bench, token: u8, created_at: UnixMillis, expires_at: UnixMillis) -> SessionRecord {
    SessionRecord {
        token: SecretHash::from_bytes([token; 32]),
        agent_id: bench.agent_id(),
        api_key: api_key(bench).hash(),
        identity: *bench.public().identity(),
        command: server_keys().1.public(),
        created_at,
        expires_at,
    }
}

#[test]
fn a_challenge_is_written_whole() {
    let bench = Bench::confirmed();
    let mut found = bench.agent();
    let now = bench.now();
    // The clock is below a sequence that was issued before, and above it.
    for (issued, last_sequence) in [(0, now.value()), (now.value() + 5, now.value() + 5)] {
        found.agt().last_sequence = issued;
        let held = found.agent.as_ref().unwrap();
        let needs = begin(&bench, &found).unwrap();
        assert_eq!(needs.agent_id(), held.record.id);
        let to_sign = needs.to_sign();
        let signature = server_keys().1.sign(to_sign.as_bytes());
        let step = needs.signed(signature).unwrap();
        let change = step.change().clone();
        let response = step.committed();
        let manifest = &found.organization.record.manifest;
        let record = ChallengeRecord {
            challenge: response.challenge,
            agent_id: held.record.id,
            api_key: api_key(&bench).hash(),
            identity: *bench.public().identity(),
            client_nonce: NONCE,
            command: server_keys().1.public(),
            server_time: now,
            expires_at: now.saturating_add(SECOND * 30),
            last_sequence: issued,
            manifest_hash: manifest.hash(),
        };
        assert_eq!(to_sign, transcript(Domain::AuthServer, &record));
        assert_eq!((response.server_time, response.expires_at), (now, record.expires_at));
        assert_eq!((response.last_sequence, response.signature), (issued, signature));
        assert_eq!(&response.manifest.manifest, manifest.manifest());
        let agent = AgentRecord { last_sequence, last_begin_at: Some(now), ..held.record.clone() };
        let expected =
            Changeset { agent: Some(put(agent, held)), challenge: Some(record), ..Changeset::default() };
        assert_eq!(change, expected);
    }
}

#[test]
fn begin_is_answered_four_times_a_second() {
    let bench = Bench::confirmed();
    let mut found = bench.agent();
    let (now, interval) = (bench.now(), Duration::from_millis(250));
    for (last, expected) in [
        (now.saturating_sub(SECOND), None),
        (now.saturating_sub(interval), None),
        (now.saturating_sub(interval - MILLISECOND), Some(MILLISECOND)),
        (now, Some(interval)),
        // The clock was set back.
        (now.saturating_add(MILLISECOND), None),
    ] {
        found.agt().last_begin_at = Some(last);
        match (begin(&bench, &found), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(retry_after)) => {
                assert_eq!(error, AuthError::TooSoon { retry_after });
                let refusal = Refusal::from(error);
                assert_eq!((refusal.code, refusal.retry_after), (Code::ResourceExhausted, Some(retry_after)));
            }
            (other, _) => panic!("{last:?}: {other:?}"),
        }
    }
}

#[test]
fn begin_asks_for_a_confirmed_agent_its_own_key_and_a_certificate() {
    let bench = Bench::confirmed();
    let found = bench.agent();
    for status in UNCONFIRMED {
        let mut found = found.clone();
        found.agt().status = status;
        let error = begin(&bench, &found).unwrap_err();
        assert_eq!(error, AuthError::Status { status });
        assert_eq!(Refusal::from(error).code, Code::Unauthenticated);
    }
    let other = *other_identity().as_bytes();
    assert_eq!(begin_with(&bench, &found, other).unwrap_err(), AuthError::Identity);
    let error = AuthError::Key(KeyError::SmallOrder { role: KeyRole::Identity });
    assert_eq!(begin_with(&bench, &found, [0; 32]).unwrap_err(), error);
    let mut changed = found.clone();
    changed.agt().certificate = None;
    let error = begin(&bench, &changed).unwrap_err();
    assert_eq!(error, AuthError::Inconsistent);
    assert_eq!(Refusal::from(error).code, Code::Internal);
    changed.agent = None;
    assert_eq!(begin(&bench, &changed).unwrap_err(), AuthError::ApiKey);
    let needs = begin(&bench, &found).unwrap();
    let signature = other_command().sign(needs.to_sign().as_bytes());
    let error = needs.signed(signature).unwrap_err();
    assert_eq!(error, AuthError::CommandKey);
    assert_eq!(Refusal::from(error).code, Code::Internal);
}

#[test]
fn a_challenge_is_taken_in_time_and_by_its_own_answer() {
    let bench = Bench::confirmed();
    let record = challenge(&bench);
    assert_eq!(complete(&bench, &record).challenge(), record.challenge);
    let take = |found: Option<ChallengeRecord>, now| complete(&bench, &record).taken(found, now).map(drop);
    let last = record.expires_at.saturating_sub(MILLISECOND);
    assert_eq!(take(Some(record.clone()), last), Ok(()));
    assert_eq!(take(Some(record.clone()), record.expires_at), Err(AuthError::ChallengeExpired));
    assert_eq!(take(None, last), Err(AuthError::Challenge));
    // A store that returns another one, of which the answer was signed all the same.
    let other = ChallengeRecord { challenge: [7; 32], ..record.clone() };
    let signature = bench.keys.identity.sign(transcript(Domain::AuthAgent, &other).as_bytes());
    let crossed = Complete::new(CompleteRequest { challenge: record.challenge, signature });
    assert_eq!(crossed.taken(Some(other), last).unwrap_err(), AuthError::Challenge);
    let wrong = CompleteRequest { challenge: record.challenge, signature: Signature::from_bytes([1; 64]) };
    let error = Complete::new(wrong).taken(Some(record), last).unwrap_err();
    assert_eq!(error, AuthError::Signature);
    assert_eq!(Refusal::from(error).code, Code::Unauthenticated);
}

#[test]
fn status_keys_and_time_are_asked_for_again_when_a_session_is_made() {
    let bench = Bench::confirmed();
    let record = challenge(&bench);
    let (found, now) = (bench.agent(), bench.now());
    let needs = taken(&bench, &record);
    assert_eq!(needs.query(), Query::AgentByApiKey(api_key(&bench).hash()));
    let refused = |change: &dyn Fn(&mut Snapshot)| {
        let mut found = found.clone();
        change(&mut found);
        resolve(taken(&bench, &record), &found, now).map(drop).unwrap_err()
    };
    for status in UNCONFIRMED {
        let error = refused(&|found| found.agt().status = status);
        assert_eq!(error, AuthError::Status { status });
    }
    let id = AgentId::new(999).unwrap();
    assert_eq!(refused(&|found| found.agt().id = id), AuthError::ApiKey);
    assert_eq!(refused(&|found| found.agent = None), AuthError::ApiKey);
    let other = AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().public().unwrap();
    assert_eq!(refused(&|found| found.agt().keys = other), AuthError::Identity);
    let another = ChallengeRecord { command: other_command().public(), ..record.clone() };
    let foreign = resolve(taken(&bench, &another), &found, now).map(drop).unwrap_err();
    assert_eq!(foreign, AuthError::Challenge);
    let last = record.expires_at.saturating_sub(MILLISECOND);
    resolve(taken(&bench, &record), &found, last).unwrap();
    let late = resolve(taken(&bench, &record), &found, record.expires_at).map(drop).unwrap_err();
    assert_eq!(late, AuthError::ChallengeExpired, "the second that storage took counts");
}

#[test]
fn a_session_is_written_whole_with_what_is_left_of_its_predecessor() {
    let bench = Bench::confirmed();
    let record = challenge(&bench);
    let (mut found, now) = (bench.agent(), bench.now());
    let held = found.agent.clone().unwrap();
    let ago = |time: Duration| now.saturating_sub(time);
    let ahead = |time: Duration| now.saturating_add(time);
    let made = |number, created_at, expires_at| session(&bench, number, created_at, expires_at);
    for (sessions, kept, created_at) in [
        (vec![], None, now),
        // It outlives its successor's birth by a minute, and no longer than it was to live.
        (vec![made(1, ago(SECOND), ahead(OVERLAP * 2))], Some((1, ahead(OVERLAP))), now),
        (vec![made(1, ago(SECOND), ahead(SECOND))], Some((1, ahead(SECOND))), now),
        (vec![made(1, ago(SECOND), ahead(MILLISECOND))], Some((1, ahead(MILLISECOND))), now),
        // It is over.
        (vec![made(1, ago(SECOND), now)], None, now),
        (vec![made(1, ago(SECOND), ago(MILLISECOND))], None, now),
        // The newer of two, wherever it stands.
        (
            vec![made(1, ago(SECOND), ahead(OVERLAP)), made(2, ago(MILLISECOND), ahead(SECOND))],
            Some((2, ahead(SECOND))),
            now,
        ),
        (
            vec![made(2, ago(MILLISECOND), ahead(SECOND)), made(1, ago(SECOND), ahead(OVERLAP))],
            Some((2, ahead(SECOND))),
            now,
        ),
        // The clock was set back: the new one is the newest all the same.
        (
            vec![made(1, ahead(SECOND), ahead(OVERLAP))],
            Some((1, ahead(OVERLAP))),
            ahead(SECOND + MILLISECOND),
        ),
    ] {
        found.sessions = sessions;
        let (change, response) = resolve(taken(&bench, &record), &found, now).unwrap();
        let expires_at = now.saturating_add(Policy::default().session_ttl);
        let mut expected = Vec::new();
        if let Some((number, expires_at)) = kept {
            let old = found.sessions.iter().find(|s| s.token == SecretHash::from_bytes([number; 32]));
            expected.push(SessionRecord { expires_at, ..old.unwrap().clone() });
        }
        let new = session(&bench, 0, created_at, expires_at);
        expected.push(SessionRecord { token: response.token.hash(), ..new });
        let mut line = bench.line(ActivityKind::SessionCreated, Some(held.record.id), None);
        line.actor = Actor::System;
        let expected = Changeset {
            organization_unchanged: Some((bench.operator.org_id, found.organization.version)),
            agent: Some(put(held.record.clone(), &held)),
            sessions: Some(expected),
            activity: vec![line],
            ..Changeset::default()
        };
        assert_eq!((change, response.expires_at), (expected, expires_at));
    }
}

#[test]
fn a_session_is_good_in_time_and_under_the_keys_of_its_handshake() {
    let bench = Bench::confirmed();
    let (mut found, now) = (bench.agent(), bench.now());
    let good = session(&bench, 1, now, now.saturating_add(MILLISECOND));
    found.sessions = vec![good.clone()];
    let identity = AgentIdentity {
        agent_id: bench.agent_id(),
        org_id: bench.operator.org_id,
        session: good.token,
        expires_at: good.expires_at,
    };
    assert_eq!(check_session(&good.token, Some(&found), now), Ok(identity));
    assert_eq!(take_over(&good.token, Some(&found), now).unwrap().committed(), identity);
    let refused = |found: &Snapshot, error: AuthError| {
        assert_eq!(check_session(&good.token, Some(found), now), Err(error));
        assert_eq!(take_over(&good.token, Some(found), now).map(drop), Err(error));
        assert_eq!(Refusal::from(error).code, Code::Unauthenticated);
    };
    for status in UNCONFIRMED {
        let mut found = found.clone();
        found.agt().status = status;
        refused(&found, AuthError::Status { status });
    }
    for (other, error) in [
        (SessionRecord { expires_at: now, ..good.clone() }, AuthError::Session),
        (SessionRecord { command: other_command().public(), ..good.clone() }, AuthError::Session),
        (SessionRecord { identity: other_identity(), ..good.clone() }, AuthError::Identity),
        (SessionRecord { token: SecretHash::from_bytes([2; 32]), ..good.clone() }, AuthError::Session),
    ] {
        found.sessions = vec![other];
        refused(&found, error);
    }
    found.sessions = vec![good.clone()];
    found.agent = None;
    refused(&found, AuthError::Session);
}

#[test]
fn a_call_under_a_session_ends_the_delivery_and_a_control_stream_the_predecessor_too() {
    let bench = Bench::confirmed();
    let (mut found, now) = (bench.agent(), bench.now());
    let held = found.agent.clone().unwrap();
    let delivered = AgentRecord { sealed_api_key: None, ..held.record.clone() };
    let ended = Changeset { agent: Some(put(delivered, &held)), ..Changeset::default() };
    assert_eq!(*end_delivery(&found).unwrap().change(), ended);
    let ends = now.saturating_add(OVERLAP);
    let [old, own, new] = [1, 2, 3].map(|number: u8| {
        let created_at = now.saturating_sub(SECOND * (10 - u32::from(number)));
        session(&bench, number, created_at, ends)
    });
    found.sessions = vec![old, own.clone(), new.clone()];
    let step = take_over(&own.token, Some(&found), now).unwrap();
    assert_eq!(*step.change(), Changeset { sessions: Some(vec![own, new]), ..ended });
    found.agt().sealed_api_key = None;
    assert!(end_delivery(&found).is_none());
}
