//! Manifest and certificate.

use bytes::Bytes;
use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{
    AgentPublicKeys, CommandPublicKey, OperatorPublicKey, RecoveryPublicKey, RootPublicKey, Signature,
};
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SignedManifest};
use fleet_core::name::Name;

use super::{ConvertError, array, required_millis, timestamp};
use crate::fleet::v1;

impl From<&UnverifiedManifest> for v1::OrgManifest {
    fn from(signed: &UnverifiedManifest) -> Self {
        let manifest = &signed.manifest;
        Self {
            org_id: manifest.org_id.value(),
            org_name: manifest.org_name.as_str().to_owned(),
            epoch: manifest.epoch,
            root_pubkey: Bytes::copy_from_slice(manifest.root.as_bytes()),
            command_pubkey: Bytes::copy_from_slice(manifest.command.as_bytes()),
            recovery_pubkey: manifest.recovery.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            operator_pubkeys: manifest
                .operators
                .iter()
                .map(|key| Bytes::copy_from_slice(key.as_bytes()))
                .collect(),
            revoked: manifest.revoked.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
            signature: Bytes::copy_from_slice(&signed.signature.to_bytes()),
        }
    }
}

impl From<&SignedManifest> for v1::OrgManifest {
    fn from(signed: &SignedManifest) -> Self {
        Self::from(&UnverifiedManifest::from(signed))
    }
}

impl TryFrom<&v1::OrgManifest> for UnverifiedManifest {
    type Error = ConvertError;

    fn try_from(message: &v1::OrgManifest) -> Result<Self, Self::Error> {
        let operators = message.operator_pubkeys.iter().enumerate().map(|(index, key)| {
            OperatorPublicKey::parse(key)
                .map_err(|error| ConvertError::new(format_args!("operator_pubkeys[{index}]"), error))
        });
        let recovery = message.recovery_pubkey.as_ref().map(|key| {
            RecoveryPublicKey::parse(key).map_err(|error| ConvertError::new("recovery_pubkey", error))
        });
        let revoked = message.revoked.iter().map(|id| array("revoked", id).map(RevokedKeyId::from_bytes));
        let manifest = OrgManifest {
            org_id: OrgId::new(message.org_id).map_err(|error| ConvertError::new("org_id", error))?,
            org_name: Name::new(message.org_name.as_str())
                .map_err(|error| ConvertError::new("org_name", error))?,
            epoch: message.epoch,
            root: RootPublicKey::parse(&message.root_pubkey)
                .map_err(|error| ConvertError::new("root_pubkey", error))?,
            command: CommandPublicKey::parse(&message.command_pubkey)
                .map_err(|error| ConvertError::new("command_pubkey", error))?,
            recovery: recovery.transpose()?,
            operators: operators.collect::<Result<_, _>>()?,
            revoked: revoked.collect::<Result<_, _>>()?,
        };
        Ok(Self { manifest, signature: Signature::from_bytes(array("signature", &message.signature)?) })
    }
}

/// A certificate as it came over the wire, with what claims to be its root's signature.
impl TryFrom<&v1::AgentCertificate> for (AgentCertificate, Signature) {
    type Error = ConvertError;

    fn try_from(message: &v1::AgentCertificate) -> Result<Self, Self::Error> {
        let keys = AgentPublicKeys::parse(
            &message.identity_pubkey,
            &message.miner_signing_pubkey,
            &message.sealing_pubkey,
        );
        let certificate = AgentCertificate {
            org_id: OrgId::new(message.org_id).map_err(|error| ConvertError::new("org_id", error))?,
            agent_id: AgentId::new(message.agent_id).map_err(|error| ConvertError::new("agent_id", error))?,
            name: Name::new(message.name.as_str()).map_err(|error| ConvertError::new("name", error))?,
            keys: keys.map_err(|error| ConvertError::new(error.role().field(), error))?,
            key_epoch: message.key_epoch,
            issued_at: required_millis("issued_at", message.issued_at.as_ref())?,
        };
        Ok((certificate, Signature::from_bytes(array("signature", &message.signature)?)))
    }
}

impl From<&(AgentCertificate, Signature)> for v1::AgentCertificate {
    fn from((certificate, signature): &(AgentCertificate, Signature)) -> Self {
        Self {
            org_id: certificate.org_id.value(),
            agent_id: certificate.agent_id.value(),
            name: certificate.name.as_str().to_owned(),
            identity_pubkey: Bytes::copy_from_slice(certificate.keys.identity().as_bytes()),
            miner_signing_pubkey: Bytes::copy_from_slice(certificate.keys.miner_signing().as_bytes()),
            sealing_pubkey: Bytes::copy_from_slice(certificate.keys.sealing().as_bytes()),
            key_epoch: certificate.key_epoch,
            issued_at: Some(timestamp(certificate.issued_at)),
            signature: Bytes::copy_from_slice(&signature.to_bytes()),
        }
    }
}

impl From<&SignedCertificate> for v1::AgentCertificate {
    fn from(signed: &SignedCertificate) -> Self {
        Self::from(&(signed.certificate().clone(), *signed.signature()))
    }
}
