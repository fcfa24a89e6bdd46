//! Stores in memory: for tests, for examples, and as the model of what a store does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;

use super::{
    Activity, AgentApiKeyRecord, AgentKeyStore, AgentRecord, AgentState, AgentStatus, AgentStore,
    ChallengeRecord, Changeset, CommitError, EnrollmentRecord, EnrollmentState, OrganizationRecord, Put,
    Query, ServerStore, SessionRecord, Snapshot, StoreError, Version, Versioned,
};
use crate::code::SecretHash;
use crate::future::{BoxFuture, ready};
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::keys::{AgentKeyring, AgentSecretKeys};
use crate::time::UnixMillis;

/// A [`ServerStore`] in memory.
///
/// Every change is made on a copy of all records: it is the model of a store, for as many agents as a test has.
#[derive(Debug, Default)]
pub struct MemoryServerStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    tables: Tables,
    /// Only ever added to, so no change needs a copy of it.
    activity: Vec<Activity>,
}

/// Everything that the store holds, but the activity log.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tables {
    pub(crate) organizations: BTreeMap<OrgId, Versioned<OrganizationRecord>>,
    pub(crate) enrollments: BTreeMap<EnrollmentId, Versioned<EnrollmentRecord>>,
    pub(crate) agents: BTreeMap<AgentId, Versioned<AgentRecord>>,
    pub(crate) api_keys: BTreeMap<SecretHash, AgentApiKeyRecord>,
    pub(crate) challenges: BTreeMap<AgentId, ChallengeRecord>,
    pub(crate) sessions: BTreeMap<SecretHash, SessionRecord>,
}

impl MemoryServerStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The activity log, oldest first.
    #[must_use]
    pub fn activity(&self) -> Vec<Activity> {
        self.lock().activity.clone()
    }

    /// Everything, as of one moment, with the activity log.
    #[cfg(feature = "testing")]
    pub(crate) fn tables(&self) -> (Tables, Vec<Activity>) {
        let held = self.lock();
        (held.tables.clone(), held.activity.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A change is made on a copy that replaces the tables when it is whole, so what a
        // panicking holder leaves behind is consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn load(&self, query: &Query) -> Option<Snapshot> {
        match query {
            Query::Organization(id) => {
                let organization = self.organizations.get(id)?.clone();
                Some(Snapshot { organization, enrollment: None, agent: None, sessions: Vec::new() })
            }
            Query::EnrollmentByCode(code) => {
                let found = self.enrollments.values().find(|e| e.record.code == *code)?;
                self.of_enrollment(found)
            }
            Query::Enrollment(id) => self.of_enrollment(self.enrollments.get(id)?),
            Query::Agent(id) => self.of_agent(*id),
            Query::AgentByApiKey(hash) => self.of_agent(self.api_keys.get(hash)?.agent_id),
            Query::AgentBySession(token) => self.of_agent(self.sessions.get(token)?.agent_id),
        }
    }

    fn of_enrollment(&self, enrollment: &Versioned<EnrollmentRecord>) -> Option<Snapshot> {
        let mut snapshot = match enrollment.record.agent_id {
            Some(agent) => self.of_agent(agent)?,
            None => self.load(&Query::Organization(enrollment.record.org_id))?,
        };
        snapshot.enrollment = Some(enrollment.clone());
        Some(snapshot)
    }

    fn of_agent(&self, id: AgentId) -> Option<Snapshot> {
        let agent = self.agents.get(&id)?.clone();
        let organization = self.organizations.get(&agent.record.org_id)?.clone();
        let enrollment = agent.record.enrollment_id.and_then(|id| self.enrollments.get(&id)).cloned();
        let sessions = self.sessions.values().filter(|s| s.agent_id == id).cloned().collect();
        Some(Snapshot { organization, enrollment, agent: Some(agent), sessions })
    }

    fn apply(&mut self, change: Changeset) -> Result<(), CommitError> {
        if let Some(put) = change.organization {
            let id = put.record.id;
            write(&mut self.organizations, id, put)?;
        }
        if let Some((id, version)) = change.organization_unchanged
            && self.organizations.get(&id).map(|row| row.version) != Some(version)
        {
            return Err(CommitError::Stale);
        }
        if let Some(agent) = change.forget_credentials {
            self.api_keys.retain(|_, key| key.agent_id != agent);
            self.sessions.retain(|_, session| session.agent_id != agent);
            self.challenges.remove(&agent);
        }
        let agent_id = change.agent.as_ref().map(|put| put.record.id);
        if let Some(put) = change.agent {
            self.check_unique(&put.record)?;
            write(&mut self.agents, put.record.id, put)?;
        }
        if let Some(put) = change.enrollment {
            let same_code = |e: &Versioned<EnrollmentRecord>| {
                e.record.id != put.record.id && e.record.code == put.record.code
            };
            if self.enrollments.values().any(same_code) {
                return Err(CommitError::Stale);
            }
            write(&mut self.enrollments, put.record.id, put)?;
        }
        if let Some(key) = change.api_key {
            if !self.agents.contains_key(&key.agent_id) || self.api_keys.contains_key(&key.hash) {
                return Err(CommitError::Stale);
            }
            self.api_keys.insert(key.hash, key);
        }
        if let Some(challenge) = change.challenge {
            self.check_api_key(&challenge.api_key, challenge.agent_id)?;
            self.challenges.insert(challenge.agent_id, challenge);
        }
        if let Some(sessions) = change.sessions {
            let agent_id = agent_id.ok_or(CommitError::Stale)?;
            self.sessions.retain(|_, session| session.agent_id != agent_id);
            for session in sessions {
                self.check_api_key(&session.api_key, agent_id)?;
                if session.agent_id != agent_id || self.sessions.contains_key(&session.token) {
                    return Err(CommitError::Stale);
                }
                self.sessions.insert(session.token, session);
            }
        }
        Ok(())
    }

    fn check_api_key(&self, hash: &SecretHash, agent: AgentId) -> Result<(), CommitError> {
        match self.api_keys.get(hash) {
            Some(key) if key.agent_id == agent => Ok(()),
            Some(_) | None => Err(CommitError::Stale),
        }
    }

    fn check_unique(&self, agent: &AgentRecord) -> Result<(), CommitError> {
        let others = || self.agents.values().map(|a| &a.record).filter(|a| a.id != agent.id);
        let named = |a: &AgentRecord| matches!(a.status, AgentStatus::Pending | AgentStatus::Confirmed);
        if named(agent) && others().any(|a| named(a) && a.org_id == agent.org_id && a.name == agent.name) {
            return Err(CommitError::NameTaken);
        }
        if agent.status == AgentStatus::Discarded {
            return Ok(());
        }
        for other in others().filter(|a| a.status != AgentStatus::Discarded) {
            let used = other.keys.by_role().map(|(_, bytes)| bytes);
            if let Some((role, _)) = agent.keys.by_role().into_iter().find(|(_, key)| used.contains(key)) {
                return Err(CommitError::KeyTaken { role });
            }
        }
        Ok(())
    }
}

