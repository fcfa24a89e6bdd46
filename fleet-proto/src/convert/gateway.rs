//! The calls of enrollment and handshake.

use bytes::Bytes;
use fleet_core::code::SessionToken;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::id::AgentId;
use fleet_core::keys::Signature;
use fleet_core::name::Name;
use fleet_core::store::AgentStatus;

use super::{ConvertError, Problem, array, required_millis, timestamp};
use crate::agentgateway::v1;

impl From<AgentStatus> for v1::EnrollmentStatus {
    fn from(status: AgentStatus) -> Self {
        match status {
            AgentStatus::Pending => Self::Pending,
            AgentStatus::Confirmed => Self::Confirmed,
            AgentStatus::Revoked => Self::Revoked,
            AgentStatus::Discarded => Self::Discarded,
        }
    }
}

fn agent_status(field: &'static str, value: i32) -> Result<AgentStatus, ConvertError> {
    let undefined = || ConvertError::new(field, Problem::Undefined { got: value });
    match v1::EnrollmentStatus::try_from(value).map_err(|_| undefined())? {
        v1::EnrollmentStatus::Pending => Ok(AgentStatus::Pending),
        v1::EnrollmentStatus::Confirmed => Ok(AgentStatus::Confirmed),
        v1::EnrollmentStatus::Revoked => Ok(AgentStatus::Revoked),
        v1::EnrollmentStatus::Discarded => Ok(AgentStatus::Discarded),
        v1::EnrollmentStatus::Unspecified => Err(undefined()),
    }
}

fn signature(field: &'static str, bytes: &[u8]) -> Result<Signature, ConvertError> {
    array(field, bytes).map(Signature::from_bytes)
}

fn manifest(
    field: &'static str,
    message: Option<&crate::fleet::v1::OrgManifest>,
) -> Result<UnverifiedManifest, ConvertError> {
    let message = message.ok_or_else(|| ConvertError::new(field, Problem::Missing))?;
    UnverifiedManifest::try_from(message).map_err(|error| error.within(field))
}

impl TryFrom<v1::RegisterRequest> for RegisterRequest {
    type Error = ConvertError;

    fn try_from(message: v1::RegisterRequest) -> Result<Self, Self::Error> {
        let keys = [
            array("identity_pubkey", &message.identity_pubkey)?,
            array("miner_signing_pubkey", &message.miner_signing_pubkey)?,
            array("sealing_pubkey", &message.sealing_pubkey)?,
        ];
        let proofs = [
            signature("identity_proof", &message.identity_proof)?,
            signature("miner_signing_proof", &message.miner_signing_proof)?,
        ];
        let name = Name::new(message.name).map_err(|error| ConvertError::new("name", error))?;
        Ok(Self::new(message.enrollment_token, name, keys, proofs))
    }
}

impl From<&RegisterRequest> for v1::RegisterRequest {
    fn from(request: &RegisterRequest) -> Self {
        Self {
            enrollment_token: request.expose_token().to_owned(),
            name: request.name.as_str().to_owned(),
            identity_pubkey: Bytes::copy_from_slice(&request.identity),
            miner_signing_pubkey: Bytes::copy_from_slice(&request.miner_signing),
            sealing_pubkey: Bytes::copy_from_slice(&request.sealing),
            identity_proof: Bytes::copy_from_slice(&request.identity_proof.to_bytes()),
            miner_signing_proof: Bytes::copy_from_slice(&request.miner_signing_proof.to_bytes()),
        }
    }
}

impl From<&RegisterResponse> for v1::RegisterResponse {
    fn from(response: &RegisterResponse) -> Self {
        Self {
            agent_id: response.agent_id.value(),
            enrollment_status: v1::EnrollmentStatus::from(response.status).into(),
            identity_fingerprint: response.fingerprint.to_string(),
            org_manifest: Some((&response.manifest).into()),
            sealed_api_key: response.sealed_api_key.clone().map(Into::into),
        }
    }
}

impl TryFrom<v1::RegisterResponse> for RegisterResponse {
    type Error = ConvertError;

