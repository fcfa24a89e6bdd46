//! Revocation, and manifests that are issued anew.

use fleet_core::enrollment::server::{NeedsManifestSignature, Operator, Revoke, RevokeError, reissue};
use fleet_core::id::OrgId;
use fleet_core::keys::RootSecretKey;
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SignedManifest};
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    ActivityKind, AgentRecord, AgentStatus, Changeset, OrganizationRecord, Query, Snapshot,
};

use super::{Bench, Records as _, put, server_keys};

fn revoke(bench: &Bench) -> Revoke {
    Revoke { operator: bench.operator.clone(), agent_id: bench.agent_id() }
}

fn resolve(bench: &Bench, found: &Snapshot) -> Result<NeedsManifestSignature, RevokeError> {
    revoke(bench).resolve(Some(found.clone()), bench.now())
}

/// The manifest in force with another epoch and list.
fn manifest(found: &Snapshot, epoch: i64, revoked: Vec<RevokedKeyId>) -> SignedManifest {
    let held = found.organization.record.manifest.manifest().clone();
    let manifest = OrgManifest { epoch, revoked, ..held };
    let signature = server_keys().0.sign(manifest.transcript().as_bytes());
    SignedManifest::verify(manifest, signature).unwrap()
}

/// What writes this manifest.
fn organization(found: &Snapshot, manifest: SignedManifest) -> Changeset {
    let held = &found.organization;
    let record = OrganizationRecord { manifest, ..held.record.clone() };
    Changeset { organization: Some(put(record, held)), ..Changeset::default() }
}

/// What is written of the agent.
fn agent(bench: &Bench, found: &Snapshot) -> Changeset {
    let held = found.agent.as_ref().unwrap();
    let record = AgentRecord {
        status: AgentStatus::Revoked,
        sealed_api_key: None,
        revoked_at: Some(bench.now()),
        ..held.record.clone()
    };
    let line = bench.line(ActivityKind::AgentRevoked, Some(held.record.id), Some(bench.code.enrollment_id));
    Changeset {
        agent: Some(put(record, held)),
        forget_credentials: Some(held.record.id),
        activity: vec![line],
        ..Changeset::default()
    }
}

#[test]
fn a_revocation_is_written_whole_with_and_without_its_manifest() {
    let bench = Bench::confirmed();
    let (found, now) = (bench.agent(), bench.now());
    assert!(found.agent.as_ref().unwrap().record.sealed_api_key.is_some());
    let id = RevokedKeyId::of(bench.public().identity());
    let listed = manifest(&found, now.value(), vec![id]);
    let needs = resolve(&bench, &found).unwrap();
    assert_eq!(needs.to_sign(), listed.manifest().transcript());
    let step = needs.signed(*listed.signature(), now).unwrap();
    let with_manifest = organization(&found, listed.clone());
    let expected = Changeset { organization: with_manifest.organization, ..agent(&bench, &found) };
    assert_eq!(*step.change(), expected);
    let step = resolve(&bench, &found).unwrap().unsigned(now).unwrap();
    assert_eq!(*step.change(), agent(&bench, &found));
    // The manifest that is owed is all that is written later.
    let mut owed = found;
    owed.agt().status = AgentStatus::Revoked;
    let needs = resolve(&bench, &owed).unwrap();
    assert_eq!(needs.to_sign(), listed.manifest().transcript());
    let step = needs.signed(*listed.signature(), now).unwrap();
    assert_eq!(*step.change(), organization(&owed, listed));
    let error = resolve(&bench, &owed).unwrap().unsigned(now).unwrap_err();
    assert_eq!(error, RevokeError::AlreadyRevoked);
    // By another root.
    let needs = resolve(&bench, &owed).unwrap();
    let wrong = RootSecretKey::from_seed(&[9; 32]).sign(needs.to_sign().as_bytes());
    let error = needs.signed(wrong, now).unwrap_err();
    assert!(matches!(error, RevokeError::Manifest(_)));
    assert_eq!(Refusal::from(error).code, Code::Unavailable);
}

