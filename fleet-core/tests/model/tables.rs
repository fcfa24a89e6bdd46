//! What the server keeps, between two states of the shipped store: each step fills a store with the records, commits or
//! takes, and reads the records back.

use fleet_core::id::AgentId;
use fleet_core::store::{
    AgentApiKeyRecord, AgentRecord, AgentStatus, ChallengeRecord, Changeset, CommitError, EnrollmentRecord,
    EnrollmentState, MemoryServerStore, OrganizationRecord, Put, Query, ServerStore as _, SessionRecord,
    Snapshot, Version, Versioned,
};
use fleet_core::testing::block_on;
use fleet_core::time::UnixMillis;

use crate::bugs::Bug;
use crate::cast::{Holder, at};
use crate::fleet::{Fleet, keep};
use crate::intern::Id;

/// A record and its version. 1 is the version that whatever is under way has read, 2 any later one: nothing asks more
/// of a version than whether it is still the same.
type Row<T> = (Id<T>, u8);

/// Everything that the server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tables {
    pub(crate) organization: Row<OrganizationRecord>,
    pub(crate) agents: Vec<Row<AgentRecord>>,
    pub(crate) enrollments: Vec<Row<EnrollmentRecord>>,
    pub(crate) api_keys: Vec<Id<AgentApiKeyRecord>>,
    pub(crate) challenges: Vec<Id<ChallengeRecord>>,
    pub(crate) sessions: Vec<Id<SessionRecord>>,
}

/// What is looked up of tables, worked out once for each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What the store answers to each query that finds something.
    pub(crate) found: Vec<(Query, Id<Snapshot>)>,
    pub(crate) enrollments: Vec<Enrolled>,
    /// Agents, where they stand, and whose keys they have; `None` for a mixture.
    pub(crate) agents: Vec<(AgentId, AgentStatus, Option<Holder>)>,
    /// Whose agents have sessions.
    pub(crate) sessions: Vec<Option<Holder>>,
    /// A revoked agent has an api_key, a challenge or a session.
    pub(crate) revoked_lives: bool,
    /// Two agents came of one code.
    pub(crate) code_bound_twice: bool,
}

/// An enrollment, by whom its code was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enrolled {
    pub(crate) holder: Holder,
    pub(crate) state: EnrollmentState,
    pub(crate) agent: Option<AgentId>,
    pub(crate) expires_at: UnixMillis,
    pub(crate) used_again: bool,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    Done(Id<Tables>),
    /// A record has another version.
    Stale,
    /// A name or a key is in use.
    Taken,
}

impl Fleet {
    /// The tables at the very beginning: an organization and nothing else.
    pub(crate) fn founded(&mut self) -> Id<Tables> {
        let manifest = self.cast.manifest.clone();
        let record = OrganizationRecord { id: self.cast.org_id, manifest, created_at: at(0) };
        let store = MemoryServerStore::new();
        let organization = Some(Put { record, expected: None });
        block_on(store.commit(Changeset { organization, ..Changeset::default() })).unwrap();
        self.read(&store, None, &Changeset::default(), false)
    }

    /// Commits a change on the shipped store.
    pub(crate) fn commit(&mut self, tables: Id<Tables>, change: Id<Changeset>, raced: bool) -> Committed {
        let key = (tables, change, raced);
        if let Some(known) = self.memo.recall(|memo| &memo.committed, &key) {
            return known;
        }
        let store = self.store(tables);
        let mut wanted = (*self.changes.get(change)).clone();
        if self.bug == Some(Bug::VersionsIgnored) {
            self.restamp(tables, &mut wanted);
        }
        let committed = match block_on(store.commit(wanted.clone())) {
            Ok(()) => Committed::Done(self.read(&store, Some(tables), &wanted, raced)),
            Err(CommitError::Stale) => Committed::Stale,
            Err(CommitError::NameTaken | CommitError::KeyTaken { .. }) => Committed::Taken,
            Err(error) => panic!("a store in memory failed: {error}"),
        };
        keep(&mut self.memo.committed, key, committed);
        committed
    }

    /// Gives a change the versions of now, as a store does that does not compare them.
    fn restamp(&self, tables: Id<Tables>, change: &mut Changeset) {
        let tables = self.tables.get(tables);
        change.organization_unchanged = None;
        if let Some(put) = &mut change.organization {
            put.expected = put.expected.map(|_| version(tables.organization.1));
        }
        if let Some(put) = &mut change.agent {
            let held = tables.agents.iter().find(|(id, _)| self.agents.get(*id).id == put.record.id);
            put.expected = held.map(|(_, held)| version(*held));
        }
        if let Some(put) = &mut change.enrollment {
            let held =
                tables.enrollments.iter().find(|(id, _)| self.enrollments.get(*id).id == put.record.id);
            put.expected = held.map(|(_, held)| version(*held));
        }
    }

