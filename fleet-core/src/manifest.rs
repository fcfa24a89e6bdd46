//! The organization's manifest: which keys speak for the organization, signed by its root.
//!
//! An agent pins the root when it enrolls, by the [`Pin`] in its enrollment code, and from then on
//! takes a later manifest only if the same root signed it and its epoch is higher (protocol
//! section 5 step 1). A managed root lives on the server, an offline one in the operator's kit;
//! the wire is the same.

use core::fmt;

use crate::id::OrgId;
use crate::keys::{
    CommandPublicKey, IdentityPublicKey, KeyError, KeyRole, OperatorPublicKey, RecoveryPublicKey,
    RootPublicKey, Signature, SignatureVerified, distinct,
};
use crate::name::Name;
use crate::transcript::{Domain, Transcript, sha256};

/// The first 16 bytes of the SHA-256 of a manifest's `fleet/v1/pin` transcript.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; Self::LEN]);

impl Pin {
    /// Length, bytes.
    pub const LEN: usize = 16;

    /// Takes the bytes from an enrollment code.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// The first 16 bytes of the SHA-256 of an identity key that the organization revoked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevokedKeyId([u8; 16]);

impl RevokedKeyId {
    /// The id of an identity key.
    #[must_use]
    pub fn of(identity: &IdentityPublicKey) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(sha256(identity.as_bytes())) {
            *to = from;
        }
        Self(id)
    }

    /// Takes an id from the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for RevokedKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "RevokedKeyId({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// A manifest is malformed, or not signed by its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The epoch is below 1.
    #[error("org_manifest.epoch must be at least 1, got {got}")]
    Epoch {
        /// The epoch that was offered.
        got: i64,
    },
    /// operator_pubkeys are not strictly ascending.
    #[error("org_manifest.operator_pubkeys must be strictly ascending")]
    OperatorOrder,
    /// revoked is not strictly ascending.
    #[error("org_manifest.revoked must be strictly ascending")]
    RevokedOrder,
    /// A list is longer than a peer takes.
    #[error("org_manifest.{field} must have at most {max} items, got {got}")]
    TooMany {
        /// The list.
        field: &'static str,
        /// How many items it may have.
        max: usize,
        /// How many it has.
        got: usize,
    },
    /// A key serves two roles.
    #[error("org_manifest: {0}")]
    Key(#[from] KeyError),
    /// The signature is not the root's.
    #[error("org_manifest is not signed by its root key")]
    Signature,
}

/// What a manifest says. Signed, it is a [`SignedManifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgManifest {
    /// The organization.
    pub org_id: OrgId,
    /// Its name, shown to whoever enrolls an agent.
    pub org_name: Name,
    /// Rises with every manifest: `max(previous + 1, ms)`.
    pub epoch: i64,
    /// Signs manifests and agent certificates.
    pub root: RootPublicKey,
    /// Signs the server's half of handshakes, and commands.
    pub command: CommandPublicKey,
    /// Opens escrowed secrets; none if the organization has no kit.
    pub recovery: Option<RecoveryPublicKey>,
    /// Sign secrets that operators author; strictly ascending.
    pub operators: Vec<OperatorPublicKey>,
    /// Identity keys of revoked agents; strictly ascending.
    pub revoked: Vec<RevokedKeyId>,
}

impl OrgManifest {
    /// How many operator keys a manifest may list.
    pub const MAX_OPERATORS: usize = 256;
    /// How many revoked keys a manifest may list.
    pub const MAX_REVOKED: usize = 16_384;

