use super::Operator;
use crate::commit::NeedsCommit;
use crate::id::OrgId;
use crate::keys::{RootPublicKey, Signature};
use crate::manifest::{ManifestError, OrgManifest, SignedManifest};
use crate::refusal::{Code, Refusal};
use crate::store::{ActivityKind, Changeset, OrganizationRecord, Snapshot, Versioned};
use crate::time::{UnixMillis, next_counter};
use crate::transcript::Transcript;

/// A manifest is not issued anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReissueError {
    /// There is no such organization.
    #[error("no organization {org_id}")]
    NotFound {
        /// The organization that was named.
        org_id: OrgId,
    },
    /// The new manifest is not signed by the root.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<ReissueError> for Refusal {
    fn from(error: ReissueError) -> Self {
        match error {
            ReissueError::NotFound { .. } => Self::new(Code::NotFound, error),
            ReissueError::Manifest(_) => Self::unavailable(),
        }
    }
}

/// A manifest that says what the one in force says, under a new epoch, and waits for the root's signature.
#[derive(Debug)]
pub struct NeedsReissueSignature {
    operator: Operator,
    organization: Versioned<OrganizationRecord>,
    manifest: OrgManifest,
}

/// Issues the manifest of an organization anew, from a snapshot of [`Query::Organization`](crate::store::Query).
///
/// Nothing of it changes but the epoch, which is `max(previous + 1, now in ms)`. Agents that have seen a later epoch
/// than a restored database's take it again, as long as this host's clock is not behind the one that made that epoch
/// (protocol sections 2 and 5 step 1).
///
/// # Errors
/// [`ReissueError::NotFound`].
pub fn reissue(
    operator: Operator,
    found: Option<Snapshot>,
    now: UnixMillis,
) -> Result<NeedsReissueSignature, ReissueError> {
    let missing = ReissueError::NotFound { org_id: operator.org_id };
    let organization = found.map(|found| found.organization);
    let organization = organization.filter(|found| found.record.id == operator.org_id).ok_or(missing)?;
    let mut manifest = organization.record.manifest.manifest().clone();
    manifest.epoch = next_counter(manifest.epoch, now);
    Ok(NeedsReissueSignature { operator, organization, manifest })
}

impl NeedsReissueSignature {
    /// What the root is to sign.
    #[must_use]
    pub fn to_sign(&self) -> Transcript {
        self.manifest.transcript()
    }

    /// Whose signature it must be.
    #[must_use]
    pub const fn root(&self) -> &RootPublicKey {
        &self.manifest.root
    }

    /// Takes the root's signature. The result is the new epoch.
    ///
    /// # Errors
    /// [`ReissueError::Manifest`].
    pub fn signed(self, signature: Signature, now: UnixMillis) -> Result<NeedsCommit<i64>, ReissueError> {
        let epoch = self.manifest.epoch;
        let manifest = SignedManifest::verify(self.manifest, signature)?;
        let record = OrganizationRecord { manifest, ..self.organization.record.clone() };
        let change = Changeset {
            organization: Some(self.organization.replace(record)),
            activity: vec![self.operator.activity(now, ActivityKind::ManifestIssued, None, None)],
            ..Changeset::default()
        };
        Ok(NeedsCommit::new(change, epoch))
    }
}