    /// The shipped store, filled with these tables.
    pub(crate) fn store(&self, tables: Id<Tables>) -> MemoryServerStore {
        let tables = self.tables.get(tables);
        let store = MemoryServerStore::new();
        let commit = |change| block_on(store.commit(change)).expect("tables that the store itself made");
        let (organization, held) = tables.organization;
        let record = (*self.organizations.get(organization)).clone();
        for expected in [None, Some(Version::FIRST)].into_iter().take(held.into()) {
            let organization = Some(Put { record: record.clone(), expected });
            commit(Changeset { organization, ..Changeset::default() });
        }
        for (id, held) in &tables.agents {
            let record = (*self.agents.get(*id)).clone();
            let agent = record.id;
            for expected in [None, Some(Version::FIRST)].into_iter().take((*held).into()) {
                let agent = Some(Put { record: record.clone(), expected });
                let last = usize::from(*held) == 1 + usize::from(expected.is_some());
                let mut change = Changeset { agent, ..Changeset::default() };
                if last {
                    let mut keys = tables.api_keys.iter().map(|id| self.api_keys.get(*id));
                    change.api_key = keys.find(|key| key.agent_id == record.id).map(|key| (*key).clone());
                    let mut challenges = tables.challenges.iter().map(|id| self.challenges.get(*id));
                    change.challenge = challenges.find(|c| c.agent_id == record.id).map(|c| (*c).clone());
                    let sessions = tables.sessions.iter().map(|id| self.sessions.get(*id));
                    change.sessions =
                        Some(sessions.filter(|s| s.agent_id == record.id).map(|s| (*s).clone()).collect());
                }
                commit(change);
            }
            debug_assert!(block_on(store.load(Query::Agent(agent))).unwrap().is_some());
        }
        for (id, held) in &tables.enrollments {
            let record = (*self.enrollments.get(*id)).clone();
            for expected in [None, Some(Version::FIRST)].into_iter().take((*held).into()) {
                let enrollment = Some(Put { record: record.clone(), expected });
                commit(Changeset { enrollment, ..Changeset::default() });
            }
        }
        store
    }

    /// Reads a store back: what it held before, and what a change may have added.
    pub(crate) fn read(
        &mut self,
        store: &MemoryServerStore,
        before: Option<Id<Tables>>,
        change: &Changeset,
        raced: bool,
    ) -> Id<Tables> {
        let held = |version: Version| if raced { u8::from(version != Version::FIRST) + 1 } else { 1 };
        let before = before.map(|before| self.tables.get(before));
        let (mut agents, mut enrollments, mut api_keys, mut challenges) = (vec![], vec![], vec![], vec![]);
        if let Some(before) = &before {
            agents.extend(before.agents.iter().map(|(id, _)| self.agents.get(*id).id));
            enrollments.extend(before.enrollments.iter().map(|(id, _)| self.enrollments.get(*id).id));
            api_keys.extend(before.api_keys.iter().map(|id| (*self.api_keys.get(*id)).clone()));
            challenges.extend(before.challenges.iter().map(|id| self.challenges.get(*id).challenge));
        }
        agents.extend(change.agent.iter().map(|put| put.record.id));
        enrollments.extend(change.enrollment.iter().map(|put| put.record.id));
        agents.sort_unstable();
        agents.dedup();
        enrollments.sort_unstable();
        enrollments.dedup();
        api_keys.extend(change.api_key.clone());
        challenges.extend(change.challenge.as_ref().map(|record| record.challenge));

        let mut facts = Facts::default();
        let mut look = |fleet: &mut Self, query: Query| {
            let found = block_on(store.load(query.clone())).unwrap().map(|found| normal(found, held))?;
            facts.found.push((query, fleet.snapshots.record(found.clone())));
            Some(found)
        };
        let organization =
            look(self, Query::Organization(self.cast.org_id)).expect("an organization").organization;
        let (mut found_agents, mut sessions, mut found_enrollments) = (vec![], vec![], vec![]);
        for id in agents {
            let found = look(self, Query::Agent(id)).expect("an agent is never deleted");
            found_agents.extend(found.agent);
            sessions.extend(found.sessions);
        }
        for session in &sessions {
            look(self, Query::AgentBySession(session.token));
        }
        for id in enrollments {
            let found = look(self, Query::Enrollment(id)).expect("an enrollment is never deleted");
            let found = found.enrollment.expect("it was asked for");
            look(self, Query::EnrollmentByCode(found.record.code));
            found_enrollments.push(found);
        }
        api_keys.retain(|key| look(self, Query::AgentByApiKey(key.hash)).is_some());
        let challenges: Vec<_> =
            challenges.into_iter().filter_map(|c| block_on(store.take_challenge(c)).unwrap()).collect();

        facts.conclude(self, &found_agents, &found_enrollments, &sessions, &api_keys, &challenges);
        let row = |version| u8::try_from(Version::value(version)).expect("1 or 2");
        let mut tables = Tables {
            organization: (self.organizations.record(organization.record), row(organization.version)),
            agents: found_agents
                .into_iter()
                .map(|a| (self.agents.record(a.record), row(a.version)))
                .collect(),
            enrollments: found_enrollments
                .into_iter()
                .map(|e| (self.enrollments.record(e.record), row(e.version)))
                .collect(),
            api_keys: api_keys.into_iter().map(|key| self.api_keys.record(key)).collect(),
            challenges: challenges.into_iter().map(|c| self.challenges.record(c)).collect(),
            sessions: sessions.into_iter().map(|s| self.sessions.record(s)).collect(),
        };
        // A table has no order.
        tables.agents.sort_unstable();
        tables.enrollments.sort_unstable();
        tables.api_keys.sort_unstable();
        tables.challenges.sort_unstable();
        tables.sessions.sort_unstable();
        let id = self.tables.id(tables);
        keep(&mut self.memo.facts, id, facts.into());
        id
    }

