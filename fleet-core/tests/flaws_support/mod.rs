//! Servers, stores and agents that break one guarantee each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_core::code::SecretHash;
use fleet_core::driver::{ServerDriver, ServerError};
use fleet_core::enrollment::server::{Confirm, Operator, RegisterError, Revoke};
use fleet_core::future::{BoxFuture, ready};
use fleet_core::handshake::server::AgentIdentity;
use fleet_core::id::EnrollmentId;
use fleet_core::store::{
    Activity, ActivityKind, Actor, AgentState, AgentStatus, AgentStore, ChallengeRecord, Changeset,
    CommitError, EnrollmentState, MemoryAgentStore, MemoryServerStore, Query, ServerStore, Snapshot,
    StoreError, Version, Versioned,
};
use fleet_core::testing::simulation::{Call, Inspect, Parts, Reply, Service, StoreDump};
use fleet_core::time::UnixMillis;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The store reads a challenge where it should take it.
    KeepsChallenges,
    /// The store deletes a challenge and gives it out once more.
    GivesChallengesTwice,
    /// The store keeps an agent's credentials when it is revoked.
    KeepsCredentialsOnRevoke,
    /// The store says that a revocation is done, and does nothing.
    LosesRevocations,
    /// The store shows a used code as unused.
    LetsTwoKeysUseACode,
    /// The store writes the activity of a change that it refuses.
    CommitsInPart,
    /// The store loses what it wrote last when the server crashes.
    IsNotDurable,
    /// The store keeps an agent's first challenge and drops the later ones.
    KeepsTheFirstChallenge,
    /// The store lets sessions live for a day longer than it was told.
    StretchesSessions,
    /// The server takes whatever fingerprint is typed.
    TakesAnyFingerprint,
    /// The server notes the token of a new session in the activity log.
    LogsTokens,
    /// The server uses a code up when it refuses a registration.
    SpendsCodesOnRefusals,
    /// The server remembers whose a session is, also after a revocation.
    CachesSessions,
    /// The server lets the operators of every organization act on every agent.
    MixesOrganizations,
    /// The agent's store writes a session over an old copy of the rest.
    WritesOverAnOldCopy,
}

impl Parts for Flaw {
    fn server_store(&self) -> Arc<dyn Inspect> {
        Arc::new(FlawedStore {
            flaw: *self,
            inner: Mutex::default(),
            log: Mutex::default(),
            taken: Mutex::default(),
        })
    }

    fn service(&self, driver: ServerDriver, store: Arc<dyn ServerStore>) -> Arc<dyn Service> {
        Arc::new(FlawedService { flaw: *self, driver, store, cache: Arc::default() })
    }

    fn agent_store(&self) -> Arc<dyn AgentStore> {
        match self {
            Self::WritesOverAnOldCopy => Arc::<Backup>::default(),
            _ => Arc::new(MemoryAgentStore::new()),
        }
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Take([u8; 32]),
    Commit(Box<Changeset>),
}

#[derive(Debug)]
struct FlawedStore {
    flaw: Flaw,
    inner: Mutex<Arc<MemoryServerStore>>,
    /// Everything that changed the store, for one that loses the last of it.
    log: Mutex<Vec<Operation>>,
    /// Challenges that were given out.
    taken: Mutex<BTreeMap<[u8; 32], ChallengeRecord>>,
}

impl FlawedStore {
    fn inner(&self) -> Arc<MemoryServerStore> {
        self.inner.lock().unwrap().clone()
    }
}

impl ServerStore for FlawedStore {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        let inner = self.inner();
        Box::pin(async move {
            let by_code = matches!(query, Query::EnrollmentByCode(_));
            let mut found = inner.load(query).await?;
            if self.flaw == Flaw::LetsTwoKeysUseACode
                && by_code
                && let Some(snapshot) = &mut found
            {
                snapshot.agent = None;
                snapshot.enrollment.as_mut().unwrap().record.state = EnrollmentState::Pending;
            }
            if self.flaw == Flaw::StretchesSessions {
                for session in found.iter_mut().flat_map(|snapshot| &mut snapshot.sessions) {
                    session.expires_at =
                        session.expires_at.saturating_add(core::time::Duration::from_secs(86_400));
                }
            }
            Ok(found)
        })
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        let inner = self.inner();
        if self.flaw == Flaw::KeepsChallenges {
            let challenges = inner.dump().challenges;
            return ready(Ok(challenges.into_values().find(|row| row.challenge == challenge)));
        }
        self.log.lock().unwrap().push(Operation::Take(challenge));
        Box::pin(async move {
            let taken = inner.take_challenge(challenge).await?;
            if self.flaw != Flaw::GivesChallengesTwice {
                return Ok(taken);
            }
            let mut before = self.taken.lock().unwrap();
            before.extend(taken.clone().map(|record| (challenge, record)));
            Ok(taken.or_else(|| before.get(&challenge).cloned()))
        })
    }

    fn commit(&self, mut change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        let inner = self.inner();
        let status = change.agent.as_ref().map(|put| put.record.status);
        match self.flaw {
            Flaw::KeepsCredentialsOnRevoke => change.forget_credentials = None,
            Flaw::LosesRevocations if status == Some(AgentStatus::Revoked) => return ready(Ok(())),
            Flaw::KeepsTheFirstChallenge => {
                let held = inner.dump().challenges;
                change.challenge = change.challenge.filter(|new| !held.contains_key(&new.agent_id));
            }
            _ => {}
        }
        Box::pin(async move {
            let result = inner.commit(change.clone()).await;
            if result.is_ok() {
                self.log.lock().unwrap().push(Operation::Commit(Box::new(change)));
            } else if self.flaw == Flaw::CommitsInPart {
                inner.commit(Changeset { activity: change.activity, ..Changeset::default() }).await?;
            }
            result
        })
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        let inner = self.inner();
        Box::pin(async move { inner.due(now, limit).await })
    }
}