fn write<K: Ord, T>(table: &mut BTreeMap<K, Versioned<T>>, key: K, put: Put<T>) -> Result<(), CommitError> {
    let current = table.get(&key).map(|row| row.version);
    if current != put.expected {
        return Err(CommitError::Stale);
    }
    let version = current.map_or(Version::FIRST, Version::next);
    table.insert(key, Versioned { record: put.record, version });
    Ok(())
}

impl ServerStore for MemoryServerStore {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        ready(Ok(self.lock().tables.load(&query)))
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        let tables = &mut self.lock().tables;
        let agent =
            tables.challenges.values().find(|c| c.challenge.ct_eq(&challenge).into()).map(|c| c.agent_id);
        ready(Ok(agent.and_then(|agent| tables.challenges.remove(&agent))))
    }

    fn commit(&self, mut change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        let activity = core::mem::take(&mut change.activity);
        let mut held = self.lock();
        let mut changed = held.tables.clone();
        let result = changed.apply(change);
        if result.is_ok() {
            held.tables = changed;
            held.activity.extend(activity);
        }
        drop(held);
        ready(result)
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        let held = self.lock();
        let waiting = |e: &&EnrollmentRecord| {
            matches!(e.state, EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation)
        };
        let mut due: Vec<_> = held
            .tables
            .enrollments
            .values()
            .map(|e| &e.record)
            .filter(waiting)
            .filter(|e| e.expires_at <= now)
            .map(|e| (e.expires_at, e.id))
            .collect();
        drop(held);
        due.sort_unstable();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        ready(Ok(due.into_iter().map(|(_, id)| id).take(limit).collect()))
    }
}

/// An [`AgentStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryAgentStore {
    state: Mutex<Option<Versioned<AgentState>>>,
}

impl MemoryAgentStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl AgentStore for MemoryAgentStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>> {
        ready(Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn commit(
        &self,
        state: AgentState,
        expected: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, CommitError>> {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = held.as_ref().map(|state| state.version);
        if current != expected {
            return ready(Err(CommitError::Stale));
        }
        let version = current.map_or(Version::FIRST, Version::next);
        *held = Some(Versioned { record: state, version });
        drop(held);
        ready(Ok(version))
    }
}

/// An [`AgentKeyStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    keys: Mutex<Option<AgentKeyring>>,
}

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl AgentKeyStore for MemoryKeyStore {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        ready(Ok(self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        let keyring = AgentKeyring::from(keys);
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keyring.clone());
        ready(Ok(keyring))
    }
}
