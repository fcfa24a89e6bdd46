//! What every [`ServerStore`] must do, as assertions.

use std::sync::Arc;

use super::{SeededRandom, World};
use crate::code::{ApiKey, EnrollmentCode, SecretHash, SessionToken};
use crate::future::BoxFuture;
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::keys::{AgentPublicKeys, AgentSecretKeys, KeyRole};
use crate::name::Name;
use crate::store::{
    Activity, ActivityKind, Actor, AgentApiKeyRecord, AgentKind, AgentRecord, AgentStatus, ChallengeRecord,
    Changeset, CommitError, EnrollmentRecord, EnrollmentState, Put, Query, ServerStore, SessionRecord,
    Snapshot, Version, Versioned,
};
use crate::time::{Clock, UnixMillis};

/// Makes an empty store.
type Factory<'a> = &'a dyn Fn() -> BoxFuture<'a, Arc<dyn ServerStore>>;

/// Runs the whole suite; each check gets an empty store of its own.
///
/// # Panics
/// At the first check that fails, saying what should have held.
///
/// # Cancel safety
/// May be dropped at any point; the stores are then as the suite left them. The future is not `Send`, because
/// the factory need not be. It panics at the first check that fails, as said above.
pub async fn store_conformance(empty: Factory<'_>) {
    nothing_is_found_in_an_empty_store(empty().await).await;
    records_come_back_as_they_were(empty().await).await;
    a_stale_version_changes_nothing(empty().await).await;
    a_change_is_whole_or_nothing(empty().await).await;
    names_and_keys_are_unique(empty().await).await;
    a_challenge_is_taken_once(empty().await).await;
    a_new_challenge_replaces_the_old(empty().await).await;
    sessions_are_replaced_as_a_set(empty().await).await;
    credentials_end_with_their_api_key(empty().await).await;
    a_code_has_one_enrollment(empty().await).await;
    due_enrollments_come_oldest_first(empty().await).await;
    a_whole_enrollment_runs(empty().await).await;
}

/// A store with an organization, and what a test needs to fill it.
struct Fixture {
    store: Arc<dyn ServerStore>,
    world: World,
    random: SeededRandom,
}

impl Fixture {
    async fn new(store: Arc<dyn ServerStore>) -> Self {
        let world = World::with_store(7, store.clone()).await;
        Self { store, world, random: SeededRandom::new(99) }
    }

    fn org(&self) -> OrgId {
        self.world.server.operator.org_id
    }

    fn now(&self) -> UnixMillis {
        self.world.clock.now()
    }

    fn keys(&self) -> AgentPublicKeys {
        AgentSecretKeys::generate(&self.random).unwrap().public().unwrap()
    }

    fn enrollment(&self) -> EnrollmentRecord {
        let pin = crate::manifest::Pin::from_bytes([1; 16]);
        EnrollmentRecord {
            id: EnrollmentId::random(&self.random).unwrap(),
            org_id: self.org(),
            code: EnrollmentCode::generate(pin, &self.random).unwrap().hash(),
            state: EnrollmentState::Pending,
            created_at: self.now(),
            expires_at: self.now().saturating_add(core::time::Duration::from_secs(3600)),
            agent_id: None,
            answered_at: None,
            second_uses: 0,
            second_use_at: None,
        }
    }

    fn agent(&self, name: &str) -> AgentRecord {
        AgentRecord {
            id: AgentId::random(&self.random).unwrap(),
            org_id: self.org(),
            name: Name::new(name).unwrap(),
            kind: AgentKind::Remote,
            keys: self.keys(),
            status: AgentStatus::Confirmed,
            enrollment_id: None,
            certificate: None,
            sealed_api_key: Some(vec![1, 2, 3]),
            created_at: self.now(),
            confirmed_at: Some(self.now()),
            revoked_at: None,
            last_sequence: 17,
            last_begin_at: Some(self.now()),
        }
    }

    fn api_key(&self, agent: AgentId) -> AgentApiKeyRecord {
        let key = ApiKey::generate(&self.random).unwrap();
        AgentApiKeyRecord {
            hash: key.hash(),
            digits: key.digits().to_owned(),
            agent_id: agent,
            created_at: self.now(),
        }
    }