    /// The same tables when nothing is under way any more.
    pub(crate) fn settled(&mut self, tables: Id<Tables>) -> Id<Tables> {
        if let Some(known) = self.memo.recall(|memo| &memo.settled, &tables) {
            return known;
        }
        let settled = self.read(&self.store(tables), Some(tables), &Changeset::default(), false);
        keep(&mut self.memo.settled, tables, settled);
        settled
    }
}

impl Facts {
    fn conclude(
        &mut self,
        fleet: &Fleet,
        agents: &[Versioned<AgentRecord>],
        enrollments: &[Versioned<EnrollmentRecord>],
        sessions: &[SessionRecord],
        api_keys: &[AgentApiKeyRecord],
        challenges: &[ChallengeRecord],
    ) {
        let whose = |id| {
            let agent = agents.iter().find(|a| a.record.id == id)?;
            fleet.cast.holder(&agent.record.keys)
        };
        self.agents = agents.iter().map(|a| (a.record.id, a.record.status, whose(a.record.id))).collect();
        self.sessions = sessions.iter().map(|s| whose(s.agent_id)).collect();
        self.enrollments = enrollments
            .iter()
            .map(|Versioned { record, .. }| Enrolled {
                holder: Holder::INVITED
                    .into_iter()
                    .find(|holder| fleet.cast.enrollment(*holder) == record.id)
                    .expect("every code was made for somebody"),
                state: record.state,
                agent: record.agent_id,
                expires_at: record.expires_at,
                used_again: record.second_uses > 0,
            })
            .collect();
        self.revoked_lives = agents.iter().filter(|a| a.record.status == AgentStatus::Revoked).any(|a| {
            let id = a.record.id;
            sessions.iter().any(|s| s.agent_id == id)
                || api_keys.iter().any(|k| k.agent_id == id)
                || challenges.iter().any(|c| c.agent_id == id)
        });
        self.code_bound_twice = enrollments
            .iter()
            .any(|e| agents.iter().filter(|a| a.record.enrollment_id == Some(e.record.id)).count() > 1);
    }
}

fn version(held: u8) -> Version {
    Version::from_value(held.into())
}

fn normal(found: Snapshot, held: impl Fn(Version) -> u8) -> Snapshot {
    fn row<T>(row: Versioned<T>, held: &impl Fn(Version) -> u8) -> Versioned<T> {
        Versioned { version: version(held(row.version)), ..row }
    }
    Snapshot {
        organization: row(found.organization, &held),
        enrollment: found.enrollment.map(|e| row(e, &held)),
        agent: found.agent.map(|a| row(a, &held)),
        ..found
    }
}