    /// Checks what the protocol demands of a manifest besides its signature.
    ///
    /// # Errors
    /// [`ManifestError`] names the field.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.epoch < 1 {
            return Err(ManifestError::Epoch { got: self.epoch });
        }
        for (field, max, got) in [
            ("operator_pubkeys", Self::MAX_OPERATORS, self.operators.len()),
            ("revoked", Self::MAX_REVOKED, self.revoked.len()),
        ] {
            if got > max {
                return Err(ManifestError::TooMany { field, max, got });
            }
        }
        if !self.operators.is_sorted_by(|a, b| a < b) {
            return Err(ManifestError::OperatorOrder);
        }
        if !self.revoked.is_sorted_by(|a, b| a < b) {
            return Err(ManifestError::RevokedOrder);
        }
        distinct(&self.keys())?;
        Ok(())
    }

    /// Every key of the manifest with its role.
    #[must_use]
    pub fn keys(&self) -> Vec<(KeyRole, &[u8; 32])> {
        let mut keys =
            vec![(KeyRole::Root, self.root.as_bytes()), (KeyRole::Command, self.command.as_bytes())];
        keys.extend(self.recovery.iter().map(|key| (KeyRole::Recovery, key.as_bytes())));
        keys.extend(self.operators.iter().map(|key| (KeyRole::Operator, key.as_bytes())));
        keys
    }

    /// The transcript that the root signs.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        Transcript::new(Domain::OrgManifest)
            .integer(self.org_id.value())
            .field(self.org_name.as_str().as_bytes())
            .integer(self.epoch)
            .field(self.root.as_bytes())
            .field(self.command.as_bytes())
            .field(self.recovery_bytes())
            .list(self.operators.iter().map(|key| &key.as_bytes()[..]))
            .list(self.revoked.iter().map(|id| &id.as_bytes()[..]))
    }

    /// What enrollment codes pin. A manifest that changes it cancels every enrollment that is
    /// not yet confirmed (protocol section 3).
    #[must_use]
    pub fn pin(&self) -> Pin {
        let hash = Transcript::new(Domain::Pin)
            .integer(self.org_id.value())
            .field(self.root.as_bytes())
            .field(self.command.as_bytes())
            .field(self.recovery_bytes())
            .list(self.operators.iter().map(|key| &key.as_bytes()[..]))
            .sha256();
        let mut pin = [0; Pin::LEN];
        for (to, from) in pin.iter_mut().zip(hash) {
            *to = from;
        }
        Pin(pin)
    }

    /// Whether an agent with this identity key was revoked.
    #[must_use]
    pub fn revokes(&self, identity: &IdentityPublicKey) -> bool {
        self.revoked.binary_search(&RevokedKeyId::of(identity)).is_ok()
    }

    fn recovery_bytes(&self) -> &[u8] {
        self.recovery.as_ref().map_or(&[], |key| &key.as_bytes()[..])
    }
}

/// A manifest and its root's signature, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: OrgManifest,
    signature: Signature,
}

impl SignedManifest {
    /// Verifies a manifest under the root key that it names. That the root is the right one is
    /// for the caller to see: by the pin of an enrollment code, or by [`SignedManifest::succeeds`].
    ///
    /// # Errors
    /// [`ManifestError`] names what is wrong.
    pub fn verify(manifest: OrgManifest, signature: Signature) -> Result<Self, ManifestError> {
        manifest.validate()?;
        let SignatureVerified { .. } =
            manifest.root.verify(&manifest.transcript(), &signature).map_err(|_| ManifestError::Signature)?;
        Ok(Self { manifest, signature })
    }

    /// What the manifest says.
    #[must_use]
    pub const fn manifest(&self) -> &OrgManifest {
        &self.manifest
    }

    /// The root's signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// SHA-256 of the transcript: what a handshake binds.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.manifest.transcript().sha256()
    }

    /// Whether an agent that holds `held` takes this manifest in its place: same organization and
    /// root, and a higher epoch, or the same epoch with the same transcript (protocol section 5
    /// step 1).
    ///
    /// # Errors
    /// [`SuccessionError`] says how the two disagree.
    pub fn succeeds(&self, held: &OrgManifest) -> Result<(), SuccessionError> {
        let (new, old) = (&self.manifest, held);
        if new.org_id != old.org_id {
            return Err(SuccessionError::Organization { expected: old.org_id, got: new.org_id });
        }
        if new.root != old.root {
            return Err(SuccessionError::Root);
        }
        if new.epoch < old.epoch {
            return Err(SuccessionError::Rollback { expected: old.epoch, got: new.epoch });
        }
        if new.epoch == old.epoch && new.transcript() != old.transcript() {
            return Err(SuccessionError::Fork { epoch: old.epoch });
        }
        Ok(())
    }
}

