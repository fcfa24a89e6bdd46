//! Which devices a batch speaks of.

use std::collections::{BTreeSet, HashMap};

use fleet_core::store::{AgentKind, StoreError};
use sea_orm::{ConnectionTrait as _, Value};

use crate::error::backend;
use crate::guard::Admitted;
use crate::store::Store;
use crate::transaction::Transaction;

/// Endpoints in one query.
const ENDPOINTS_A_QUERY: usize = 10_000;

/// A device of the agent's organization.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) is_paired: bool,
    /// Whether it is paired and the agent's own.
    pub(super) is_own: bool,
}

impl Store {
    /// Resolves endpoints for an agent; what is not in the answer does not exist. Rows are locked
    /// as `lock` says, in the order of endpoints, so that no owner changes meanwhile.
    pub(super) async fn resolve(
        &self,
        tx: &Transaction,
        admitted: &Admitted,
        endpoints: &BTreeSet<String>,
        lock: &'static str,
    ) -> Result<HashMap<String, Found>, StoreError> {
        let mut found = HashMap::with_capacity(endpoints.len());
        let all: Vec<&String> = endpoints.iter().collect();
        for some in all.chunks(ENDPOINTS_A_QUERY) {
            let list: Vec<String> = (0..some.len()).map(|n| format!("${}", n + 2)).collect();
            let sql = format!(
                "SELECT d.id, d.endpoint, d.paired_at, o.agent_id AS owner
                 FROM device d LEFT JOIN agent_device o ON o.device_id = d.id
                 WHERE d.org_id = $1 AND d.endpoint IN ({}) ORDER BY d.endpoint {}",
                list.join(", "),
                self.lock(lock),
            );
            let values = std::iter::once(Value::from(admitted.org_id))
                .chain(some.iter().map(|endpoint| Value::from(endpoint.as_str())));
            let statement = sea_orm::Statement::from_sql_and_values(self.inner.backend, sql, values);
            for row in tx.query_all_raw(statement).await.map_err(backend)? {
                let endpoint: String = row.try_get("", "endpoint").map_err(backend)?;
                let owner: Option<i64> = row.try_get("", "owner").map_err(backend)?;
                let paired_at: Option<i64> = row.try_get("", "paired_at").map_err(backend)?;
                let is_mine = match owner {
                    Some(owner) => owner == admitted.agent_id,
                    None => admitted.kind == AgentKind::Local,
                };
                let device = Found {
                    id: row.try_get("", "id").map_err(backend)?,
                    is_paired: paired_at.is_some(),
                    is_own: paired_at.is_some() && is_mine,
                };
                found.insert(endpoint, device);
            }
        }
        Ok(found)
    }
}
