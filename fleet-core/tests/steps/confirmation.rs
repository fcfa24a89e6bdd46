//! Confirmation, with a managed root and with an offline one.

use fleet_core::certificate::{AgentCertificate, CertificateError, SignedCertificate};
use fleet_core::enrollment::api_key_info;
use fleet_core::enrollment::server::{Confirm, ConfirmError, ConfirmStep, NeedsRootSignature};
use fleet_core::hpke;
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::{AgentSecretKeys, RootSecretKey, Signature};
use fleet_core::name::Name;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    ActivityKind, AgentApiKeyRecord, AgentRecord, AgentStatus, Changeset, EnrollmentRecord, EnrollmentState,
    Snapshot,
};
use fleet_core::testing::SeededRandom;
use fleet_core::time::UnixMillis;

use super::{Bench, MILLISECOND, Records as _, SECOND, put, server_keys};

fn confirm(bench: &Bench) -> Confirm {
    Confirm {
        operator: bench.operator.clone(),
        agent_id: bench.agent_id(),
        enrollment_id: bench.code.enrollment_id,
        fingerprint: bench.public().fingerprint(),
        certificate: None,
    }
}

fn refused(confirm: &Confirm, found: &Snapshot, now: UnixMillis) -> ConfirmError {
    confirm.clone().resolve(Some(found.clone()), now).unwrap_err()
}

fn to_be_signed(confirm: &Confirm, found: &Snapshot, now: UnixMillis) -> NeedsRootSignature {
    match confirm.clone().resolve(Some(found.clone()), now) {
        Ok(ConfirmStep::Sign(needs)) => *needs,
        other => panic!("{other:?}"),
    }
}

fn certificate(bench: &Bench) -> AgentCertificate {
    AgentCertificate {
        org_id: bench.operator.org_id,
        agent_id: bench.agent_id(),
        name: bench.request().name,
        keys: bench.public(),
        key_epoch: 1,
        issued_at: bench.now(),
    }
}

#[test]
fn a_confirmation_is_written_whole() {
    let bench = Bench::registered();
    let (found, now, root) = (bench.agent(), bench.now(), server_keys().0);
    let needs = to_be_signed(&confirm(&bench), &found, now);
    let certificate = certificate(&bench);
    assert_eq!(needs.to_sign(), Some(certificate.transcript()));
    let signature = root.sign(certificate.transcript().as_bytes());
    let step = needs.signed(Some(signature), now, &SeededRandom::new(6)).unwrap();
    let change = step.change().clone();
    let api_key = step.committed();
    let (agent, enrollment) = (found.agent.as_ref().unwrap(), found.enrollment.as_ref().unwrap());
    let sealed = change.agent.as_ref().unwrap().record.sealed_api_key.clone().unwrap();
    let info = api_key_info(agent.record.id, enrollment.record.code, bench.public().sealing().as_bytes());
    let opened = hpke::open(&bench.keys.sealing, info.as_bytes(), &[], &sealed).unwrap();
    assert_eq!(*opened, api_key.expose().as_bytes());
    let expected = Changeset {
        organization_unchanged: Some((bench.operator.org_id, found.organization.version)),
        api_key: Some(AgentApiKeyRecord {
            hash: api_key.hash(),
            digits: api_key.digits().to_owned(),
            agent_id: agent.record.id,
            created_at: now,
        }),
        agent: Some(put(
            AgentRecord {
                status: AgentStatus::Confirmed,
                certificate: Some(SignedCertificate::verify(certificate, signature, &root.public()).unwrap()),
                sealed_api_key: Some(sealed),
                confirmed_at: Some(now),
                ..agent.record.clone()
            },
            agent,
        )),
        enrollment: Some(put(
            EnrollmentRecord { state: EnrollmentState::Confirmed, ..enrollment.record.clone() },
            enrollment,
        )),
        activity: vec![bench.line(
            ActivityKind::AgentConfirmed,
            Some(agent.record.id),
            Some(enrollment.record.id),
        )],
        ..Changeset::default()
    };
    assert_eq!(change, expected);
}

#[test]
fn a_wrong_fingerprint_is_noted_and_nothing_else_is_written() {
    let bench = Bench::registered();
    let other = AgentSecretKeys::generate(&SeededRandom::new(7)).unwrap().public().unwrap();
    let wrong = Confirm { fingerprint: other.fingerprint(), ..confirm(&bench) };
    let step = match wrong.clone().resolve(Some(bench.agent()), bench.now()) {
        Ok(ConfirmStep::Refuse(step)) => step,
        other => panic!("{other:?}"),
    };
    let line =
        bench.line(ActivityKind::WrongFingerprint, Some(wrong.agent_id), Some(bench.code.enrollment_id));
    assert_eq!(*step.change(), Changeset { activity: vec![line], ..Changeset::default() });
    let error = step.committed();
    assert_eq!(error, ConfirmError::WrongFingerprint);
    assert_eq!(Refusal::from(error).code, Code::FailedPrecondition);
}