impl Inspect for FlawedStore {
    fn dump(&self) -> StoreDump {
        self.inner().dump()
    }

    fn crashed(&self) {
        if self.flaw != Flaw::IsNotDurable {
            return;
        }
        let mut log = self.log.lock().unwrap();
        // The organizations stay: they were there before the server.
        if log.len() > 2 {
            log.pop();
        }
        let restored = MemoryServerStore::new();
        for operation in log.iter().cloned() {
            fleet_core::testing::block_on(async {
                match operation {
                    Operation::Take(challenge) => drop(restored.take_challenge(challenge).await.unwrap()),
                    Operation::Commit(change) => restored.commit(*change).await.unwrap(),
                }
            });
        }
        *self.inner.lock().unwrap() = Arc::new(restored);
    }
}

#[derive(Debug)]
struct FlawedService {
    flaw: Flaw,
    driver: ServerDriver,
    store: Arc<dyn ServerStore>,
    cache: Arc<Mutex<BTreeMap<SecretHash, AgentIdentity>>>,
}

impl Service for FlawedService {
    fn serve(&self, call: Call) -> BoxFuture<'static, Result<Reply, ServerError>> {
        let (driver, store, cache) = (self.driver.clone(), self.store.clone(), self.cache.clone());
        match (self.flaw, call) {
            (Flaw::TakesAnyFingerprint, Call::Confirm(confirm)) => Box::pin(async move {
                let found = store.load(Query::Agent(confirm.agent_id)).await?;
                let agent = found.and_then(|found| found.agent).map(|agent| agent.record.keys.fingerprint());
                let fingerprint = agent.unwrap_or(confirm.fingerprint);
                driver.serve(Call::Confirm(Confirm { fingerprint, ..confirm })).await
            }),
            (Flaw::MixesOrganizations, Call::Confirm(confirm)) => Box::pin(async move {
                let operator = of_agent(&*store, Query::Agent(confirm.agent_id), confirm.operator).await?;
                driver.serve(Call::Confirm(Confirm { operator, ..confirm })).await
            }),
            (Flaw::MixesOrganizations, Call::Revoke(revoke)) => Box::pin(async move {
                let operator = of_agent(&*store, Query::Agent(revoke.agent_id), revoke.operator).await?;
                driver.serve(Call::Revoke(Revoke { operator, ..revoke })).await
            }),
            (Flaw::LogsTokens, Call::Complete(request)) => Box::pin(async move {
                let reply = driver.complete(request).await?;
                let found = store.load(Query::AgentBySession(reply.token.hash())).await?.unwrap();
                let activity = Activity {
                    at: UnixMillis::EPOCH,
                    org_id: found.organization.record.id,
                    actor: Actor::Key(reply.token.expose().to_owned()),
                    kind: ActivityKind::SessionCreated,
                    agent_id: None,
                    enrollment_id: None,
                };
                let change = Changeset { activity: vec![activity], ..Changeset::default() };
                store.commit(change).await.unwrap();
                Ok(Reply::Completed(reply))
            }),
            (Flaw::SpendsCodesOnRefusals, Call::Register(request)) => Box::pin(async move {
                let code = request.code();
                let result = driver.serve(Call::Register(request)).await;
                if matches!(result, Err(ServerError::Register(RegisterError::Proof { .. }))) {
                    let found = store.load(Query::EnrollmentByCode(code)).await?.unwrap();
                    let operator = Operator { org_id: found.organization.record.id, actor: Actor::System };
                    driver.cancel(found.enrollment.unwrap().record.id, &operator).await?;
                }
                result
            }),
            (Flaw::CachesSessions, Call::Authenticate(token)) => Box::pin(async move {
                let held = cache.lock().unwrap().get(&token).copied();
                let caller = match held {
                    Some(caller) => caller,
                    None => driver.authenticate(&token).await?,
                };
                cache.lock().unwrap().insert(token, caller);
                Ok(Reply::Caller(caller))
            }),
            (_, call) => driver.serve(call),
        }
    }
}

/// The operator as if it were of the organization that was found.
async fn of_agent(store: &dyn ServerStore, query: Query, operator: Operator) -> Result<Operator, StoreError> {
    let found = store.load(query).await?;
    let org_id = found.map_or(operator.org_id, |found| found.organization.record.id);
    Ok(Operator { org_id, ..operator })
}

/// An agent's store that writes a session over an old copy of the rest.
#[derive(Debug, Default)]
struct Backup {
    inner: MemoryAgentStore,
    first: Mutex<Option<AgentState>>,
}

impl AgentStore for Backup {
    fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>> {
        self.inner.load()
    }

    fn commit(
        &self,
        mut state: AgentState,
        expected: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, CommitError>> {
        let mut first = self.first.lock().unwrap();
        let held = first.as_ref().filter(|held| held.keys == state.keys).cloned();
        match held {
            Some(held) if state.session.is_some() => state = AgentState { session: state.session, ..held },
            Some(_) => {}
            None => *first = Some(state.clone()).filter(|state| state.manifest.is_some()),
        }
        drop(first);
        self.inner.commit(state, expected)
    }
}