    fn challenge(&self, agent: &AgentRecord, api_key: SecretHash, byte: u8) -> ChallengeRecord {
        ChallengeRecord {
            challenge: [byte; 32],
            agent_id: agent.id,
            api_key,
            identity: *agent.keys.identity(),
            client_nonce: [2; 32],
            command: crate::keys::CommandSecretKey::from_seed(&[3; 32]).public(),
            server_time: self.now(),
            expires_at: self.now().saturating_add(core::time::Duration::from_secs(30)),
            last_sequence: 17,
            manifest_hash: [4; 32],
        }
    }

    fn session(&self, agent: &AgentRecord, api_key: SecretHash) -> SessionRecord {
        SessionRecord {
            token: SessionToken::generate(&self.random).unwrap().hash(),
            agent_id: agent.id,
            api_key,
            identity: *agent.keys.identity(),
            command: crate::keys::CommandSecretKey::from_seed(&[3; 32]).public(),
            created_at: self.now(),
            expires_at: self.now().saturating_add(core::time::Duration::from_secs(3600)),
        }
    }

    /// An agent with an api_key, stored.
    async fn with_agent(&self, name: &str) -> (AgentRecord, AgentApiKeyRecord) {
        let agent = self.agent(name);
        let key = self.api_key(agent.id);
        let change = Changeset {
            agent: Some(Put::new(agent.clone())),
            api_key: Some(key.clone()),
            ..Changeset::default()
        };
        self.store.commit(change).await.unwrap();
        (agent, key)
    }

    async fn load(&self, query: Query) -> Option<Snapshot> {
        self.store.load(query).await.unwrap()
    }

    async fn stored_agent(&self, id: AgentId) -> Versioned<AgentRecord> {
        self.load(Query::Agent(id)).await.unwrap().agent.unwrap()
    }
}

fn is_stale(result: &Result<(), CommitError>) -> bool {
    matches!(result, Err(CommitError::Stale))
}

async fn nothing_is_found_in_an_empty_store(store: Arc<dyn ServerStore>) {
    let hash = SecretHash::from_bytes([9; 32]);
    for query in [
        Query::Organization(OrgId::new(1).unwrap()),
        Query::EnrollmentByCode(hash),
        Query::Enrollment(EnrollmentId::new(1).unwrap()),
        Query::Agent(AgentId::new(1).unwrap()),
        Query::AgentByApiKey(hash),
        Query::AgentBySession(hash),
    ] {
        assert!(store.load(query.clone()).await.unwrap().is_none(), "{query:?} found something");
    }
    assert!(store.take_challenge([1; 32]).await.unwrap().is_none());
    assert!(store.due(UnixMillis::new(i64::MAX).unwrap(), 10).await.unwrap().is_empty());
}

async fn records_come_back_as_they_were(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let mut enrollment = f.enrollment();
    let mut agent = f.agent("site-1 – Süd");
    agent.enrollment_id = Some(enrollment.id);
    enrollment.agent_id = Some(agent.id);
    enrollment.state = EnrollmentState::AwaitingConfirmation;
    enrollment.answered_at = Some(f.now());
    enrollment.second_uses = 3;
    let key = f.api_key(agent.id);
    let (old, new) = (f.session(&agent, key.hash), f.session(&agent, key.hash));
    let activity = Activity {
        at: f.now(),
        org_id: f.org(),
        actor: Actor::Key("0123abcd".to_owned()),
        kind: ActivityKind::AgentRegistered,
        agent_id: Some(agent.id),
        enrollment_id: Some(enrollment.id),
    };
    let change = Changeset {
        agent: Some(Put::new(agent.clone())),
        enrollment: Some(Put::new(enrollment.clone())),
        api_key: Some(key.clone()),
        sessions: Some(vec![old.clone(), new.clone()]),
        challenge: Some(f.challenge(&agent, key.hash, 1)),
        activity: vec![activity],
        ..Changeset::default()
    };
    f.store.commit(change).await.unwrap();
    for query in [
        Query::EnrollmentByCode(enrollment.code),
        Query::Enrollment(enrollment.id),
        Query::Agent(agent.id),
        Query::AgentByApiKey(key.hash),
        Query::AgentBySession(new.token),
    ] {
        let found = f.load(query.clone()).await.unwrap_or_else(|| panic!("{query:?} finds nothing"));
        assert_eq!(found.organization.record.id, f.org(), "{query:?}");
        assert_eq!(found.agent.as_ref().map(|a| &a.record), Some(&agent), "{query:?}");
        assert_eq!(found.agent.map(|a| a.version), Some(Version::FIRST), "{query:?}");
        assert_eq!(found.enrollment.map(|e| e.record), Some(enrollment.clone()), "{query:?}");
        let mut sessions = found.sessions;
        let mut expected = vec![old.clone(), new.clone()];
        sessions.sort_by_key(|s| s.token);
        expected.sort_by_key(|s| s.token);
        assert_eq!(sessions, expected, "{query:?}");
    }
    assert_eq!(f.store.take_challenge([1; 32]).await.unwrap(), Some(f.challenge(&agent, key.hash, 1)));
}

