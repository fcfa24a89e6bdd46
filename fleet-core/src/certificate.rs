//! An agent's certificate: the root's word on which keys are this agent's.

use crate::id::{AgentId, OrgId};
use crate::keys::{AgentPublicKeys, RootPublicKey, Signature, SignatureVerified};
use crate::name::Name;
use crate::time::UnixMillis;
use crate::transcript::{Domain, Transcript};

/// What a certificate says. Signed, it is a [`SignedCertificate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCertificate {
    /// The agent's organization.
    pub org_id: OrgId,
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: Name,
    /// Its three public keys.
    pub keys: AgentPublicKeys,
    /// 1 at enrollment, one more with every rotation of keys.
    pub key_epoch: i64,
    /// When the root signed.
    pub issued_at: UnixMillis,
}

/// A certificate is malformed, or not signed by the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// key_epoch is below 1.
    #[error("agent_certificate.key_epoch must be at least 1, got {got}")]
    KeyEpoch {
        /// The epoch that was offered.
        got: i64,
    },
    /// The signature is not the root's.
    #[error("agent_certificate is not signed by the organization's root key")]
    Signature,
}

impl AgentCertificate {
    /// The transcript that the root signs.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        Transcript::new(Domain::AgentCertificate)
            .integer(self.org_id.value())
            .integer(self.agent_id.value())
            .field(self.name.as_str().as_bytes())
            .field(self.keys.identity().as_bytes())
            .field(self.keys.miner_signing().as_bytes())
            .field(self.keys.sealing().as_bytes())
            .integer(self.key_epoch)
            .time(self.issued_at)
    }
}

/// A certificate and its root's signature, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCertificate {
    certificate: AgentCertificate,
    signature: Signature,
}

impl SignedCertificate {
    /// Verifies a certificate under a root key that the caller trusts.
    ///
    /// # Errors
    /// [`CertificateError`] names what is wrong.
    pub fn verify(
        certificate: AgentCertificate,
        signature: Signature,
        root: &RootPublicKey,
    ) -> Result<Self, CertificateError> {
        if certificate.key_epoch < 1 {
            return Err(CertificateError::KeyEpoch { got: certificate.key_epoch });
        }
        let SignatureVerified { .. } =
            root.verify(&certificate.transcript(), &signature).map_err(|_| CertificateError::Signature)?;
        Ok(Self { certificate, signature })
    }

    /// What the certificate says.
    #[must_use]
    pub const fn certificate(&self) -> &AgentCertificate {
        &self.certificate
    }

    /// The root's signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{IdentitySecretKey, MinerSigningSecretKey, RootSecretKey, SealingSecretKey};

    #[test]
    fn every_field_is_covered_by_the_signature() {
        let root = RootSecretKey::from_seed(&[1; 32]);
        let keys = |seed: u8| {
            AgentPublicKeys::new(
                IdentitySecretKey::from_seed(&[seed; 32]).public(),
                MinerSigningSecretKey::from_seed(&[3; 32]).public(),
                SealingSecretKey::from_scalar(&[4; 32]).public(),
            )
            .unwrap()
        };
        let certificate = AgentCertificate {
            org_id: OrgId::new(7).unwrap(),
            agent_id: AgentId::new(8).unwrap(),
            name: Name::new("site-1").unwrap(),
            keys: keys(2),
            key_epoch: 1,
            issued_at: UnixMillis::new(1000).unwrap(),
        };
        let signature = root.sign(certificate.transcript().as_bytes());
        assert!(SignedCertificate::verify(certificate.clone(), signature, &root.public()).is_ok());
        let other = RootSecretKey::from_seed(&[9; 32]).public();
        assert_eq!(
            SignedCertificate::verify(certificate.clone(), signature, &other),
            Err(CertificateError::Signature)
        );
        let changes: [fn(&mut AgentCertificate); 5] = [
            |c| c.org_id = OrgId::new(8).unwrap(),
            |c| c.agent_id = AgentId::new(9).unwrap(),
            |c| c.name = Name::new("site-2").unwrap(),
            |c| c.key_epoch = 2,
            |c| c.issued_at = UnixMillis::new(1001).unwrap(),
        ];
        for change in changes {
            let mut changed = certificate.clone();
            change(&mut changed);
            assert_eq!(
                SignedCertificate::verify(changed, signature, &root.public()),
                Err(CertificateError::Signature)
            );
        }
        let mut changed = certificate;
        changed.keys = keys(5);
        assert_eq!(
            SignedCertificate::verify(changed, signature, &root.public()),
            Err(CertificateError::Signature)
        );
    }
}
