//! Writing a changeset.
//!
//! Rows are written in one order by every flow, organization, agent, enrollment, so that two
//! flows on PostgreSQL cannot wait for each other.

use fleet_core::code::SecretHash;
use fleet_core::id::AgentId;
use fleet_core::store::{
    AgentApiKeyRecord, Changeset, CommitError, EnrollmentRecord, OrganizationRecord, Put, SessionRecord,
    StoreError, Version,
};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, UpdateResult,
};

use super::{agent as agent_write, rows};
use crate::activity;
use crate::entity::hidden::HiddenBytes;
use crate::entity::{
    agent, agent_auth_challenge, agent_session, api_key, manifest, organization, pending_enrollment,
};
use crate::error::{backend, is_contention, is_foreign_key, is_unique};
use crate::store::now_millis;
use crate::transaction::Transaction;

/// Writes all of `change`; on an error the transaction is to be rolled back.
pub(crate) async fn apply(tx: &Transaction, change: Changeset) -> Result<(), CommitError> {
    let now = now_millis();
    let agent_id = change.agent.as_ref().map(|put| put.record.id);
    if let Some(put) = change.organization {
        put_organization(tx, put, now).await?;
    }
    if let Some((id, version)) = change.organization_unchanged {
        // Shared: any number of decisions may rest on one organization, and none while it changes.
        let held =
            organization::Entity::find_by_id(id.value()).lock_shared().one(tx).await.map_err(refused)?;
        if held.map(|held| held.version) != Some(version.value()) {
            return Err(CommitError::Stale);
        }
    }
    let forgotten = change.forget_credentials.map(AgentId::value);
    let mut agents: Vec<i64> = [
        agent_id.map(AgentId::value),
        forgotten,
        change.api_key.as_ref().map(|key| key.agent_id.value()),
        change.challenge.as_ref().map(|challenge| challenge.agent_id.value()),
    ]
    .into_iter()
    .flatten()
    .collect();
    agents.sort_unstable();
    agents.dedup();
    lock_agents(tx, agents).await?;
    if let Some(agent) = forgotten {
        forget_credentials(tx, agent).await?;
    }
    if let Some(put) = change.agent {
        agent_write::put(tx, put, now).await?;
    }
    if let Some(put) = change.enrollment {
        put_enrollment(tx, put, now).await?;
    }
    if let Some(key) = change.api_key {
        let row = agent_api_key_row(&key, now).into_active_model();
        api_key::Entity::insert(row).exec_without_returning(tx).await.map_err(refused)?;
    }
    if let Some(challenge) = change.challenge {
        let of_agent = agent_auth_challenge::Entity::delete_by_id(challenge.agent_id.value());
        of_agent.exec(tx).await.map_err(refused)?;
        let row = rows::challenge_row(&challenge, now).into_active_model();
        agent_auth_challenge::Entity::insert(row).exec_without_returning(tx).await.map_err(refused)?;
    }
    if let Some(sessions) = change.sessions {
        let agent_id = agent_id.ok_or(CommitError::Stale)?;
        put_sessions(tx, agent_id.value(), &sessions, now).await?;
    }
    let lines = change.activity.iter().map(|line| activity::row(line, now));
    activity::insert(tx, lines.collect()).await?;
    Ok(())
}

/// What a failed write means: another flow was first, or the backend failed.
pub(crate) fn refused(error: DbErr) -> CommitError {
    if is_unique(&error) || is_foreign_key(&error) || is_contention(&error) {
        CommitError::Stale
    } else {
        backend(error).into()
    }
}

/// Whether an update that names the version it expects found its row.
pub(super) fn found(result: Result<UpdateResult, DbErr>) -> Result<(), CommitError> {
    if result.map_err(refused)?.rows_affected == 1 { Ok(()) } else { Err(CommitError::Stale) }
}

async fn lock_agents(tx: &Transaction, ids: Vec<i64>) -> Result<(), CommitError> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = agent::Entity::find().filter(agent::Column::Id.is_in(ids)).order_by_asc(agent::Column::Id);
    // SQLite ignores the lock: there is one writer.
    rows.lock_exclusive().all(tx).await.map_err(refused)?;
    Ok(())
}