async fn a_stale_version_changes_nothing(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, _) = f.with_agent("a").await;
    let rename = |name: &str, expected| Changeset {
        agent: Some(Put {
            record: AgentRecord { name: Name::new(name).unwrap(), ..agent.clone() },
            expected,
        }),
        ..Changeset::default()
    };
    f.store.commit(rename("b", Some(Version::FIRST))).await.unwrap();
    assert!(is_stale(&f.store.commit(rename("c", Some(Version::FIRST))).await), "an old version is stale");
    assert!(is_stale(&f.store.commit(rename("c", None)).await), "a record that must not exist exists");
    let held = f.stored_agent(agent.id).await;
    assert_eq!(held.record.name.as_str(), "b");
    assert_eq!(held.version, Version::FIRST.next());
    let missing = AgentRecord { id: AgentId::new(1).unwrap(), ..f.agent("d") };
    let change = Changeset {
        agent: Some(Put { record: missing, expected: Some(Version::FIRST) }),
        ..Changeset::default()
    };
    assert!(is_stale(&f.store.commit(change).await), "a record that must exist does not");

    // What was decided from an organization is not stored once that has changed.
    let organization = f.load(Query::Organization(f.org())).await.unwrap().organization;
    let depends = |version| Changeset {
        organization_unchanged: Some((f.org(), version)),
        enrollment: Some(Put::new(f.enrollment())),
        ..Changeset::default()
    };
    f.store.commit(depends(organization.version)).await.unwrap();
    let touch = Changeset {
        organization: Some(Put { record: organization.record, expected: Some(organization.version) }),
        ..Changeset::default()
    };
    f.store.commit(touch).await.unwrap();
    let late = depends(organization.version);
    let code = late.enrollment.as_ref().unwrap().record.code;
    assert!(is_stale(&f.store.commit(late).await), "the organization has changed");
    assert!(f.load(Query::EnrollmentByCode(code)).await.is_none(), "nothing of it was stored");
}

async fn a_change_is_whole_or_nothing(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, key) = f.with_agent("a").await;
    let enrollment = f.enrollment();
    // The last part of the change is refused: the session builds on an api_key that is not there.
    let gone = SecretHash::from_bytes([8; 32]);
    let held = f.stored_agent(agent.id).await;
    let change = Changeset {
        agent: Some(held.replace(AgentRecord { name: Name::new("b").unwrap(), ..agent.clone() })),
        enrollment: Some(Put::new(enrollment.clone())),
        sessions: Some(vec![f.session(&agent, gone)]),
        ..Changeset::default()
    };
    assert!(is_stale(&f.store.commit(change).await), "a session without its api_key is stale");
    assert_eq!(f.stored_agent(agent.id).await, held, "the agent changed");
    assert!(f.load(Query::Enrollment(enrollment.id)).await.is_none(), "the enrollment was stored");
    assert!(f.load(Query::AgentByApiKey(key.hash)).await.is_some(), "the api_key is gone");
}

