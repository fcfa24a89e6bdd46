//! Writing an agent: its row, its keys, and what its end means for its devices.

use fleet_core::id::EnrollmentId;
use fleet_core::keys::KeyRole;
use fleet_core::store::{AgentRecord, AgentStatus, CommitError, Put, Version};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect,
};

use super::commit::{found, refused};
use super::rows;
use crate::devices;
use crate::entity::hidden::HiddenBytes;
use crate::entity::{agent, agent_key};
use crate::error::{backend, is_unique, is_unique_in};
use crate::transaction::Transaction;

/// Whether an agent's name is its own.
const fn is_live(status: AgentStatus) -> bool {
    match status {
        AgentStatus::Pending | AgentStatus::Confirmed => true,
        AgentStatus::Revoked | AgentStatus::Discarded => false,
    }
}

pub(super) async fn put(tx: &Transaction, put: Put<AgentRecord>, now: i64) -> Result<(), CommitError> {
    let record = put.record;
    let held = agent::Entity::find_by_id(record.id.value()).one(tx).await.map_err(refused)?;
    let same_claims = held.as_ref().is_some_and(|held| has_same_claims(held, &record));
    if !same_claims {
        check_unique(tx, &record).await?;
    }
    let deleted_at = match is_live(record.status) {
        true => None,
        false => held.as_ref().and_then(|held| held.deleted_at).or(Some(now)),
    };
    match put.expected {
        None => {
            let row = columns(&record, Version::FIRST, deleted_at, now);
            let insert = agent::Entity::insert(row).exec_without_returning(tx).await;
            insert.map_err(name_or_stale)?;
        }
        Some(expected) => {
            let row = columns(&record, expected.next(), deleted_at, now);
            let update = agent::Entity::update_many()
                .set(row)
                .filter(agent::Column::Id.eq(record.id.value()))
                .filter(agent::Column::Version.eq(expected.value()))
                .exec(tx)
                .await;
            match update {
                Err(error) => return Err(name_or_stale(error)),
                found_or_not => found(found_or_not)?,
            }
        }
    }
    if !same_claims {
        put_keys(tx, &record, now).await?;
    }
    let ends = held.is_none_or(|held| held.deleted_at.is_none()) && !is_live(record.status);
    if ends {
        devices::release(tx, &record).await?;
    }
    Ok(())
}

/// Whether the write changes nothing that must be unique.
fn has_same_claims(held: &agent::Model, record: &AgentRecord) -> bool {
    held.org_id == record.org_id.value()
        && held.name == record.name.as_str()
        && held.status == rows::status_word(record.status)
        && held.identity_key == record.keys.identity().as_bytes()
        && held.miner_signing_key == record.keys.miner_signing().as_bytes()
        && held.sealing_key == record.keys.sealing().as_bytes()
}

fn name_or_stale(error: sea_orm::DbErr) -> CommitError {
    if is_unique_in(&error, "agent_live_name", "agent.org_id, agent.name") {
        CommitError::NameTaken
    } else {
        refused(error)
    }
}

async fn check_unique(tx: &Transaction, record: &AgentRecord) -> Result<(), CommitError> {
    if is_live(record.status) {
        let same_name = agent::Entity::find()
            .select_only()
            .column(agent::Column::Id)
            .filter(agent::Column::OrgId.eq(record.org_id.value()))
            .filter(agent::Column::Name.eq(record.name.as_str()))
            .filter(agent::Column::DeletedAt.is_null())
            .filter(agent::Column::Id.ne(record.id.value()));
        let taken: Option<i64> = same_name.into_tuple().one(tx).await.map_err(backend)?;
        if taken.is_some() {
            return Err(CommitError::NameTaken);
        }
    }
    if record.status == AgentStatus::Discarded {
        return Ok(());
    }
    let keys = record.keys.by_role();
    let bytes = keys.iter().map(|(_, key)| key.to_vec());
    let taken = agent_key::Entity::find()
        .filter(agent_key::Column::KeyBytes.is_in(bytes))
        .filter(agent_key::Column::AgentId.ne(record.id.value()))
        .all(tx)
        .await
        .map_err(backend)?;
    let is_taken = |key: &[u8; 32]| taken.iter().any(|row| row.key_bytes == key);
    match keys.into_iter().find(|(_, key)| is_taken(key)) {
        Some((role, _)) => Err(CommitError::KeyTaken { role }),
        None => Ok(()),
    }
}

