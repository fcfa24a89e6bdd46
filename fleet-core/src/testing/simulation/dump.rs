//! Everything that a store holds, to be compared and searched.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::SecretHash;
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::keys::AgentPublicKeys;
use crate::manifest::SignedManifest;
use crate::name::Name;
use crate::store::{
    Activity, AgentApiKeyRecord, AgentRecord, AgentState, ChallengeRecord, Counters, EnrollmentRecord,
    MemoryTables, OrganizationRecord, SessionRecord, Versioned,
};
use crate::time::UnixMillis;

/// Everything that a server's store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "whoever implements Inspect must fill every field")]
pub struct StoreDump {
    /// The organizations.
    pub organizations: BTreeMap<OrgId, Versioned<OrganizationRecord>>,
    /// The enrollments.
    pub enrollments: BTreeMap<EnrollmentId, Versioned<EnrollmentRecord>>,
    /// The agents.
    pub agents: BTreeMap<AgentId, Versioned<AgentRecord>>,
    /// The api_keys of agents.
    pub api_keys: BTreeMap<SecretHash, AgentApiKeyRecord>,
    /// The challenges that wait, one an agent.
    pub challenges: BTreeMap<AgentId, ChallengeRecord>,
    /// The sessions.
    pub sessions: BTreeMap<SecretHash, SessionRecord>,
    /// The activity log, oldest first.
    pub activity: Vec<Activity>,
}

impl From<(MemoryTables, Vec<Activity>)> for StoreDump {
    fn from((tables, activity): (MemoryTables, Vec<Activity>)) -> Self {
        let MemoryTables { organizations, enrollments, agents, api_keys, challenges, sessions } = tables;
        Self { organizations, enrollments, agents, api_keys, challenges, sessions, activity }
    }
}

impl StoreDump {
    /// The organizations of which something differs between two dumps.
    pub(super) fn touched(&self, other: &Self) -> BTreeSet<OrgId> {
        let of_agent = |id: &AgentId| [self, other].into_iter().find_map(|dump| dump.agents.get(id));
        let of_agent = |id| of_agent(&id).map(|agent| agent.record.org_id);
        let mut touched = BTreeSet::new();
        touched.extend(differing(&self.organizations, &other.organizations).map(|row| row.record.id));
        touched.extend(differing(&self.enrollments, &other.enrollments).map(|row| row.record.org_id));
        touched.extend(differing(&self.agents, &other.agents).map(|row| row.record.org_id));
        touched.extend(differing(&self.api_keys, &other.api_keys).filter_map(|row| of_agent(row.agent_id)));
        touched
            .extend(differing(&self.challenges, &other.challenges).filter_map(|row| of_agent(row.agent_id)));
        touched.extend(differing(&self.sessions, &other.sessions).filter_map(|row| of_agent(row.agent_id)));
        let common = self.activity.iter().zip(&other.activity).take_while(|(a, b)| a == b).count();
        for log in [&self.activity, &other.activity] {
            touched.extend(log.iter().skip(common).map(|line| line.org_id));
        }
        touched
    }