async fn names_and_keys_are_unique(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (first, _) = f.with_agent("a").await;
    let put = async |agent: AgentRecord| {
        f.store.commit(Changeset { agent: Some(Put::new(agent)), ..Changeset::default() }).await
    };
    assert!(matches!(put(f.agent("a")).await, Err(CommitError::NameTaken)), "a name is taken once");
    let same_key = AgentRecord { keys: first.keys, ..f.agent("b") };
    assert!(matches!(put(same_key).await, Err(CommitError::KeyTaken { .. })), "keys are taken once");
    // The sealing key of one agent as the sealing key of another, the rest new.
    let other = f.keys();
    let keys =
        AgentPublicKeys::new(*other.identity(), *other.miner_signing(), *first.keys.sealing()).unwrap();
    let role = KeyRole::Sealing;
    match put(AgentRecord { keys, ..f.agent("b") }).await {
        Err(CommitError::KeyTaken { role: got }) => assert_eq!(got, role, "the role is named"),
        result => panic!("one key of three is taken: {result:?}"),
    }
    // The identity key of one agent as the miner-signing key of another.
    let crossed = crate::keys::MinerSigningPublicKey::parse(first.keys.identity().as_bytes()).unwrap();
    let keys = AgentPublicKeys::new(*other.identity(), crossed, *other.sealing()).unwrap();
    match put(AgentRecord { keys, ..f.agent("b") }).await {
        Err(CommitError::KeyTaken { role }) => assert_eq!(role, KeyRole::MinerSigning),
        result => panic!("a key is taken in whichever role: {result:?}"),
    }
    // Revoked: the name is free, the keys never are.
    let held = f.stored_agent(first.id).await;
    let revoked = held.replace(AgentRecord { status: AgentStatus::Revoked, ..first.clone() });
    f.store.commit(Changeset { agent: Some(revoked), ..Changeset::default() }).await.unwrap();
    let second = f.agent("a");
    put(second.clone()).await.expect("a revoked agent's name is free");
    assert!(
        matches!(
            put(AgentRecord { keys: first.keys, ..f.agent("c") }).await,
            Err(CommitError::KeyTaken { .. })
        ),
        "a revoked agent's keys are never free"
    );
    // Discarded: name and keys are free.
    let held = f.stored_agent(second.id).await;
    let discarded = held.replace(AgentRecord { status: AgentStatus::Discarded, ..second.clone() });
    f.store.commit(Changeset { agent: Some(discarded), ..Changeset::default() }).await.unwrap();
    put(AgentRecord { keys: second.keys, ..f.agent("a") })
        .await
        .expect("a discarded agent's name and keys are free");
}

async fn a_challenge_is_taken_once(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, key) = f.with_agent("a").await;
    let challenge = f.challenge(&agent, key.hash, 1);
    let change = Changeset { challenge: Some(challenge.clone()), ..Changeset::default() };
    f.store.commit(change).await.unwrap();
    assert_eq!(f.store.take_challenge([2; 32]).await.unwrap(), None, "another challenge is none");
    assert_eq!(f.store.take_challenge([1; 32]).await.unwrap(), Some(challenge));
    assert_eq!(f.store.take_challenge([1; 32]).await.unwrap(), None, "it was taken");
}

async fn a_new_challenge_replaces_the_old(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, key) = f.with_agent("a").await;
    for byte in [1, 2] {
        let challenge = Some(f.challenge(&agent, key.hash, byte));
        f.store.commit(Changeset { challenge, ..Changeset::default() }).await.unwrap();
    }
    assert_eq!(f.store.take_challenge([1; 32]).await.unwrap(), None, "the old challenge is gone");
    assert!(f.store.take_challenge([2; 32]).await.unwrap().is_some());
}

async fn sessions_are_replaced_as_a_set(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, key) = f.with_agent("a").await;
    let (other, other_key) = f.with_agent("b").await;
    let set = async |agent: &AgentRecord, sessions: Vec<SessionRecord>| {
        let held = f.stored_agent(agent.id).await;
        let change = Changeset {
            agent: Some(held.replace(held.record.clone())),
            sessions: Some(sessions),
            ..Changeset::default()
        };
        f.store.commit(change).await
    };
    let (one, two, three) =
        (f.session(&agent, key.hash), f.session(&agent, key.hash), f.session(&agent, key.hash));
    let theirs = f.session(&other, other_key.hash);
    set(&other, vec![theirs.clone()]).await.unwrap();
    set(&agent, vec![one.clone(), two.clone()]).await.unwrap();
    let shortened = SessionRecord { expires_at: f.now(), ..two.clone() };
    set(&agent, vec![shortened.clone(), three.clone()]).await.unwrap();
    assert!(f.load(Query::AgentBySession(one.token)).await.is_none(), "a session not in the set is gone");
    let found = f.load(Query::AgentBySession(two.token)).await.unwrap();
    assert!(found.sessions.contains(&shortened), "a session in the set is as the set says");
    assert!(f.load(Query::AgentBySession(theirs.token)).await.is_some(), "another agent's session stays");
    assert!(is_stale(&set(&agent, vec![theirs]).await), "a session of another agent is refused");
    let foreign_key = SessionRecord { api_key: other_key.hash, ..f.session(&agent, key.hash) };
    assert!(is_stale(&set(&agent, vec![foreign_key]).await), "another agent's api_key is refused");
}