/// Claims the agent's keys, or frees them if it is discarded.
async fn put_keys(tx: &Transaction, record: &AgentRecord, now: i64) -> Result<(), CommitError> {
    let own = agent_key::Entity::delete_many().filter(agent_key::Column::AgentId.eq(record.id.value()));
    own.exec(tx).await.map_err(refused)?;
    if record.status == AgentStatus::Discarded {
        return Ok(());
    }
    // In one order by every writer, and one by one, so that the refused one is known.
    let mut keys: Vec<(KeyRole, &[u8; 32])> = record.keys.by_role().to_vec();
    keys.sort_unstable_by_key(|(_, key)| *key);
    for (role, key) in keys {
        let row = agent_key::ActiveModel {
            key_bytes: Set(key.to_vec()),
            agent_id: Set(record.id.value()),
            role: Set(rows::role_word(role).map_err(fleet_core::store::StoreError::from)?.to_owned()),
            created_at: Set(now),
            updated_at: Set(now),
        };
        agent_key::Entity::insert(row).exec_without_returning(tx).await.map_err(|error| {
            if is_unique(&error) { CommitError::KeyTaken { role } } else { refused(error) }
        })?;
    }
    Ok(())
}

/// Every column that the record holds; what the agent reports of itself is left as it is.
fn columns(record: &AgentRecord, version: Version, deleted_at: Option<i64>, now: i64) -> agent::ActiveModel {
    let signed = record.certificate.as_ref();
    let certificate = signed.map(fleet_core::certificate::SignedCertificate::certificate);
    agent::ActiveModel {
        id: Set(record.id.value()),
        org_id: Set(record.org_id.value()),
        name: Set(record.name.as_str().to_owned()),
        kind: Set(rows::kind_word(record.kind).to_owned()),
        status: Set(rows::status_word(record.status).to_owned()),
        identity_key: Set(record.keys.identity().as_bytes().to_vec()),
        miner_signing_key: Set(record.keys.miner_signing().as_bytes().to_vec()),
        sealing_key: Set(record.keys.sealing().as_bytes().to_vec()),
        enrollment_id: Set(record.enrollment_id.map(EnrollmentId::value)),
        certificate_name: Set(certificate.map(|c| c.name.as_str().to_owned())),
        certificate_key_epoch: Set(certificate.map(|c| c.key_epoch)),
        certificate_issued_at: Set(certificate.map(|c| c.issued_at.value())),
        certificate_identity_key: Set(certificate.map(|c| c.keys.identity().as_bytes().to_vec())),
        certificate_miner_signing_key: Set(certificate.map(|c| c.keys.miner_signing().as_bytes().to_vec())),
        certificate_sealing_key: Set(certificate.map(|c| c.keys.sealing().as_bytes().to_vec())),
        certificate_signature: Set(signed.map(|signed| HiddenBytes(signed.signature().to_bytes().to_vec()))),
        sealed_api_key: Set(record.sealed_api_key.clone().map(HiddenBytes)),
        confirmed_at: Set(record.confirmed_at.map(UnixMillis::value)),
        revoked_at: Set(record.revoked_at.map(UnixMillis::value)),
        last_sequence: Set(record.last_sequence),
        last_begin_at: Set(record.last_begin_at.map(UnixMillis::value)),
        last_heartbeat_at: NotSet,
        agent_version: NotSet,
        version: Set(version.value()),
        created_at: Set(record.created_at.value()),
        updated_at: Set(now),
        deleted_at: Set(deleted_at),
    }
}
