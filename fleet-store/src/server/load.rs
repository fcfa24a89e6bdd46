//! Reading a snapshot.

use fleet_core::code::SecretHash;
use fleet_core::keys::RootPublicKey;
use fleet_core::store::{OrganizationRecord, Query, Snapshot, StoreError, Versioned};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::commit::hash_bytes;
use super::rows;
use crate::decode::Columns;
use crate::entity::{agent, agent_session, api_key, manifest, organization, pending_enrollment};
use crate::error::{Missing, UnsupportedValue, backend};

/// Finds what `query` asks for; `db` sees one moment.
pub(super) async fn load<C: ConnectionTrait>(db: &C, query: &Query) -> Result<Option<Snapshot>, StoreError> {
    match query {
        Query::Organization(id) => {
            let organization = organization_by_id(db, id.value()).await?;
            Ok(organization.map(|organization| Snapshot {
                organization,
                enrollment: None,
                agent: None,
                sessions: Vec::new(),
            }))
        }
        Query::EnrollmentByCode(code) => {
            let by_code = pending_enrollment::Column::CodeHash.eq(hash_bytes(code));
            of_enrollment(db, pending_enrollment::Entity::find().filter(by_code)).await
        }
        Query::Enrollment(id) => of_enrollment(db, pending_enrollment::Entity::find_by_id(id.value())).await,
        Query::Agent(id) => of_agent(db, id.value()).await,
        Query::AgentByApiKey(hash) => match agent_by_api_key(db, hash).await? {
            Some(agent) => of_agent(db, agent).await,
            None => Ok(None),
        },
        Query::AgentBySession(token) => {
            let found = agent_session::Entity::find_by_id(hash_bytes(token));
            match found.one(db).await.map_err(backend)? {
                Some(session) => of_agent(db, session.agent_id).await,
                None => Ok(None),
            }
        }
        _ => Err(UnsupportedValue { table: "agent", column: "id" }.into()),
    }
}

async fn agent_by_api_key<C: ConnectionTrait>(db: &C, hash: &SecretHash) -> Result<Option<i64>, StoreError> {
    let found = api_key::Entity::find_by_id(hash_bytes(hash));
    let key = found.filter(api_key::Column::SubjectKind.eq("agent")).one(db).await.map_err(backend)?;
    Ok(key.and_then(|key| key.agent_id))
}

/// An organization with its manifest in force.
pub(crate) async fn organization_by_id<C: ConnectionTrait>(
    db: &C,
    id: i64,
) -> Result<Option<Versioned<OrganizationRecord>>, StoreError> {
    let found = organization::Entity::find_by_id(id).one(db).await.map_err(backend)?;
    let Some(row) = found else { return Ok(None) };
    with_manifest(db, &row).await.map(Some)
}

/// The manifest in force of an organization.
pub(crate) async fn with_manifest<C: ConnectionTrait>(
    db: &C,
    row: &organization::Model,
) -> Result<Versioned<OrganizationRecord>, StoreError> {
    let manifest = manifest::Entity::find_by_id((row.id, row.epoch)).one(db).await.map_err(backend)?;
    let manifest = manifest.ok_or_else(|| Columns("organization").bad("epoch", Missing))?;
    Ok(rows::organization(row, manifest)?)
}

/// The root that an organization's certificates verify under.
pub(crate) async fn root_of<C: ConnectionTrait>(
    db: &C,
    org_id: i64,
) -> Result<Option<RootPublicKey>, StoreError> {
    let organization = organization_by_id(db, org_id).await?;
    Ok(organization.map(|organization| organization.record.manifest.manifest().root))
}

async fn of_enrollment<C: ConnectionTrait>(
    db: &C,
    find: sea_orm::Select<pending_enrollment::Entity>,
) -> Result<Option<Snapshot>, StoreError> {
    let Some(row) = find.one(db).await.map_err(backend)? else { return Ok(None) };
    let enrollment = rows::enrollment(&row)?;
    let snapshot = match row.agent_id {
        Some(agent) => of_agent(db, agent).await?,
        None => organization_by_id(db, row.org_id).await?.map(|organization| Snapshot {
            organization,
            enrollment: None,
            agent: None,
            sessions: Vec::new(),
        }),
    };
    Ok(snapshot.map(|snapshot| Snapshot { enrollment: Some(enrollment), ..snapshot }))
}

async fn of_agent<C: ConnectionTrait>(db: &C, id: i64) -> Result<Option<Snapshot>, StoreError> {
    let Some(row) = agent::Entity::find_by_id(id).one(db).await.map_err(backend)? else { return Ok(None) };
    let Some(organization) = organization_by_id(db, row.org_id).await? else { return Ok(None) };
    let enrollment = match row.enrollment_id {
        Some(id) => pending_enrollment::Entity::find_by_id(id).one(db).await.map_err(backend)?,
        None => None,
    };
    let enrollment = enrollment.as_ref().map(rows::enrollment).transpose()?;
    let of_agent = agent_session::Column::AgentId.eq(id);
    let sessions = agent_session::Entity::find().filter(of_agent).all(db).await.map_err(backend)?;
    let sessions = sessions.iter().map(rows::session).collect::<Result<_, _>>()?;
    let agent = Some(rows::agent(row, &organization.record.manifest.manifest().root)?);
    Ok(Some(Snapshot { organization, enrollment, agent, sessions }))
}
