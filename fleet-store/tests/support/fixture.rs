//! A store with an organization, and what a test needs to fill it.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::code::{ApiKey, EnrollmentCode, SecretHash, SessionToken};
use fleet_core::driver::{Founding, ServerDriver, ServerKeys};
use fleet_core::endpoint::Endpoint;
use fleet_core::id::{AgentId, DeviceId, EnrollmentId, OrgId, UserId};
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey, RootSecretKey};
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::{
    Actor, AgentApiKeyRecord, AgentKind, AgentRecord, AgentStatus, ChallengeRecord, Changeset, CommitError,
    EnrollmentRecord, EnrollmentState, Put, Query, ServerStore, SessionRecord,
};
use fleet_core::telemetry::{BoardSample, Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::testing::{SeededRandom, VirtualClock, World};
use fleet_core::time::{Clock, UnixMillis};
use fleet_store::{
    Account, DeviceFilter, Guard, Paired, Selection, Store, Stored, Upload, UserApiKeyRecord, UserRecord,
    UserSessionRecord,
};

use super::{Databases, Empty};

pub fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

pub fn mac(last: u8) -> Endpoint {
    Endpoint::mac([2, 0, 0, 0, 0, last]).unwrap()
}

pub struct Fixture {
    pub store: Store,
    pub empty: Empty,
    pub random: SeededRandom,
    pub org: OrgId,
    pub now: UnixMillis,
    _world: World,
}

/// An agent with an api_key and a session.
pub struct Peer {
    pub record: AgentRecord,
    pub api_key: AgentApiKeyRecord,
    pub session: SessionRecord,
    pub now: UnixMillis,
}

impl Peer {
    pub fn id(&self) -> AgentId {
        self.record.id
    }

    /// As the agent's own call.
    pub fn guard(&self) -> Guard {
        Guard { agent_id: self.record.id, session: Some(self.session.token), now: self.now }
    }

    /// As the half in the same process.
    pub fn in_process(&self) -> Guard {
        Guard { session: None, ..self.guard() }
    }
}

/// What founds an organization on an empty store.
pub async fn founding(store: &Store) -> Changeset {
    founding_of(store, 4, "Acme").await
}

/// What founds this organization.
pub async fn founding_of(store: &Store, id: i64, name: &str) -> Changeset {
    let random = Arc::new(SeededRandom::new(5));
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::generate(random.as_ref()).unwrap()),
        Arc::new(CommandSecretKey::generate(random.as_ref()).unwrap()),
    );
    let clock = Arc::new(VirtualClock::default());
    let driver = ServerDriver::new(Arc::new(store.clone()), clock, random, keys, Policy::default());
    let founding = Founding {
        org_id: OrgId::new(id).unwrap(),
        name: Name::new(name).unwrap(),
        recovery: None,
        actor: Actor::System,
    };
    driver.found_organization(founding).await.unwrap().change().clone()
}

impl Fixture {
    pub async fn new(on: &Databases) -> Self {
        let empty = on.empty().await;
        let store = Store::open(&empty.url).await.unwrap();
        let world = World::with_store(7, Arc::new(store.clone())).await;
        let (org, now) = (world.server.operator.org_id, world.clock.now());
        Self { store, empty, random: SeededRandom::new(99), org, now, _world: world }
    }

    pub async fn commit(&self, change: Changeset) -> Result<(), CommitError> {
        self.store.commit(change).await
    }

    pub fn later(&self, seconds: u64) -> UnixMillis {
        self.now.saturating_add(Duration::from_secs(seconds))
    }

    pub fn agent_record(&self, name: &str, kind: AgentKind) -> AgentRecord {
        AgentRecord {
            id: AgentId::random(&self.random).unwrap(),
            org_id: self.org,
            name: Name::new(name).unwrap(),
            kind,
            keys: AgentSecretKeys::generate(&self.random).unwrap().public().unwrap(),
            status: AgentStatus::Confirmed,
            enrollment_id: None,
            certificate: None,
            sealed_api_key: None,
            created_at: self.now,
            confirmed_at: Some(self.now),
            revoked_at: None,
            last_sequence: 0,
            last_begin_at: None,
        }
    }

