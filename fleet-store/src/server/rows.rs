//! The records of `fleet_core::store` as rows, and back.

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::keys::{
    AgentPublicKeys, CommandPublicKey, IdentityPublicKey, KeyRole, OperatorPublicKey, RecoveryPublicKey,
    RootPublicKey, Signature,
};
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SignedManifest};
use fleet_core::name::Name;
use fleet_core::store::{
    AgentKind, AgentRecord, AgentStatus, ChallengeRecord, EnrollmentRecord, EnrollmentState,
    OrganizationRecord, SessionRecord, Version, Versioned,
};

use super::commit::hash_bytes;
use crate::decode::Columns;
use crate::entity::hidden::HiddenBytes;
use crate::entity::{agent, agent_auth_challenge, agent_session, manifest, organization, pending_enrollment};
use crate::error::{DecodeError, Missing, UnsupportedValue};

pub(crate) const fn kind_word(kind: AgentKind) -> &'static str {
    match kind {
        AgentKind::Remote => "remote",
        AgentKind::Local => "local",
    }
}

pub(crate) fn kind_of(word: &str) -> Option<AgentKind> {
    [AgentKind::Remote, AgentKind::Local].into_iter().find(|kind| kind_word(*kind) == word)
}

pub(crate) const fn status_word(status: AgentStatus) -> &'static str {
    match status {
        AgentStatus::Pending => "pending",
        AgentStatus::Confirmed => "confirmed",
        AgentStatus::Revoked => "revoked",
        AgentStatus::Discarded => "discarded",
    }
}

pub(crate) fn status_of(word: &str) -> Option<AgentStatus> {
    [AgentStatus::Pending, AgentStatus::Confirmed, AgentStatus::Revoked, AgentStatus::Discarded]
        .into_iter()
        .find(|status| status_word(*status) == word)
}

pub(crate) const fn state_word(state: EnrollmentState) -> &'static str {
    match state {
        EnrollmentState::Pending => "pending",
        EnrollmentState::AwaitingConfirmation => "awaiting_confirmation",
        EnrollmentState::Confirmed => "confirmed",
        EnrollmentState::Expired => "expired",
        EnrollmentState::Cancelled => "cancelled",
    }
}

fn state_of(word: &str) -> Option<EnrollmentState> {
    [
        EnrollmentState::Pending,
        EnrollmentState::AwaitingConfirmation,
        EnrollmentState::Confirmed,
        EnrollmentState::Expired,
        EnrollmentState::Cancelled,
    ]
    .into_iter()
    .find(|state| state_word(*state) == word)
}

pub(crate) fn role_word(role: KeyRole) -> Result<&'static str, UnsupportedValue> {
    match role {
        KeyRole::Identity => Ok("identity"),
        KeyRole::MinerSigning => Ok("miner_signing"),
        KeyRole::Sealing => Ok("sealing"),
        KeyRole::Root | KeyRole::Command | KeyRole::Recovery | KeyRole::Operator | _ => {
            Err(UnsupportedValue { table: "agent_key", column: "role" })
        }
    }
}

pub(crate) fn organization(
    row: &organization::Model,
    manifest: manifest::Model,
) -> Result<Versioned<OrganizationRecord>, DecodeError> {
    let columns = Columns("organization");
    let record = OrganizationRecord {
        id: columns.id("id", row.id)?,
        manifest: signed_manifest(manifest)?,
        created_at: columns.time("created_at", row.created_at)?,
    };
    Ok(Versioned { record, version: Version::from_value(row.version) })
}