    fn try_from(message: v1::RegisterResponse) -> Result<Self, Self::Error> {
        let fingerprint = message.identity_fingerprint.parse::<Fingerprint>();
        Ok(Self {
            agent_id: AgentId::new(message.agent_id).map_err(|error| ConvertError::new("agent_id", error))?,
            status: agent_status("enrollment_status", message.enrollment_status)?,
            fingerprint: fingerprint.map_err(|error| ConvertError::new("identity_fingerprint", error))?,
            manifest: manifest("org_manifest", message.org_manifest.as_ref())?,
            sealed_api_key: message.sealed_api_key.map(Into::into),
        })
    }
}

impl TryFrom<v1::BeginAuthHandshakeRequest> for BeginRequest {
    type Error = ConvertError;

    fn try_from(message: v1::BeginAuthHandshakeRequest) -> Result<Self, Self::Error> {
        let identity = array("identity_pubkey", &message.identity_pubkey)?;
        Ok(Self::new(message.api_key, identity, array("client_nonce", &message.client_nonce)?))
    }
}

impl From<&BeginRequest> for v1::BeginAuthHandshakeRequest {
    fn from(request: &BeginRequest) -> Self {
        Self {
            api_key: request.expose_api_key().to_owned(),
            identity_pubkey: Bytes::copy_from_slice(&request.identity),
            client_nonce: Bytes::copy_from_slice(&request.client_nonce),
        }
    }
}

impl From<&BeginResponse> for v1::BeginAuthHandshakeResponse {
    fn from(response: &BeginResponse) -> Self {
        Self {
            challenge: Bytes::copy_from_slice(&response.challenge),
            expires_at: Some(timestamp(response.expires_at)),
            server_time: Some(timestamp(response.server_time)),
            server_signature: Bytes::copy_from_slice(&response.signature.to_bytes()),
            org_manifest: Some((&response.manifest).into()),
            agent_certificate: Some((&response.certificate).into()),
            last_sequence: response.last_sequence,
        }
    }
}

impl TryFrom<v1::BeginAuthHandshakeResponse> for BeginResponse {
    type Error = ConvertError;

    fn try_from(message: v1::BeginAuthHandshakeResponse) -> Result<Self, Self::Error> {
        let certificate = message
            .agent_certificate
            .as_ref()
            .ok_or_else(|| ConvertError::new("agent_certificate", Problem::Missing))?
            .try_into()
            .map_err(|error: ConvertError| error.within("agent_certificate"))?;
        Ok(Self {
            challenge: array("challenge", &message.challenge)?,
            expires_at: required_millis("expires_at", message.expires_at.as_ref())?,
            server_time: required_millis("server_time", message.server_time.as_ref())?,
            last_sequence: message.last_sequence,
            manifest: manifest("org_manifest", message.org_manifest.as_ref())?,
            certificate,
            signature: signature("server_signature", &message.server_signature)?,
        })
    }
}

impl TryFrom<v1::CompleteAuthHandshakeRequest> for CompleteRequest {
    type Error = ConvertError;

    fn try_from(message: v1::CompleteAuthHandshakeRequest) -> Result<Self, Self::Error> {
        Ok(Self {
            challenge: array("challenge", &message.challenge)?,
            signature: signature("signature", &message.signature)?,
        })
    }
}

impl From<&CompleteRequest> for v1::CompleteAuthHandshakeRequest {
    fn from(request: &CompleteRequest) -> Self {
        Self {
            challenge: Bytes::copy_from_slice(&request.challenge),
            signature: Bytes::copy_from_slice(&request.signature.to_bytes()),
        }
    }
}

impl From<&CompleteResponse> for v1::CompleteAuthHandshakeResponse {
    fn from(response: &CompleteResponse) -> Self {
        Self {
            session_token: response.token.expose().to_owned(),
            expires_at: Some(timestamp(response.expires_at)),
        }
    }
}

impl TryFrom<v1::CompleteAuthHandshakeResponse> for CompleteResponse {
    type Error = ConvertError;

    fn try_from(message: v1::CompleteAuthHandshakeResponse) -> Result<Self, Self::Error> {
        let token = SessionToken::parse(&message.session_token);
        let length = Problem::Length { expected: 43, got: message.session_token.len() };
        Ok(Self {
            token: token.map_err(|_| ConvertError::new("session_token", length))?,
            expires_at: required_millis("expires_at", message.expires_at.as_ref())?,
        })
    }
}