async fn credentials_end_with_their_api_key(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let (agent, key) = f.with_agent("a").await;
    let (_, other_key) = f.with_agent("b").await;
    let session = f.session(&agent, key.hash);
    let held = f.stored_agent(agent.id).await;
    let change = Changeset {
        agent: Some(held.replace(agent.clone())),
        sessions: Some(vec![session.clone()]),
        challenge: Some(f.challenge(&agent, key.hash, 1)),
        ..Changeset::default()
    };
    f.store.commit(change).await.unwrap();
    let change = Changeset { forget_credentials: Some(agent.id), ..Changeset::default() };
    f.store.commit(change).await.unwrap();
    assert!(f.load(Query::AgentByApiKey(key.hash)).await.is_none(), "the api_key is gone");
    assert!(f.load(Query::AgentBySession(session.token)).await.is_none(), "the session is gone");
    assert!(f.store.take_challenge([1; 32]).await.unwrap().is_none(), "the challenge is gone");
    assert!(f.load(Query::AgentByApiKey(other_key.hash)).await.is_some(), "another agent's api_key stays");
    let challenge = Some(f.challenge(&agent, key.hash, 2));
    let late = f.store.commit(Changeset { challenge, ..Changeset::default() }).await;
    assert!(is_stale(&late), "a challenge without its api_key is stale");
}

async fn a_code_has_one_enrollment(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let first = f.enrollment();
    let put = async |record: EnrollmentRecord| {
        f.store.commit(Changeset { enrollment: Some(Put::new(record)), ..Changeset::default() }).await
    };
    put(first.clone()).await.unwrap();
    let same_code = EnrollmentRecord { code: first.code, ..f.enrollment() };
    assert!(put(same_code).await.is_err(), "a code stands for one enrollment");
}

async fn due_enrollments_come_oldest_first(store: Arc<dyn ServerStore>) {
    let f = Fixture::new(store).await;
    let at = |ms: i64| UnixMillis::new(ms).unwrap();
    let mut ids = Vec::new();
    for (expires_at, state) in [
        (300, EnrollmentState::Pending),
        (100, EnrollmentState::AwaitingConfirmation),
        (200, EnrollmentState::Pending),
        (100, EnrollmentState::Confirmed),
        (100, EnrollmentState::Expired),
        (100, EnrollmentState::Cancelled),
    ] {
        let record = EnrollmentRecord { expires_at: at(expires_at), state, ..f.enrollment() };
        ids.push(record.id);
        let change = Changeset { enrollment: Some(Put::new(record)), ..Changeset::default() };
        f.store.commit(change).await.unwrap();
    }
    assert_eq!(f.store.due(at(99), 10).await.unwrap(), vec![]);
    assert_eq!(f.store.due(at(200), 10).await.unwrap(), vec![ids[1], ids[2]], "those whose time is up");
    assert_eq!(f.store.due(at(300), 10).await.unwrap(), vec![ids[1], ids[2], ids[0]]);
    assert_eq!(f.store.due(at(300), 1).await.unwrap(), vec![ids[1]], "at most the limit");
}

async fn a_whole_enrollment_runs(store: Arc<dyn ServerStore>) {
    let world = World::with_store(7, store).await;
    let agent = world.agent(0);
    let code = world.server.create_code().await;
    let online = agent.enroll(&world, "site-1", &code).await.unwrap();
    let token = online.session.token.hash();
    let identity = world.server.driver.authenticate(&token).await.unwrap();
    world.server.revoke(identity.agent_id).await.unwrap();
    assert!(world.server.driver.authenticate(&token).await.is_err(), "a revoked agent has no session");
    assert!(agent.driver.handshake().await.is_err(), "a revoked agent makes no session");
}
