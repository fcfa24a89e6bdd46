//! Each step of the machines by itself: what it writes, whole; how it decides at the very moment that a time is up; and
//! each of its conditions where all others hold, on records that no store should bring about.
//!
//! What a step writes is compared with all that it may write, so that a field that is forgotten, or written too much, is
//! seen, also if nothing reads it until much later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod confirmation;
mod enrollment;
mod handshake;
mod revocation;

use core::time::Duration;

use fleet_core::code::ApiKey;
use fleet_core::enrollment::server::Operator;
use fleet_core::enrollment::{NewCode, RegisterRequest};
use fleet_core::id::{AgentId, EnrollmentId, UserId};
use fleet_core::keys::{AgentPublicKeys, AgentSecretKeys, CommandSecretKey, RootSecretKey, Signature};
use fleet_core::name::Name;
use fleet_core::store::{
    Activity, ActivityKind, Actor, AgentRecord, EnrollmentRecord, OrganizationRecord, Put, Query, Snapshot,
    Versioned,
};
use fleet_core::testing::{SeededRandom, World, block_on};
use fleet_core::time::{Clock as _, UnixMillis};

const SEED: u64 = 51;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The root and command keys that a world of [`SEED`] makes first of all.
fn server_keys() -> (RootSecretKey, CommandSecretKey) {
    let random = SeededRandom::new(SEED);
    (RootSecretKey::generate(&random).unwrap(), CommandSecretKey::generate(&random).unwrap())
}

/// Writes `record` in the place of what was loaded.
fn put<T>(record: T, loaded: &Versioned<T>) -> Put<T> {
    Put { record, expected: Some(loaded.version) }
}

/// Writes `record` where there must be none.
fn put_new<T>(record: T) -> Put<T> {
    Put { record, expected: None }
}

/// A server with one code, and the keys that register with it.
struct Bench {
    world: World,
    code: NewCode,
    keys: AgentSecretKeys,
    operator: Operator,
    /// Once it is confirmed.
    api_key: Option<ApiKey>,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(SEED);
        let code = block_on(world.server.create_code());
        let keys = AgentSecretKeys::generate(&SeededRandom::new(52)).unwrap();
        // A person, so that it shows who is named in the log.
        let operator =
            Operator { actor: Actor::User(UserId::new(7).unwrap()), ..world.server.operator.clone() };
        Self { world, code, keys, operator, api_key: None }
    }

    /// The code is used, and an operator must confirm.
    fn registered() -> Self {
        let bench = Self::new();
        block_on(bench.world.server.driver.register(bench.request())).unwrap();
        bench.world.advance(SECOND);
        bench
    }

    fn confirmed() -> Self {
        let mut bench = Self::registered();
        let (id, fingerprint) = (bench.agent_id(), bench.public().fingerprint());
        bench.api_key = Some(block_on(bench.world.server.confirm(&bench.code, id, fingerprint)).unwrap());
        bench.world.advance(SECOND);
        bench
    }

    fn now(&self) -> UnixMillis {
        self.world.clock.now()
    }

    fn public(&self) -> AgentPublicKeys {
        self.keys.public().unwrap()
    }

    fn agent_id(&self) -> AgentId {
        block_on(self.world.server.agent_of(&self.code)).unwrap()
    }

    fn agent(&self) -> Snapshot {
        self.load(Query::Agent(self.agent_id()))
    }

    fn load(&self, query: Query) -> Snapshot {
        block_on(self.world.server.store.load(query)).unwrap().unwrap()
    }

    fn enrollment(&self) -> Snapshot {
        self.load(Query::Enrollment(self.code.enrollment_id))
    }

    /// A line of the activity log about this agent and this code, by the operator.
    fn line(&self, kind: ActivityKind, agent: Option<AgentId>, enrollment: Option<EnrollmentId>) -> Activity {
        Activity {
            at: self.now(),
            org_id: self.operator.org_id,
            actor: self.operator.actor.clone(),
            kind,
            agent_id: agent,
            enrollment_id: enrollment,
        }
    }

    fn request(&self) -> RegisterRequest {
        self.request_of("site-1", &self.keys)
    }

    /// With this code, signed as it should be.
    fn request_of(&self, name: &str, keys: &AgentSecretKeys) -> RegisterRequest {
        let public = keys.public().unwrap().by_role().map(|(_, key)| *key);
        let make = |proofs| {
            let token = self.code.code.as_ref().unwrap().expose().to_owned();
            RegisterRequest::new(token, Name::new(name).unwrap(), public, proofs)
        };
        let [identity, miner_signing] = make([Signature::from_bytes([0; 64]); 2]).transcripts();
        make([keys.identity.sign(identity.as_bytes()), keys.miner_signing.sign(miner_signing.as_bytes())])
    }
}

/// The records of a snapshot, to be changed where a test wants them to contradict each other.
trait Records {
    fn org(&mut self) -> &mut OrganizationRecord;
    fn enr(&mut self) -> &mut EnrollmentRecord;
    fn agt(&mut self) -> &mut AgentRecord;
}

impl Records for Snapshot {
    fn org(&mut self) -> &mut OrganizationRecord {
        &mut self.organization.record
    }

    fn enr(&mut self) -> &mut EnrollmentRecord {
        &mut self.enrollment.as_mut().unwrap().record
    }

    fn agt(&mut self) -> &mut AgentRecord {
        &mut self.agent.as_mut().unwrap().record
    }
}
