//! Codes, registration, and the end of an enrollment.

use fleet_core::enrollment::RegisterResponse;
use fleet_core::enrollment::server::{
    CreateCode, CreateCodeError, EndError, Operator, Register, RegisterError, RegisterOutcome, cancel,
    create_code, expire,
};
use fleet_core::id::OrgId;
use fleet_core::keys::{AgentSecretKeys, KeyRole};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    ActivityKind, Actor, AgentKind, AgentRecord, AgentStatus, Changeset, EnrollmentRecord, EnrollmentState,
    Query, Snapshot,
};
use fleet_core::testing::SeededRandom;
use fleet_core::time::UnixMillis;

use super::{Bench, MILLISECOND, Records as _, SECOND, put, put_new};

fn resolve(bench: &Bench, found: &Snapshot, now: UnixMillis) -> Result<RegisterOutcome, RegisterError> {
    let register = Register::new(bench.request());
    register.resolve(Some(found.clone()), now, &Policy::default(), &SeededRandom::new(2))
}

fn answered(outcome: Result<RegisterOutcome, RegisterError>) -> (Changeset, RegisterResponse) {
    let Ok(RegisterOutcome::Answer(step)) = outcome else { panic!("{outcome:?}") };
    (step.change().clone(), step.committed())
}

/// Refused as a second use, which is written.
fn noted(outcome: Result<RegisterOutcome, RegisterError>) -> Changeset {
    let Ok(RegisterOutcome::Refuse(step)) = outcome else { panic!("{outcome:?}") };
    let change = step.change().clone();
    assert_eq!(step.committed(), RegisterError::SecondUse);
    change
}

#[test]
fn a_code_is_written_whole_and_lives_from_a_minute_to_seven_days() {
    let bench = Bench::new();
    let (operator, now) = (&bench.operator, bench.now());
    let found = bench.load(Query::Organization(operator.org_id));
    let make = |ttl| {
        let request = CreateCode { ttl, code_sha256: None };
        create_code(request, operator, &found, now, &Policy::default(), &SeededRandom::new(1))
    };
    let step = make(None).unwrap();
    let change = step.change().clone();
    let new = step.committed();
    let expires_at = now.saturating_add(Policy::default().code_ttl);
    let enrollment = EnrollmentRecord {
        id: new.enrollment_id,
        org_id: operator.org_id,
        code: new.code.as_ref().unwrap().hash(),
        state: EnrollmentState::Pending,
        created_at: now,
        expires_at,
        agent_id: None,
        answered_at: None,
        second_uses: 0,
        second_use_at: None,
    };
    let expected = Changeset {
        organization_unchanged: Some((operator.org_id, found.organization.version)),
        enrollment: Some(put_new(enrollment)),
        activity: vec![bench.line(ActivityKind::CodeCreated, None, Some(new.enrollment_id))],
        ..Changeset::default()
    };
    assert_eq!((change, new.expires_at), (expected, expires_at));
    for ttl in [Policy::MIN_CODE_TTL, Policy::MAX_CODE_TTL] {
        assert_eq!(make(Some(ttl)).unwrap().committed().expires_at, now.saturating_add(ttl));
    }
    for got in [Policy::MIN_CODE_TTL - MILLISECOND, Policy::MAX_CODE_TTL + MILLISECOND] {
        let error = make(Some(got)).unwrap_err();
        assert_eq!(error, CreateCodeError::Ttl { got });
        assert_eq!(Refusal::from(error).code, Code::InvalidArgument);
    }
}

#[test]
fn a_first_registration_is_written_whole() {
    let bench = Bench::new();
    let (found, now) = (bench.enrollment(), bench.now());
    let held = found.enrollment.as_ref().unwrap();
    let (change, response) = answered(resolve(&bench, &found, now));
    let agent = AgentRecord {
        id: response.agent_id,
        org_id: bench.operator.org_id,
        name: bench.request().name,
        kind: AgentKind::Remote,
        keys: bench.public(),
        status: AgentStatus::Pending,
        enrollment_id: Some(bench.code.enrollment_id),
        certificate: None,
        sealed_api_key: None,
        created_at: now,
        confirmed_at: None,
        revoked_at: None,
        last_sequence: 0,
        last_begin_at: None,
    };
    let bound = EnrollmentRecord {
        state: EnrollmentState::AwaitingConfirmation,
        agent_id: Some(agent.id),
        expires_at: now.saturating_add(Policy::default().confirmation_ttl),
        answered_at: Some(now),
        ..held.record.clone()
    };
    let mut line = bench.line(ActivityKind::AgentRegistered, Some(agent.id), Some(bound.id));
    line.actor = Actor::System;
    let expected = Changeset {
        organization_unchanged: Some((bench.operator.org_id, found.organization.version)),
        agent: Some(put_new(agent)),
        enrollment: Some(put(bound, held)),
        activity: vec![line],
        ..Changeset::default()
    };
    assert_eq!(change, expected);
    assert_eq!((response.status, response.sealed_api_key), (AgentStatus::Pending, None));
    assert_eq!(response.fingerprint, bench.public().fingerprint());
}