#[test]
fn a_revoked_key_is_listed_once_and_in_order() {
    let bench = Bench::confirmed();
    let id = RevokedKeyId::of(bench.public().identity());
    let (low, high) = (RevokedKeyId::from_bytes([0; 16]), RevokedKeyId::from_bytes([0xff; 16]));
    for held in [vec![low, high], vec![low, id, high]] {
        let mut found = bench.agent();
        let epoch = bench.now().value() + 5;
        found.org().manifest = manifest(&found, epoch, held);
        // The epoch rises above one that the clock has not reached.
        let listed = manifest(&found, epoch + 1, vec![low, id, high]);
        assert_eq!(resolve(&bench, &found).unwrap().to_sign(), listed.manifest().transcript());
    }
}

#[test]
fn a_root_can_sign_if_it_is_the_organizations_and_the_list_has_room() {
    let bench = Bench::confirmed();
    let mut found = bench.agent();
    let (own, other) = (server_keys().0.public(), RootSecretKey::from_seed(&[9; 32]).public());
    let needs = resolve(&bench, &found).unwrap();
    assert!(needs.can_be_signed_by(own.as_bytes()));
    assert!(!needs.can_be_signed_by(other.as_bytes()));
    let full = (0..OrgManifest::MAX_REVOKED).map(|number| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        RevokedKeyId::from_bytes(id)
    });
    found.org().manifest = manifest(&found, 1, full.collect());
    let needs = resolve(&bench, &found).unwrap();
    assert!(!needs.can_be_signed_by(own.as_bytes()), "one more than fits");
    assert!(!needs.can_be_signed_by(other.as_bytes()));
}

#[test]
fn each_status_but_confirmed_is_refused_as_what_it_is() {
    let bench = Bench::confirmed();
    let mut found = bench.agent();
    for status in [AgentStatus::Pending, AgentStatus::Discarded] {
        found.agt().status = status;
        let error = resolve(&bench, &found).unwrap_err();
        assert_eq!(error, RevokeError::NotConfirmed, "{status:?}");
        assert_eq!(Refusal::from(error).code, Code::FailedPrecondition);
    }
    found.agt().status = AgentStatus::Revoked;
    found.org().manifest = manifest(&found, 1, vec![RevokedKeyId::of(bench.public().identity())]);
    let error = resolve(&bench, &found).unwrap_err();
    assert_eq!(error, RevokeError::AlreadyRevoked);
    assert_eq!(Refusal::from(error).code, Code::FailedPrecondition);
    let missing = RevokeError::NotFound { agent_id: bench.agent_id() };
    found.agt().org_id = OrgId::new(999).unwrap();
    assert_eq!(resolve(&bench, &found).unwrap_err(), missing);
    found.agent = None;
    assert_eq!(resolve(&bench, &found).unwrap_err(), missing);
    assert_eq!(revoke(&bench).resolve(None, bench.now()).unwrap_err(), missing);
    assert_eq!(Refusal::from(missing).code, Code::NotFound);
}

#[test]
fn a_manifest_issued_anew_is_written_whole() {
    let bench = Bench::new();
    bench.world.advance(super::SECOND);
    let (found, now) = (bench.load(Query::Organization(bench.operator.org_id)), bench.now());
    let anew = manifest(&found, now.value(), Vec::new());
    let needs = reissue(bench.operator.clone(), Some(found.clone()), now).unwrap();
    assert_eq!(needs.to_sign(), anew.manifest().transcript());
    assert_eq!(needs.root(), &server_keys().0.public());
    let step = needs.signed(*anew.signature(), now).unwrap();
    let expected = Changeset {
        activity: vec![bench.line(ActivityKind::ManifestIssued, None, None)],
        ..organization(&found, anew)
    };
    assert_eq!(*step.change(), expected);
    assert_eq!(step.committed(), now.value());
    let stranger = Operator { org_id: OrgId::new(999).unwrap(), ..bench.operator.clone() };
    for (operator, found) in [(stranger, Some(found)), (bench.operator.clone(), None)] {
        let error = reissue(operator, found, now).unwrap_err();
        assert_eq!(Refusal::from(error).code, Code::NotFound);
    }
}