fn signed_manifest(row: manifest::Model) -> Result<SignedManifest, DecodeError> {
    let columns = Columns("manifest");
    let parse_recovery = |key: Vec<u8>| columns.value("recovery_key", RecoveryPublicKey::parse(&key));
    let parse_operator = |key: &[u8; 32]| columns.value("operator_keys", OperatorPublicKey::parse(key));
    let operators = columns.list::<32>("operator_keys", &row.operator_keys)?;
    let revoked = columns.list::<16>("revoked", &row.revoked)?;
    let manifest = OrgManifest {
        org_id: columns.id("org_id", row.org_id)?,
        org_name: columns.value("org_name", Name::new(row.org_name))?,
        epoch: row.epoch,
        root: columns.value("root_key", RootPublicKey::parse(&row.root_key))?,
        command: columns.value("command_key", CommandPublicKey::parse(&row.command_key))?,
        recovery: row.recovery_key.map(parse_recovery).transpose()?,
        operators: operators.iter().map(parse_operator).collect::<Result<_, _>>()?,
        revoked: revoked.into_iter().map(RevokedKeyId::from_bytes).collect(),
    };
    let signature = Signature::from_bytes(columns.bytes("signature", &row.signature.0)?);
    columns.value("signature", SignedManifest::verify(manifest, signature))
}

pub(crate) fn manifest_row(signed: &SignedManifest, now: i64) -> manifest::Model {
    let manifest = signed.manifest();
    manifest::Model {
        org_id: manifest.org_id.value(),
        epoch: manifest.epoch,
        org_name: manifest.org_name.as_str().to_owned(),
        root_key: manifest.root.as_bytes().to_vec(),
        command_key: manifest.command.as_bytes().to_vec(),
        recovery_key: manifest.recovery.as_ref().map(|key| key.as_bytes().to_vec()),
        operator_keys: manifest.operators.iter().flat_map(|key| *key.as_bytes()).collect(),
        revoked: manifest.revoked.iter().flat_map(|id| *id.as_bytes()).collect(),
        signature: HiddenBytes(signed.signature().to_bytes().to_vec()),
        created_at: now,
        updated_at: now,
    }
}

pub(crate) fn agent(row: agent::Model, root: &RootPublicKey) -> Result<Versioned<AgentRecord>, DecodeError> {
    let columns = Columns("agent");
    let version = Version::from_value(row.version);
    let certificate = certificate(&row, root)?;
    let record = AgentRecord {
        id: columns.id("id", row.id)?,
        org_id: columns.id("org_id", row.org_id)?,
        name: columns.value("name", Name::new(row.name))?,
        kind: columns.word("kind", kind_of(&row.kind))?,
        keys: columns.value(
            "identity_key",
            AgentPublicKeys::parse(&row.identity_key, &row.miner_signing_key, &row.sealing_key),
        )?,
        status: columns.word("status", status_of(&row.status))?,
        enrollment_id: columns.optional_id("enrollment_id", row.enrollment_id)?,
        certificate,
        sealed_api_key: row.sealed_api_key.map(|sealed| sealed.0),
        created_at: columns.time("created_at", row.created_at)?,
        confirmed_at: columns.optional_time("confirmed_at", row.confirmed_at)?,
        revoked_at: columns.optional_time("revoked_at", row.revoked_at)?,
        last_sequence: row.last_sequence,
        last_begin_at: columns.optional_time("last_begin_at", row.last_begin_at)?,
    };
    Ok(Versioned { record, version })
}

fn certificate(row: &agent::Model, root: &RootPublicKey) -> Result<Option<SignedCertificate>, DecodeError> {
    let columns = Columns("agent");
    let Some(signature) = &row.certificate_signature else { return Ok(None) };
    let missing = |column: &'static str| move || columns.bad(column, Missing);
    let identity = row.certificate_identity_key.as_ref().ok_or_else(missing("certificate_identity_key"))?;
    let miner_signing =
        row.certificate_miner_signing_key.as_ref().ok_or_else(missing("certificate_miner_signing_key"))?;
    let sealing = row.certificate_sealing_key.as_ref().ok_or_else(missing("certificate_sealing_key"))?;
    let name = row.certificate_name.as_deref().ok_or_else(missing("certificate_name"))?;
    let issued_at = row.certificate_issued_at.ok_or_else(missing("certificate_issued_at"))?;
    let keys = AgentPublicKeys::parse(identity, miner_signing, sealing);
    let certificate = AgentCertificate {
        org_id: columns.id("org_id", row.org_id)?,
        agent_id: columns.id("id", row.id)?,
        name: columns.value("certificate_name", Name::new(name))?,
        keys: columns.value("certificate_identity_key", keys)?,
        key_epoch: row.certificate_key_epoch.ok_or_else(missing("certificate_key_epoch"))?,
        issued_at: columns.time("certificate_issued_at", issued_at)?,
    };
    let signature = Signature::from_bytes(columns.bytes("certificate_signature", &signature.0)?);
    let verified = SignedCertificate::verify(certificate, signature, root);
    columns.value("certificate_signature", verified).map(Some)
}