    /// Every byte of it, each value after the other. Numbers and states, which hold no secret, are left out.
    ///
    /// Records are taken apart whole, so that a new field does not compile before somebody has decided about it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            // Two values next to each other make nothing that neither holds.
            out.push(0);
        };
        for row in self.organizations.values() {
            let OrganizationRecord { id: _, manifest, created_at: _ } = &row.record;
            put(manifest.manifest().transcript().as_bytes());
            put(&manifest.signature().to_bytes());
        }
        for row in self.enrollments.values() {
            let EnrollmentRecord {
                id: _,
                org_id: _,
                code,
                state: _,
                created_at: _,
                expires_at: _,
                agent_id: _,
                answered_at: _,
                second_uses: _,
                second_use_at: _,
            } = &row.record;
            put(code.as_bytes());
        }
        for row in self.agents.values() {
            let AgentRecord {
                id: _,
                org_id: _,
                name,
                kind: _,
                keys,
                status: _,
                enrollment_id: _,
                certificate,
                sealed_api_key,
                created_at: _,
                confirmed_at: _,
                revoked_at: _,
                last_sequence: _,
                last_begin_at: _,
            } = &row.record;
            put(name.as_str().as_bytes());
            keys.by_role().into_iter().for_each(|(_, key)| put(key));
            if let Some(certificate) = certificate {
                put(certificate.certificate().transcript().as_bytes());
                put(&certificate.signature().to_bytes());
            }
            put(sealed_api_key.as_deref().unwrap_or_default());
        }
        for AgentApiKeyRecord { hash, digits, agent_id: _, created_at: _ } in self.api_keys.values() {
            put(hash.as_bytes());
            put(digits.as_bytes());
        }
        for row in self.challenges.values() {
            let ChallengeRecord {
                challenge,
                agent_id: _,
                api_key,
                identity,
                client_nonce,
                command,
                server_time: _,
                expires_at: _,
                last_sequence: _,
                manifest_hash,
            } = row;
            let hashes = [challenge, api_key.as_bytes(), client_nonce, manifest_hash];
            hashes.into_iter().chain([identity.as_bytes(), command.as_bytes()]).for_each(|value| put(value));
        }
        for row in self.sessions.values() {
            let SessionRecord {
                token,
                agent_id: _,
                api_key,
                identity,
                command,
                created_at: _,
                expires_at: _,
            } = row;
            put(token.as_bytes());
            put(api_key.as_bytes());
            put(identity.as_bytes());
            put(command.as_bytes());
        }
        for line in &self.activity {
            let Activity { at: _, org_id: _, actor, kind, agent_id: _, enrollment_id: _ } = line;
            put(actor.to_string().as_bytes());
            put(kind.as_str().as_bytes());
        }
        out
    }
}

/// What stands in one table and not, or not so, in the other.
fn differing<'a, K: Ord, V: PartialEq>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a V> {
    let only = |a: &'a BTreeMap<K, V>, b: &'a BTreeMap<K, V>| {
        a.iter().filter(move |(key, value)| b.get(key) != Some(*value)).map(|(_, value)| value)
    };
    only(one, other).chain(only(other, one))
}

/// What stands in the second table under keys that the first does not have.
pub(super) fn added<'a, K: Ord, V>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a V> {
    after.iter().filter(move |(key, _)| !before.contains_key(key)).map(|(_, value)| value)
}

/// Everything that an agent's store holds besides keys; of secrets the hash, so that dumps can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentDump {
    /// The server's URL.
    pub server: String,
    /// The name it registers under.
    pub name: Name,
    /// The code that it enrolls with.
    pub code: SecretHash,
    /// The public halves of its keys.
    pub keys: AgentPublicKeys,
    /// The newest manifest seen.
    pub manifest: Option<SignedManifest>,
    /// Whether it joined.
    pub joined: bool,
    /// Its id.
    pub agent_id: Option<AgentId>,
    /// Its api_key.
    pub api_key: Option<SecretHash>,
    /// Its newest session, when that was made and when it ends.
    pub session: Option<(SecretHash, UnixMillis, UnixMillis)>,
    /// Its counters.
    pub counters: Counters,
}

impl From<&AgentState> for AgentDump {
    fn from(state: &AgentState) -> Self {
        let AgentState { server, name, code, keys, manifest, joined, agent_id, api_key, session, counters } =
            state;
        Self {
            server: server.clone(),
            name: name.clone(),
            code: *code,
            keys: *keys,
            manifest: manifest.clone(),
            joined: *joined,
            agent_id: *agent_id,
            api_key: api_key.as_ref().map(crate::code::ApiKey::hash),
            session: session.as_ref().map(|s| (s.token.hash(), s.created_at, s.expires_at)),
            counters: *counters,
        }
    }
}
