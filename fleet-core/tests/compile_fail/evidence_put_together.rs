//! What was verified is neither put together from its parts nor taken apart before its time.
#![allow(unexpected_cfgs)]

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::handshake::CompleteResponse;
use fleet_core::handshake::agent::Online;
use fleet_core::keys::{RootPublicKey, Signature};
use fleet_core::manifest::{OrgManifest, SignedManifest};
use fleet_core::store::Changeset;

fn a_signed_manifest(manifest: OrgManifest, signature: Signature) {
    let _ = SignedManifest::verify(manifest.clone(), signature);
    #[cfg(trybuild)]
    let _ = SignedManifest { manifest, signature };
}

fn a_manifest_under_another_signature(verified: SignedManifest, manifest: OrgManifest) {
    #[cfg(trybuild)]
    let _ = SignedManifest { manifest, ..verified };
}

fn a_signed_certificate(certificate: AgentCertificate, signature: Signature, root: &RootPublicKey) {
    let _ = SignedCertificate::verify(certificate.clone(), signature, root);
    #[cfg(trybuild)]
    let _ = SignedCertificate { certificate, signature };
}

fn a_step_with_nothing_to_commit(result: CompleteResponse) {
    #[cfg(trybuild)]
    let _ = NeedsCommit { change: Box::new(Changeset::default()), result };
}

fn completed(step: NeedsCommit<CompleteResponse>) {
    #[cfg(trybuild)]
    let NeedsCommit { result, .. } = step;
    #[cfg(not(trybuild))]
    let result = step.committed();
    drop(result);
}

fn online(step: NeedsSave<Online>) {
    #[cfg(trybuild)]
    let NeedsSave { next, .. } = step;
    #[cfg(not(trybuild))]
    let next = step.saved();
    drop(next);
}

fn main() {}
