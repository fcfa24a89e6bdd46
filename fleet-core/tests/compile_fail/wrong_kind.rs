//! A key of one role, an id of one thing and a claim that nobody signed do not pass for another.
#![allow(unexpected_cfgs)]

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::enrollment::server::Revoke;
use fleet_core::hpke;
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::{
    CommandPublicKey, IdentityPublicKey, MinerSigningPublicKey, RootPublicKey, SealingSecretKey, Signature,
};
use fleet_core::manifest::{OrgManifest, SignedManifest};
use fleet_core::store::Query;

fn certified_by(
    certificate: AgentCertificate,
    signature: Signature,
    root: &RootPublicKey,
    command: &CommandPublicKey,
) {
    #[cfg(trybuild)]
    let _ = SignedCertificate::verify(certificate.clone(), signature, command);
    let _ = SignedCertificate::verify(certificate, signature, root);
}

fn revoked(manifest: &OrgManifest, identity: &IdentityPublicKey, miner_signing: &MinerSigningPublicKey) {
    let _ = manifest.revokes(identity);
    #[cfg(trybuild)]
    let _ = manifest.revokes(miner_signing);
}

fn opened_by(sealing: &SealingSecretKey, identity: &fleet_core::keys::IdentitySecretKey, sealed: &[u8]) {
    let _ = hpke::open(sealing, b"", b"", sealed);
    #[cfg(trybuild)]
    let _ = hpke::open(identity, b"", b"", sealed);
}

fn in_force(held: &OrgManifest, verified: &SignedManifest, received: &UnverifiedManifest) {
    let _ = verified.succeeds(held);
    #[cfg(trybuild)]
    let _ = received.succeeds(held);
}

fn of_whom(revoke: &mut Revoke, agent: AgentId, enrollment: EnrollmentId, org: OrgId) {
    revoke.agent_id = agent;
    #[cfg(trybuild)]
    let _ = Query::Organization(agent);
    #[cfg(trybuild)]
    let _ = Query::Agent(enrollment);
    let _ = Query::Organization(org);
}

fn pasted(code: EnrollmentCode, token: SessionToken) {
    fn keep(_: ApiKey) {}
    #[cfg(trybuild)]
    keep(code);
    #[cfg(trybuild)]
    keep(token);
}

fn main() {}