pub(crate) fn enrollment(
    row: &pending_enrollment::Model,
) -> Result<Versioned<EnrollmentRecord>, DecodeError> {
    let columns = Columns("pending_enrollment");
    let record = EnrollmentRecord {
        id: columns.id("id", row.id)?,
        org_id: columns.id("org_id", row.org_id)?,
        code: columns.hash("code_hash", &row.code_hash.0)?,
        state: columns.word("state", state_of(&row.state))?,
        created_at: columns.time("created_at", row.created_at)?,
        expires_at: columns.time("expires_at", row.expires_at)?,
        agent_id: columns.optional_id("agent_id", row.agent_id)?,
        answered_at: columns.optional_time("answered_at", row.answered_at)?,
        second_uses: row.second_uses,
        second_use_at: columns.optional_time("second_use_at", row.second_use_at)?,
    };
    Ok(Versioned { record, version: Version::from_value(row.version) })
}

pub(crate) fn challenge(row: &agent_auth_challenge::Model) -> Result<ChallengeRecord, DecodeError> {
    let columns = Columns("agent_auth_challenge");
    Ok(ChallengeRecord {
        challenge: columns.bytes("challenge", &row.challenge.0)?,
        agent_id: columns.id("agent_id", row.agent_id)?,
        api_key: columns.hash("api_key_hash", &row.api_key_hash.0)?,
        identity: columns.value("identity_key", IdentityPublicKey::parse(&row.identity_key))?,
        client_nonce: columns.bytes("client_nonce", &row.client_nonce.0)?,
        command: columns.value("command_key", CommandPublicKey::parse(&row.command_key))?,
        server_time: columns.time("server_time", row.server_time)?,
        expires_at: columns.time("expires_at", row.expires_at)?,
        last_sequence: row.last_sequence,
        manifest_hash: columns.bytes("manifest_hash", &row.manifest_hash)?,
    })
}

pub(crate) fn challenge_row(record: &ChallengeRecord, now: i64) -> agent_auth_challenge::Model {
    agent_auth_challenge::Model {
        agent_id: record.agent_id.value(),
        challenge: HiddenBytes(record.challenge.to_vec()),
        api_key_hash: hash_bytes(&record.api_key),
        identity_key: record.identity.as_bytes().to_vec(),
        client_nonce: HiddenBytes(record.client_nonce.to_vec()),
        command_key: record.command.as_bytes().to_vec(),
        server_time: record.server_time.value(),
        expires_at: record.expires_at.value(),
        last_sequence: record.last_sequence,
        manifest_hash: record.manifest_hash.to_vec(),
        created_at: record.server_time.value(),
        updated_at: now,
    }
}

pub(crate) fn session(row: &agent_session::Model) -> Result<SessionRecord, DecodeError> {
    let columns = Columns("agent_session");
    Ok(SessionRecord {
        token: columns.hash("token_hash", &row.token_hash.0)?,
        agent_id: columns.id("agent_id", row.agent_id)?,
        api_key: columns.hash("api_key_hash", &row.api_key_hash.0)?,
        identity: columns.value("identity_key", IdentityPublicKey::parse(&row.identity_key))?,
        command: columns.value("command_key", CommandPublicKey::parse(&row.command_key))?,
        created_at: columns.time("created_at", row.created_at)?,
        expires_at: columns.time("expires_at", row.expires_at)?,
    })
}

pub(crate) fn session_row(record: &SessionRecord, now: i64) -> agent_session::Model {
    agent_session::Model {
        token_hash: hash_bytes(&record.token),
        agent_id: record.agent_id.value(),
        api_key_hash: hash_bytes(&record.api_key),
        identity_key: record.identity.as_bytes().to_vec(),
        command_key: record.command.as_bytes().to_vec(),
        expires_at: record.expires_at.value(),
        created_at: record.created_at.value(),
        updated_at: now,
    }
}