#[test]
fn a_code_and_its_confirmation_are_over_at_the_moment_that_their_time_is_up() {
    for bench in [Bench::new(), Bench::registered()] {
        let mut found = bench.enrollment();
        let now = bench.now();
        found.enr().expires_at = now.saturating_add(MILLISECOND);
        answered(resolve(&bench, &found, now));
        for late in [now, now.saturating_sub(SECOND)] {
            found.enr().expires_at = late;
            assert_eq!(resolve(&bench, &found, now).unwrap_err(), RegisterError::Expired);
        }
    }
    // One that was confirmed in time is answered for as long as the agent asks.
    let bench = Bench::confirmed();
    let mut found = bench.enrollment();
    found.enr().expires_at = bench.now();
    let (_, response) = answered(resolve(&bench, &found, bench.now()));
    assert_eq!(response.status, AgentStatus::Confirmed);
    assert!(response.sealed_api_key.is_some());
}

#[test]
fn a_repeat_is_written_whole_and_once_a_second() {
    let bench = Bench::registered();
    let mut found = bench.enrollment();
    let now = bench.now();
    let (held, agent) = (found.enrollment.clone().unwrap(), found.agent.clone().unwrap());
    assert_eq!(held.record.answered_at, Some(now.saturating_sub(SECOND)));
    let (change, _) = answered(resolve(&bench, &found, now));
    let expected = Changeset {
        agent: Some(put(agent.record.clone(), &agent)),
        enrollment: Some(put(EnrollmentRecord { answered_at: Some(now), ..held.record.clone() }, &held)),
        ..Changeset::default()
    };
    assert_eq!(change, expected);
    found.enr().answered_at = Some(now.saturating_sub(SECOND - MILLISECOND));
    let too_soon = resolve(&bench, &found, now).unwrap_err();
    assert_eq!(too_soon, RegisterError::TooSoon { retry_after: MILLISECOND });
    found.enr().answered_at = Some(now);
    assert_eq!(resolve(&bench, &found, now).unwrap_err(), RegisterError::TooSoon { retry_after: SECOND });
    // A clock that was set back locks nobody out.
    found.enr().answered_at = Some(now.saturating_add(MILLISECOND));
    answered(resolve(&bench, &found, now));
    // Answered long ago, or never.
    for answered_at in [Some(now.saturating_sub(SECOND * 3600)), None] {
        found.enr().answered_at = answered_at;
        answered(resolve(&bench, &found, now));
    }
    found.agent = None;
    let error = resolve(&bench, &found, now).unwrap_err();
    assert_eq!(error, RegisterError::Inconsistent);
    assert_eq!(Refusal::from(error).code, Code::Internal);
}

#[test]
fn a_second_use_is_written_whole_and_once_a_second() {
    let bench = Bench::registered();
    let now = bench.now();
    let found = bench.enrollment();
    // The agent that registered had other keys, or another name.
    let mut other_keys = found.clone();
    other_keys.agt().keys = AgentSecretKeys::generate(&SeededRandom::new(3)).unwrap().public().unwrap();
    let mut other_name = found.clone();
    other_name.agt().name = Name::new("site-2").unwrap();
    for mut found in [other_keys, other_name] {
        let held = found.enrollment.clone().unwrap();
        let second_use = EnrollmentRecord { second_uses: 1, second_use_at: Some(now), ..held.record.clone() };
        let mut line = bench.line(ActivityKind::CodeUsedAgain, Some(bench.agent_id()), Some(held.record.id));
        line.actor = Actor::System;
        let expected = Changeset {
            enrollment: Some(put(second_use, &held)),
            activity: vec![line],
            ..Changeset::default()
        };
        assert_eq!(noted(resolve(&bench, &found, now)), expected);
        found.enr().second_uses = 1;
        for (last, is_noted) in [
            (now.saturating_sub(SECOND * 2), true),
            (now.saturating_sub(SECOND), true),
            (now.saturating_sub(SECOND - MILLISECOND), false),
            (now, false),
            // The clock was set back.
            (now.saturating_add(MILLISECOND), true),
        ] {
            found.enr().second_use_at = Some(last);
            let outcome = resolve(&bench, &found, now);
            if is_noted {
                assert_eq!(noted(outcome).enrollment.unwrap().record.second_uses, 2);
            } else {
                assert_eq!(outcome.unwrap_err(), RegisterError::SecondUse);
            }
        }
        // Once the enrollment is over, too.
        found.enr().second_use_at = None;
        for state in [EnrollmentState::Expired, EnrollmentState::Cancelled] {
            found.enr().state = state;
            noted(resolve(&bench, &found, now));
        }
    }
}