    pub fn session(&self, agent: &AgentRecord, api_key: SecretHash) -> SessionRecord {
        SessionRecord {
            token: SessionToken::generate(&self.random).unwrap().hash(),
            agent_id: agent.id,
            api_key,
            identity: *agent.keys.identity(),
            command: fleet_core::keys::CommandSecretKey::from_seed(&[3; 32]).public(),
            created_at: self.now,
            expires_at: self.later(3600),
        }
    }

    /// An agent, confirmed and with a session.
    pub async fn peer(&self, name: &str) -> Peer {
        self.peer_of(self.agent_record(name, AgentKind::Remote)).await
    }

    pub async fn local(&self) -> Peer {
        self.peer_of(self.agent_record("local", AgentKind::Local)).await
    }

    pub async fn peer_of(&self, record: AgentRecord) -> Peer {
        let key = ApiKey::generate(&self.random).unwrap();
        let api_key = AgentApiKeyRecord {
            hash: key.hash(),
            digits: key.digits().to_owned(),
            agent_id: record.id,
            created_at: self.now,
        };
        let session = self.session(&record, api_key.hash);
        let change = Changeset {
            agent: Some(Put { record: record.clone(), expected: None }),
            api_key: Some(api_key.clone()),
            sessions: Some(vec![session.clone()]),
            ..Changeset::default()
        };
        self.commit(change).await.unwrap();
        Peer { record, api_key, session, now: self.now }
    }

    /// Writes an agent's record again, changed.
    pub async fn change(&self, id: AgentId, change: impl FnOnce(&mut AgentRecord)) {
        let held = self.store.load(Query::Agent(id)).await.unwrap().unwrap().agent.unwrap();
        let mut record = held.record;
        change(&mut record);
        let put = Put { record, expected: Some(held.version) };
        self.commit(Changeset { agent: Some(put), ..Changeset::default() }).await.unwrap();
    }

    pub async fn revoke(&self, id: AgentId) {
        let now = self.now;
        self.change(id, |record| {
            record.status = AgentStatus::Revoked;
            record.revoked_at = Some(now);
        })
        .await;
    }

    pub fn enrollment(&self) -> EnrollmentRecord {
        let code = EnrollmentCode::generate(Pin::from_bytes([1; 16]), &self.random).unwrap();
        EnrollmentRecord {
            id: EnrollmentId::random(&self.random).unwrap(),
            org_id: self.org,
            code: code.hash(),
            state: EnrollmentState::Pending,
            created_at: self.now,
            expires_at: self.later(3600),
            agent_id: None,
            answered_at: None,
            second_uses: 0,
            second_use_at: None,
        }
    }

    /// A challenge of a peer's handshake.
    pub fn challenge(&self, peer: &Peer) -> ChallengeRecord {
        ChallengeRecord {
            challenge: *SessionToken::generate(&self.random).unwrap().hash().as_bytes(),
            agent_id: peer.id(),
            api_key: peer.api_key.hash,
            identity: *peer.record.keys.identity(),
            client_nonce: [1; 32],
            command: peer.session.command,
            server_time: self.now,
            expires_at: self.later(30),
            last_sequence: 0,
            manifest_hash: [2; 32],
        }
    }

    pub fn user_record(&self, name: &str) -> UserRecord {
        UserRecord {
            id: UserId::random(&self.random).unwrap(),
            name: name.to_owned(),
            password_hash: "$argon2id$secret".to_owned(),
            created_at: self.now,
        }
    }

    pub async fn user(&self, name: &str) -> UserRecord {
        let user = self.user_record(name);
        self.store.add_member(self.org, Account::New(user.clone()), Actor::System, self.now).await.unwrap();
        UserRecord { name: name.to_lowercase(), ..user }
    }