async fn put_organization(
    tx: &Transaction,
    put: Put<OrganizationRecord>,
    now: i64,
) -> Result<(), CommitError> {
    let id = put.record.id.value();
    let row = rows::manifest_row(&put.record.manifest, now);
    let columns = |version: Version| organization::ActiveModel {
        id: Set(id),
        epoch: Set(row.epoch),
        version: Set(version.value()),
        created_at: Set(put.record.created_at.value()),
        updated_at: Set(now),
        // Given by `Store::set_up` and `Store::create_organization`, and kept.
        number: NotSet,
        name_key: NotSet,
    };
    match put.expected {
        None => {
            let insert = organization::Entity::insert(columns(Version::FIRST));
            insert.exec_without_returning(tx).await.map_err(refused)?;
        }
        Some(expected) => found(
            organization::Entity::update_many()
                .set(columns(expected.next()))
                .filter(organization::Column::Id.eq(id))
                .filter(organization::Column::Version.eq(expected.value()))
                .exec(tx)
                .await,
        )?,
    }
    // A manifest with another command key ends every session of the organization.
    let agents = agent::Entity::find().select_only().column(agent::Column::Id);
    let of_org = agents.filter(agent::Column::OrgId.eq(id)).as_query().clone();
    agent_session::Entity::delete_many()
        .filter(agent_session::Column::AgentId.in_subquery(of_org))
        .filter(agent_session::Column::CommandKey.ne(row.command_key.clone()))
        .exec(tx)
        .await
        .map_err(refused)?;
    let held = manifest::Entity::find_by_id((id, row.epoch)).one(tx).await.map_err(refused)?;
    match held {
        None => {
            let insert = manifest::Entity::insert(row.into_active_model());
            insert.exec_without_returning(tx).await.map_err(refused)?;
        }
        // An epoch stands for one manifest, for ever.
        Some(held) if held.signature != row.signature || held.org_name != row.org_name => {
            return Err(CommitError::Stale);
        }
        Some(_) => {}
    }
    Ok(())
}

async fn put_enrollment(tx: &Transaction, put: Put<EnrollmentRecord>, now: i64) -> Result<(), CommitError> {
    let record = put.record;
    let columns = |version: Version| pending_enrollment::ActiveModel {
        id: Set(record.id.value()),
        org_id: Set(record.org_id.value()),
        code_hash: Set(hash_bytes(&record.code)),
        state: Set(rows::state_word(record.state).to_owned()),
        expires_at: Set(record.expires_at.value()),
        agent_id: Set(record.agent_id.map(AgentId::value)),
        answered_at: Set(record.answered_at.map(UnixMillis::value)),
        second_uses: Set(record.second_uses),
        second_use_at: Set(record.second_use_at.map(UnixMillis::value)),
        version: Set(version.value()),
        created_at: Set(record.created_at.value()),
        updated_at: Set(now),
    };
    match put.expected {
        None => {
            let insert = pending_enrollment::Entity::insert(columns(Version::FIRST));
            insert.exec_without_returning(tx).await.map_err(refused)?;
            Ok(())
        }
        Some(expected) => found(
            pending_enrollment::Entity::update_many()
                .set(columns(expected.next()))
                .filter(pending_enrollment::Column::Id.eq(record.id.value()))
                .filter(pending_enrollment::Column::Version.eq(expected.value()))
                .exec(tx)
                .await,
        ),
    }
}

/// Sessions and challenges go with the api_key that they were made by.
async fn forget_credentials(tx: &Transaction, agent: i64) -> Result<(), CommitError> {
    let keys = api_key::Entity::delete_many().filter(api_key::Column::AgentId.eq(agent));
    keys.exec(tx).await.map_err(refused)?;
    Ok(())
}

async fn put_sessions(
    tx: &Transaction,
    agent: i64,
    sessions: &[SessionRecord],
    now: i64,
) -> Result<(), CommitError> {
    let of_agent = agent_session::Entity::delete_many().filter(agent_session::Column::AgentId.eq(agent));
    of_agent.exec(tx).await.map_err(refused)?;
    for session in sessions {
        if session.agent_id.value() != agent {
            return Err(CommitError::Stale);
        }
        let row = rows::session_row(session, now).into_active_model();
        agent_session::Entity::insert(row).exec_without_returning(tx).await.map_err(refused)?;
    }
    Ok(())
}

fn agent_api_key_row(key: &AgentApiKeyRecord, now: i64) -> api_key::Model {
    api_key::Model {
        hash: hash_bytes(&key.hash),
        digits: key.digits.clone(),
        subject_kind: "agent".to_owned(),
        user_id: None,
        agent_id: Some(key.agent_id.value()),
        label: None,
        expires_at: None,
        last_used_at: None,
        created_at: key.created_at.value(),
        updated_at: now,
        membership_id: None,
    }
}

pub(crate) fn hash_bytes(hash: &SecretHash) -> HiddenBytes {
    HiddenBytes(hash.as_bytes().to_vec())
}

/// Deletes a challenge and returns it, in one statement.
pub(super) async fn take_challenge(
    tx: &Transaction,
    challenge: &[u8; 32],
) -> Result<Option<agent_auth_challenge::Model>, StoreError> {
    let statement = sea_orm::Statement::from_sql_and_values(
        tx.get_database_backend(),
        "DELETE FROM agent_auth_challenge WHERE challenge = $1 RETURNING *",
        [challenge.to_vec().into()],
    );
    agent_auth_challenge::Entity::find().from_raw_sql(statement).one(tx).await.map_err(backend)
}