#[test]
fn what_an_agent_asks_after_its_enrollment_is_refused_and_no_second_use() {
    let bench = Bench::registered();
    let mut found = bench.enrollment();
    for (state, error) in [
        (EnrollmentState::Expired, RegisterError::Expired),
        (EnrollmentState::Cancelled, RegisterError::Cancelled),
    ] {
        found.enr().state = state;
        assert_eq!(resolve(&bench, &found, bench.now()).unwrap_err(), error);
    }
}

#[test]
fn the_organizations_own_keys_are_taken_in_every_role() {
    let bench = Bench::new();
    let (now, random) = (bench.now(), SeededRandom::new(4));
    let mut found = bench.enrollment();
    // The sealing key is the one that an agent can claim without its secret.
    let keys = AgentSecretKeys::generate(&random).unwrap();
    let (root, _) = super::server_keys();
    let mut manifest = found.org().manifest.manifest().clone();
    let public = keys.sealing.public();
    manifest.recovery = Some(fleet_core::keys::RecoveryPublicKey::parse(public.as_bytes()).unwrap());
    let signature = root.sign(manifest.transcript().as_bytes());
    found.org().manifest = fleet_core::manifest::SignedManifest::verify(manifest, signature).unwrap();
    let register = Register::new(bench.request_of("site-1", &keys));
    let outcome = register.resolve(Some(found), now, &Policy::default(), &random);
    assert_eq!(outcome.unwrap_err(), RegisterError::KeyTaken { role: KeyRole::Sealing });
}

#[test]
fn an_end_is_written_whole() {
    for (bench, has_agent) in [(Bench::new(), false), (Bench::registered(), true)] {
        let mut found = bench.enrollment();
        let (id, now) = (bench.code.enrollment_id, bench.now());
        found.enr().expires_at = now;
        let held = found.enrollment.clone().unwrap();
        let agent_id = held.record.agent_id;
        assert_eq!(agent_id.is_some(), has_agent);
        let agent = found
            .agent
            .as_ref()
            .map(|agent| put(AgentRecord { status: AgentStatus::Discarded, ..agent.record.clone() }, agent));
        let ended = |state, line| Changeset {
            agent: agent.clone(),
            enrollment: Some(put(EnrollmentRecord { state, ..held.record.clone() }, &held)),
            activity: vec![line],
            ..Changeset::default()
        };
        let step = cancel(id, &bench.operator, Some(found.clone()), now).unwrap();
        let line = bench.line(ActivityKind::EnrollmentCancelled, agent_id, Some(id));
        assert_eq!(*step.change(), ended(EnrollmentState::Cancelled, line));
        let step = expire(&found, now).unwrap();
        let mut line = bench.line(ActivityKind::EnrollmentExpired, agent_id, Some(id));
        line.actor = Actor::System;
        assert_eq!(*step.change(), ended(EnrollmentState::Expired, line));
    }
}

#[test]
fn an_enrollment_ends_when_it_is_due_and_for_its_own_organization() {
    let bench = Bench::registered();
    let mut found = bench.enrollment();
    let (id, now) = (bench.code.enrollment_id, bench.now());
    for (expires_at, is_due) in [
        (now.saturating_sub(SECOND), true),
        (now, true),
        (now.saturating_add(MILLISECOND), false),
        (now.saturating_add(SECOND), false),
    ] {
        found.enr().expires_at = expires_at;
        match expire(&found, now) {
            Ok(_) => assert!(is_due, "{expires_at:?}"),
            Err(error) => assert_eq!((error, is_due), (EndError::NotDue, false)),
        }
    }
    let stranger = Operator { org_id: OrgId::new(999).unwrap(), ..bench.operator.clone() };
    for (operator, found) in [(&stranger, Some(found.clone())), (&bench.operator, None)] {
        let error = cancel(id, operator, found, now).unwrap_err();
        assert_eq!(error, EndError::NotFound { enrollment_id: id });
        assert_eq!(Refusal::from(error).code, Code::NotFound);
    }
    found.enr().expires_at = now;
    for state in [EnrollmentState::Confirmed, EnrollmentState::Expired, EnrollmentState::Cancelled] {
        found.enr().state = state;
        let error = cancel(id, &bench.operator, Some(found.clone()), now).unwrap_err();
        assert_eq!(error, EndError::NotWaiting);
        assert_eq!(Refusal::from(error).code, Code::FailedPrecondition);
        assert_eq!(expire(&found, now).unwrap_err(), EndError::NotWaiting);
    }
    found.enrollment = None;
    assert_eq!(expire(&found, now).unwrap_err(), EndError::NotWaiting);
}