    /// Another organization beside the fixture's, with this user as its operator.
    pub async fn organization(&self, id: i64, name: &str, operator: &UserRecord) -> OrgId {
        let change = founding_of(&self.store, id, name).await;
        let operator = Account::Existing(operator.id);
        self.store.create_organization(change, operator, Actor::System).await.unwrap();
        OrgId::new(id).unwrap()
    }

    /// A session of a user for the organization.
    pub fn user_session(&self, user: &UserRecord) -> UserSessionRecord {
        UserSessionRecord {
            token: SessionToken::generate(&self.random).unwrap().hash(),
            user_id: user.id,
            org_id: self.org,
            created_at: self.now,
            expires_at: self.later(60),
        }
    }

    pub fn user_api_key(&self, user: &UserRecord) -> UserApiKeyRecord {
        let key = ApiKey::generate(&self.random).unwrap();
        UserApiKeyRecord {
            hash: key.hash(),
            digits: key.digits().to_owned(),
            label: Name::new("ci").unwrap(),
            user_id: user.id,
            org_id: self.org,
            created_at: self.now,
            expires_at: None,
            last_used_at: None,
        }
    }

    pub fn upload(&self, sequence: i64) -> Upload {
        Upload { sequence, captured_at: self.now, received_at: self.later(1_000_000) }
    }

    pub fn discovery(&self, endpoint: Endpoint, address: &str) -> Discovery {
        Discovery {
            endpoint,
            address: address.to_owned(),
            make: "WhatsMiner".to_owned(),
            model: "M30S+".to_owned(),
            firmware: "1.0".to_owned(),
            serial: Some("SN-1".to_owned()),
            mac: Some([2, 0, 0, 0, 0, 1]),
            driver: "asic-rs".to_owned(),
        }
    }

    pub fn discovered(&self, endpoint: Endpoint, address: &str) -> Event {
        Event { at: self.now, kind: EventKind::Discovered(self.discovery(endpoint, address)) }
    }

    /// The agent sees these endpoints.
    pub async fn see(&self, guard: &Guard, sequence: i64, endpoints: &[Endpoint]) -> Stored {
        let events = endpoints.iter().map(|e| self.discovered(e.clone(), "192.168.0.9:80")).collect();
        self.store.store_events(guard, self.upload(sequence), events).await.unwrap()
    }

    /// The id of a device.
    pub async fn id_of(&self, endpoint: &Endpoint) -> DeviceId {
        let all = self.store.devices(self.org, DeviceFilter::default(), None, 1000).await.unwrap();
        all.iter().find(|listing| listing.device.endpoint == *endpoint).unwrap().device.id
    }

    pub async fn pair(&self, agent: AgentId, devices: Vec<DeviceId>) -> Paired {
        let selection = Selection::Devices(devices);
        self.store.pair(self.org, agent, selection, Actor::System, self.now).await.unwrap()
    }

    /// A device that the agent has seen and owns.
    pub async fn owned(&self, peer: &Peer, sequence: i64, endpoint: &Endpoint) -> DeviceId {
        self.see(&peer.guard(), sequence, std::slice::from_ref(endpoint)).await;
        let id = self.id_of(endpoint).await;
        assert_eq!(self.pair(peer.id(), vec![id]).await.devices, vec![id]);
        id
    }
}

pub fn sample(endpoint: &Endpoint, taken_at: UnixMillis) -> Sample {
    Sample {
        hashrate_hs: Some(1.1e14),
        power_w: Some(3400.5),
        efficiency_j_per_th: Some(30.9),
        temperature_c: None,
        fan_rpm: vec![6000, 5990],
        boards: vec![
            BoardSample {
                index: 0,
                hashrate_hs: Some(3.5e13),
                temperature_c: Some(71.5),
                working_chips: Some(110),
            },
            BoardSample { index: 2, hashrate_hs: None, temperature_c: None, working_chips: None },
        ],
        uptime_s: Some(86_400),
        ..Sample::status_only(endpoint.clone(), taken_at, MinerStatus::Mining)
    }
}