/// A manifest does not follow the one that an agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionError {
    /// It is of another organization.
    #[error("the manifest is of organization {got}, this agent belongs to {expected}")]
    Organization {
        /// The agent's organization.
        expected: OrgId,
        /// The manifest's.
        got: OrgId,
    },
    /// It names another root. An agent never accepts another root.
    #[error("the manifest is of another root key than the one pinned at enrollment")]
    Root,
    /// Its epoch is lower.
    #[error(
        "the manifest's epoch {got} is below {expected}: the server was restored from a backup and must issue a new manifest"
    )]
    Rollback {
        /// The epoch that the agent holds.
        expected: i64,
        /// The epoch that was offered.
        got: i64,
    },
    /// Two manifests of one epoch.
    #[error("there are two manifests of epoch {epoch}: the server must issue a new one")]
    Fork {
        /// The epoch of both.
        epoch: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{CommandSecretKey, OperatorSecretKey, RecoverySecretKey, RootSecretKey};

    fn root() -> RootSecretKey {
        RootSecretKey::from_seed(&[1; 32])
    }

    fn manifest() -> OrgManifest {
        let mut operators = vec![
            OperatorSecretKey::from_seed(&[3; 32]).public(),
            OperatorSecretKey::from_seed(&[4; 32]).public(),
        ];
        operators.sort();
        OrgManifest {
            org_id: OrgId::new(7).unwrap(),
            org_name: Name::new("Acme").unwrap(),
            epoch: 10,
            root: root().public(),
            command: CommandSecretKey::from_seed(&[2; 32]).public(),
            recovery: Some(RecoverySecretKey::from_scalar(&[5; 32]).public()),
            operators,
            revoked: vec![RevokedKeyId([1; 16]), RevokedKeyId([2; 16])],
        }
    }

    fn sign(manifest: OrgManifest) -> Result<SignedManifest, ManifestError> {
        let signature = root().sign(manifest.transcript().as_bytes());
        SignedManifest::verify(manifest, signature)
    }

    #[test]
    fn a_signed_manifest_verifies_and_every_field_is_covered() {
        let signed = sign(manifest()).unwrap();
        let changes: [fn(&mut OrgManifest); 7] = [
            |m| m.org_id = OrgId::new(8).unwrap(),
            |m| m.org_name = Name::new("Acne").unwrap(),
            |m| m.epoch += 1,
            |m| m.command = CommandSecretKey::from_seed(&[9; 32]).public(),
            |m| m.recovery = None,
            |m| {
                m.operators.pop();
            },
            |m| {
                m.revoked.pop();
            },
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = manifest();
            change(&mut changed);
            assert_eq!(
                SignedManifest::verify(changed, *signed.signature()),
                Err(ManifestError::Signature),
                "change {at}"
            );
        }
    }

    #[test]
    fn lists_are_strictly_ascending_and_no_key_has_two_roles() {
        let mut m = manifest();
        m.operators.reverse();
        assert_eq!(sign(m), Err(ManifestError::OperatorOrder));
        let mut m = manifest();
        m.revoked = vec![RevokedKeyId([1; 16]); 2];
        assert_eq!(sign(m), Err(ManifestError::RevokedOrder));
        let mut m = manifest();
        m.command = CommandPublicKey::parse(m.root.as_bytes()).unwrap();
        assert_eq!(
            sign(m),
            Err(ManifestError::Key(KeyError::TwoRoles { first: KeyRole::Root, second: KeyRole::Command }))
        );
        let mut m = manifest();
        m.epoch = 0;
        assert_eq!(sign(m), Err(ManifestError::Epoch { got: 0 }));
    }

    #[test]
    fn the_pin_covers_keys_and_organization_but_neither_name_nor_epoch_nor_revocations() {
        let pin = manifest().pin();
        let mut same = manifest();
        same.org_name = Name::new("New name").unwrap();
        same.epoch = 11;
        same.revoked.clear();
        assert_eq!(same.pin(), pin);
        let mut other = manifest();
        other.recovery = None;
        assert_ne!(other.pin(), pin);
        let mut other = manifest();
        other.org_id = OrgId::new(8).unwrap();
        assert_ne!(other.pin(), pin);
    }

    #[test]
    fn succession() {
        let held = manifest();
        let with = |change: fn(&mut OrgManifest)| {
            let mut m = manifest();
            change(&mut m);
            sign(m).unwrap().succeeds(&held)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|m| m.epoch = 11), Ok(()));
        assert_eq!(with(|m| m.epoch = 9), Err(SuccessionError::Rollback { expected: 10, got: 9 }));
        assert_eq!(with(|m| m.revoked.clear()), Err(SuccessionError::Fork { epoch: 10 }));
        assert_eq!(
            with(|m| m.org_id = OrgId::new(8).unwrap()),
            Err(SuccessionError::Organization {
                expected: OrgId::new(7).unwrap(),
                got: OrgId::new(8).unwrap()
            })
        );
        let other_root = RootSecretKey::from_seed(&[8; 32]);
        let mut m = manifest();
        m.root = other_root.public();
        m.epoch = 11;
        let signature = other_root.sign(m.transcript().as_bytes());
        assert_eq!(SignedManifest::verify(m, signature).unwrap().succeeds(&held), Err(SuccessionError::Root));
    }
}
