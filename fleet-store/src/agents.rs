//! Listing agents and enrollments.

use std::collections::HashMap;

use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::RootPublicKey;
use fleet_core::store::{AgentRecord, EnrollmentRecord, StoreError, Versioned};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait as _, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::decode::Columns;
use crate::entity::{agent, pending_enrollment};
use crate::error::backend;
use crate::server::load::root_of;
use crate::server::rows;
use crate::store::Store;
use crate::transaction::Transaction;

/// The most rows of a page: 1000, and one more by which a caller sees that there is another page.
const PAGE: u32 = 1001;

/// An agent with what stands beside it in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentListing {
    /// The agent.
    pub agent: AgentRecord,
    /// The enrollment that made it.
    pub enrollment: Option<EnrollmentRecord>,
    /// When it last said that it is alive.
    pub last_heartbeat_at: Option<UnixMillis>,
    /// The version that it runs, in its own words.
    pub agent_version: Option<String>,
    /// How many devices it owns.
    pub devices: i64,
}

/// Which agents to list. The default leaves out discarded ones and the local one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentFilter {
    /// Discarded ones too.
    pub include_discarded: bool,
    /// The agent half in the server's process too.
    pub include_local: bool,
}

impl Store {
    /// The organization's agents by ascending id, those above `after`, at most `limit` and never
    /// more than 1000.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn agents(
        &self,
        org: OrgId,
        filter: AgentFilter,
        after: Option<AgentId>,
        limit: u32,
    ) -> Result<Vec<AgentListing>, StoreError> {
        let mut which = Condition::all()
            .add(agent::Column::OrgId.eq(org.value()))
            .add(agent::Column::Id.gt(after.map_or(0, AgentId::value)));
        if !filter.include_discarded {
            which = which.add(agent::Column::Status.ne("discarded"));
        }
        if !filter.include_local {
            which = which.add(agent::Column::Kind.ne("local"));
        }
        self.list_agents(org, which, limit).await
    }

    /// One agent of the organization, whatever its kind and status.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn agent(&self, org: OrgId, id: AgentId) -> Result<Option<AgentListing>, StoreError> {
        let which =
            Condition::all().add(agent::Column::OrgId.eq(org.value())).add(agent::Column::Id.eq(id.value()));
        Ok(self.list_agents(org, which, 1).await?.into_iter().next())
    }

    /// The agent half in the server's process, if there is one that is not revoked.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn local_agent(&self, org: OrgId) -> Result<Option<Versioned<AgentRecord>>, StoreError> {
        let tx = self.read().await?;
        let Some(root) = root_of(&tx, org.value()).await? else { return Ok(None) };
        let found = agent::Entity::find()
            .filter(agent::Column::OrgId.eq(org.value()))
            .filter(agent::Column::Kind.eq("local"))
            .filter(agent::Column::DeletedAt.is_null())
            .order_by_asc(agent::Column::Id);
        let row = found.one(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(row.map(|row| rows::agent(row, &root)).transpose()?)
    }

    /// The organization's enrollments by ascending id, those above `after`, at most `limit` and
    /// never more than 1000, with the agents that registered; with `only_open` those that wait for
    /// an agent or for confirmation.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn enrollments(
        &self,
        org: OrgId,
        after: Option<EnrollmentId>,
        limit: u32,
        only_open: bool,
    ) -> Result<Vec<(EnrollmentRecord, Option<AgentRecord>)>, StoreError> {
        let tx = self.read().await?;
        let Some(root) = root_of(&tx, org.value()).await? else { return Ok(Vec::new()) };
        let mut found = pending_enrollment::Entity::find()
            .filter(pending_enrollment::Column::OrgId.eq(org.value()))
            .filter(pending_enrollment::Column::Id.gt(after.map_or(0, EnrollmentId::value)));
        if only_open {
            let open = ["pending", "awaiting_confirmation"];
            found = found.filter(pending_enrollment::Column::State.is_in(open));
        }
        let page = found.order_by_asc(pending_enrollment::Column::Id).limit(u64::from(limit.min(PAGE)));
        let enrollments = page.all(&tx).await.map_err(backend)?;
        let mut agents = self.agents_of(&tx, &enrollments, &root).await?;
        tx.commit().await.map_err(backend)?;
        let with_agent = |row: &pending_enrollment::Model| {
            let agent = row.agent_id.and_then(|id| agents.remove(&id));
            Ok((rows::enrollment(row)?.record, agent))
        };
        enrollments.iter().map(with_agent).collect()
    }

    async fn agents_of(
        &self,
        tx: &Transaction,
        enrollments: &[pending_enrollment::Model],
        root: &RootPublicKey,
    ) -> Result<HashMap<i64, AgentRecord>, StoreError> {
        let ids = enrollments.iter().filter_map(|row| row.agent_id);
        let found = agent::Entity::find().filter(agent::Column::Id.is_in(ids));
        let rows = found.all(tx).await.map_err(backend)?;
        let record = |row: agent::Model| Ok((row.id, rows::agent(row, root)?.record));
        rows.into_iter().map(record).collect()
    }

    async fn list_agents(
        &self,
        org: OrgId,
        which: Condition,
        limit: u32,
    ) -> Result<Vec<AgentListing>, StoreError> {
        let tx = self.read().await?;
        let Some(root) = root_of(&tx, org.value()).await? else { return Ok(Vec::new()) };
        let page = agent::Entity::find().filter(which).order_by_asc(agent::Column::Id);
        let agents = page.limit(u64::from(limit.min(PAGE))).all(&tx).await.map_err(backend)?;
        let ids = agents.iter().filter_map(|row| row.enrollment_id);
        let found = pending_enrollment::Entity::find().filter(pending_enrollment::Column::Id.is_in(ids));
        let enrollments = found.all(&tx).await.map_err(backend)?;
        let enrollments: HashMap<i64, pending_enrollment::Model> =
            enrollments.into_iter().map(|row| (row.id, row)).collect();
        let owned = self.owned(&tx, org).await?;
        tx.commit().await.map_err(backend)?;
        let listing = |row: agent::Model| {
            let columns = Columns("agent");
            let enrollment = row.enrollment_id.and_then(|id| enrollments.get(&id));
            let devices = owned.get(&row.id).copied().unwrap_or(0);
            Ok(AgentListing {
                enrollment: enrollment.map(rows::enrollment).transpose()?.map(|found| found.record),
                last_heartbeat_at: columns.optional_time("last_heartbeat_at", row.last_heartbeat_at)?,
                agent_version: row.agent_version.clone(),
                devices,
                agent: rows::agent(row, &root)?.record,
            })
        };
        agents.into_iter().map(listing).collect()
    }

    /// How many devices each agent owns; the local half's have no row.
    async fn owned(&self, tx: &Transaction, org: OrgId) -> Result<HashMap<i64, i64>, StoreError> {
        let statement = self.sql(
            "SELECT COALESCE(o.agent_id,
                        (SELECT MIN(a.id) FROM agent a
                         WHERE a.org_id = $1 AND a.kind = 'local' AND a.status = 'confirmed')) AS owner,
                    COUNT(*) AS devices
             FROM device d LEFT JOIN agent_device o ON o.device_id = d.id
             WHERE d.org_id = $1 AND d.paired_at IS NOT NULL GROUP BY 1",
            [org.value().into()],
        );
        let mut owned = HashMap::new();
        for row in tx.query_all_raw(statement).await.map_err(backend)? {
            let owner: Option<i64> = row.try_get("", "owner").map_err(backend)?;
            let devices: i64 = row.try_get("", "devices").map_err(backend)?;
            if let Some(owner) = owner {
                owned.insert(owner, devices);
            }
        }
        Ok(owned)
    }
}