#[test]
fn agent_enrollment_and_organization_must_belong_together() {
    let bench = Bench::registered();
    let (found, now, right) = (bench.agent(), bench.now(), confirm(&bench));
    let missing = ConfirmError::NotFound { agent_id: right.agent_id, enrollment_id: right.enrollment_id };
    let changes: [fn(&mut Snapshot); 7] = [
        |found| found.agt().org_id = OrgId::new(999).unwrap(),
        |found| found.enr().org_id = OrgId::new(999).unwrap(),
        |found| found.enr().id = EnrollmentId::new(999).unwrap(),
        |found| found.enr().agent_id = Some(AgentId::new(999).unwrap()),
        |found| found.enr().agent_id = None,
        |found| found.agent = None,
        |found| found.enrollment = None,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut found = found.clone();
        change(&mut found);
        assert_eq!(refused(&right, &found, now), missing, "change {at}");
    }
    assert_eq!(right.clone().resolve(None, now).unwrap_err(), missing);
    assert_eq!(Refusal::from(missing).code, Code::NotFound);
    to_be_signed(&right, &found, now);
}

#[test]
fn what_does_not_wait_or_waited_too_long_is_not_confirmed() {
    let bench = Bench::registered();
    let (now, right) = (bench.now(), confirm(&bench));
    for status in [AgentStatus::Confirmed, AgentStatus::Revoked, AgentStatus::Discarded] {
        let mut found = bench.agent();
        found.agt().status = status;
        assert_eq!(refused(&right, &found, now), ConfirmError::NotAwaiting, "{status:?}");
    }
    for state in [
        EnrollmentState::Pending,
        EnrollmentState::Confirmed,
        EnrollmentState::Expired,
        EnrollmentState::Cancelled,
    ] {
        let mut found = bench.agent();
        found.enr().state = state;
        assert_eq!(refused(&right, &found, now), ConfirmError::NotAwaiting, "{state:?}");
    }
    let mut found = bench.agent();
    found.enr().expires_at = now.saturating_add(MILLISECOND);
    to_be_signed(&right, &found, now);
    for late in [now, now.saturating_sub(SECOND)] {
        found.enr().expires_at = late;
        assert_eq!(refused(&right, &found, now), ConfirmError::Expired);
    }
}

#[test]
fn a_certificate_of_the_operators_tool_says_what_the_record_says_but_for_its_own_time() {
    let bench = Bench::registered();
    let (found, now, root) = (bench.agent(), bench.now(), server_keys().0);
    let random = SeededRandom::new(8);
    let with = |certificate: AgentCertificate| {
        let signature = root.sign(certificate.transcript().as_bytes());
        Confirm { certificate: Some((certificate, signature)), ..confirm(&bench) }
    };
    let own = AgentCertificate { issued_at: now.saturating_sub(SECOND * 60), ..certificate(&bench) };
    let needs = to_be_signed(&with(own.clone()), &found, now);
    assert_eq!(needs.to_sign(), None, "it is signed already");
    // The server's own root has no part in it.
    let signed = needs.signed(Some(Signature::from_bytes([1; 64])), now, &random).unwrap();
    let kept = signed.change().agent.as_ref().unwrap().record.certificate.clone().unwrap();
    assert_eq!(kept.certificate(), &own);

    let changes: [fn(&mut AgentCertificate); 5] = [
        |c| c.org_id = OrgId::new(999).unwrap(),
        |c| c.agent_id = AgentId::new(999).unwrap(),
        |c| c.name = Name::new("site-2").unwrap(),
        |c| c.keys = AgentSecretKeys::generate(&SeededRandom::new(9)).unwrap().public().unwrap(),
        |c| c.key_epoch = 2,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = own.clone();
        change(&mut other);
        assert_eq!(refused(&with(other), &found, now), ConfirmError::CertificateMismatch, "change {at}");
    }
    // Of another root.
    let signature = RootSecretKey::from_seed(&[9; 32]).sign(own.transcript().as_bytes());
    let foreign = Confirm { certificate: Some((own, signature)), ..confirm(&bench) };
    let error = to_be_signed(&foreign, &found, now).signed(None, now, &random).unwrap_err();
    assert_eq!(error, ConfirmError::Certificate(CertificateError::Signature));
    // None, and no root to make one.
    let missing = to_be_signed(&confirm(&bench), &found, now).signed(None, now, &random).unwrap_err();
    assert_eq!(missing, ConfirmError::CertificateMissing);
    for error in [error, missing, ConfirmError::CertificateMismatch] {
        assert_eq!(Refusal::from(error).code, Code::InvalidArgument);
    }
}
