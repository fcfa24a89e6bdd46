//! Whatever fails, a write is stored whole or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_core::driver::{Founding, ServerError};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::future::BoxFuture;
use fleet_core::handshake::CompleteRequest;
use fleet_core::id::{EnrollmentId, OrgId};
use fleet_core::name::Name;
use fleet_core::store::{
    Actor, AgentRecord, ChallengeRecord, Changeset, CommitError, Put, Query, ServerStore, Snapshot,
    StoreError,
};
use fleet_core::telemetry::{Event, EventKind, MinerStatus};
use fleet_core::time::{Clock as _, UnixMillis};
use fleet_store::{
    Account, Fault, Guard, LogEntry, LogKind, Restored, Selection, Store, Upload, UploadKind, UserRecord,
    UserSessionRecord,
};

use crate::support::Databases;
use crate::support::bench::{Bench, Operation, nothing_ever, operation, whole_or_nothing};
use crate::support::fixture::{Fixture, Peer, founding, founding_of, mac, sample};
use crate::support::server::{Enrolled, Server};

/// A store that keeps a flow's change to itself instead of committing it.
#[derive(Debug)]
struct Recorder {
    store: Store,
    change: Mutex<Option<Changeset>>,
}

impl ServerStore for Recorder {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        self.store.load(query)
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        *self.change.lock().unwrap() = Some(change);
        Box::pin(async { Err(CommitError::Store(StoreError("recorded".into()))) })
    }

    fn take_challenge(&self, id: [u8; 32]) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        self.store.take_challenge(id)
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        self.store.due(now, limit)
    }
}

/// What the server writes for enrollments and handshakes.
#[derive(Debug, Clone, Copy)]
enum Flow {
    FoundOrganization,
    CreateCode,
    Register,
    RegisterAgain,
    SecondUse,
    Confirm,
    WrongFingerprint,
    Cancel,
    Expire,
    Begin,
    BeginAgain,
    Complete,
    CompleteAgain,
    FirstCall,
    TakeOver,
    Revoke,
}

const FLOWS: &[Flow] = &[
    Flow::FoundOrganization,
    Flow::CreateCode,
    Flow::Register,
    Flow::RegisterAgain,
    Flow::SecondUse,
    Flow::Confirm,
    Flow::WrongFingerprint,
    Flow::Cancel,
    Flow::Expire,
    Flow::Begin,
    Flow::BeginAgain,
    Flow::Complete,
    Flow::CompleteAgain,
    Flow::FirstCall,
    Flow::TakeOver,
    Flow::Revoke,
];

/// Everything that a flow of the protocol commits.
pub async fn a_change_of_a_flow_is_whole_or_nothing(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let bench = Bench::new(&server.store, &empty).await;
    for flow in FLOWS {
        whole_or_nothing(&format!("{flow:?}"), async |fault| {
            let change = change_of(&server, *flow, &format!("{flow:?}-{fault:?}"), fault).await;
            let commit = operation(move |store: Store| {
                let change = change.clone();
                async move { store.commit(change).await }
            });
            (bench.clone(), commit)
        })
        .await;
    }
    whole_or_nothing("take_challenge", async |fault| {
        let agent = server.enrolled(&format!("take-{fault:?}")).await;
        let challenge = challenged(&server, &agent, 1).await.challenge;
        (bench.clone(), operation(move |store: Store| async move { store.take_challenge(challenge).await }))
    })
    .await;
    bench.close().await;
}

/// The change that a flow comes to, for an agent `name` of its own.
async fn change_of(server: &Server, flow: Flow, name: &str, fault: Fault) -> Changeset {
    let recorder = Arc::new(Recorder { store: server.store.clone(), change: Mutex::default() });
    let driver = server.driver_over(recorder.clone());
    let recorded: Result<(), ServerError> = match flow {
        Flow::FoundOrganization => {
            let founding = Founding {
                org_id: OrgId::new(100 + fault as i64).unwrap(),
                name: Name::new("Other").unwrap(),
                recovery: None,
                actor: Actor::System,
            };
            return driver.found_organization(founding).await.unwrap().change().clone();
        }
        Flow::CreateCode => driver.create_code(Default::default(), &server.operator).await.map(drop),
        Flow::Register => {
            let (caller, code) = (server.caller(name), server.code().await);
            driver.register(caller.register(&code)).await.map(drop)
        }
        Flow::RegisterAgain => {
            let waiting = server.waiting(name).await;
            server.clock.advance(Duration::from_secs(2));
            driver.register(waiting.caller.register(&waiting.code)).await.map(drop)
        }
        Flow::SecondUse => {
            let waiting = server.waiting(name).await;
            let other = server.caller(&format!("{name}-other"));
            driver.register(other.register(&waiting.code)).await.map(drop)
        }
        Flow::Confirm => {
            let waiting = server.waiting(name).await;
            driver.confirm(server.confirmation(&waiting)).await.map(drop)
        }
        Flow::WrongFingerprint => {
            let waiting = server.waiting(name).await;
            let fingerprint: Fingerprint = server.caller("x").fingerprint();
            let mut confirmation = server.confirmation(&waiting);
            confirmation.fingerprint = fingerprint;
            driver.confirm(confirmation).await.map(drop)
        }
        Flow::Cancel => {
            let waiting = server.waiting(name).await;
            driver.cancel(waiting.code.enrollment_id, &server.operator).await
        }
        Flow::Expire => {
            server.driver.sweep(1000).await.unwrap();
            server.waiting(name).await;
            server.clock.advance(Duration::from_secs(25 * 3600));
            // Codes of the flows before, and this one's agent last.
            let mut due = server.store.due(server.clock.now(), 1000).await.unwrap();
            let last = due.pop().unwrap();
            for id in due {
                let found = server.store.load(Query::Enrollment(id)).await.unwrap().unwrap();
                let step = fleet_core::enrollment::server::expire(&found, server.clock.now()).unwrap();
                server.store.commit(step.change().clone()).await.unwrap();
            }
            let found = server.store.load(Query::Enrollment(last)).await.unwrap().unwrap();
            assert!(found.agent.is_some());
            driver.sweep(1).await.map(drop)
        }
        Flow::Begin => {
            let agent = server.enrolled(name).await;
            driver.begin(agent.caller.begin(&agent.api_key, 1)).await.map(drop)
        }
        Flow::BeginAgain => {
            let agent = server.enrolled(name).await;
            challenged(server, &agent, 1).await;
            driver.begin(agent.caller.begin(&agent.api_key, 2)).await.map(drop)
        }
        Flow::Complete => {
            let agent = server.enrolled(name).await;
            driver.complete(challenged(server, &agent, 1).await).await.map(drop)
        }
        Flow::CompleteAgain => {
            let agent = server.enrolled(name).await;
            online(server, &agent).await;
            driver.complete(challenged(server, &agent, 1).await).await.map(drop)
        }
        Flow::FirstCall => {
            let agent = server.enrolled(name).await;
            let guard = online(server, &agent).await;
            driver.authenticate(&guard.session.unwrap()).await.map(drop)
        }
        Flow::TakeOver => {
            let agent = server.enrolled(name).await;
            online(server, &agent).await;
            let guard = online(server, &agent).await;
            driver.take_over(&guard.session.unwrap()).await.map(drop)
        }
        Flow::Revoke => {
            let agent = server.enrolled(name).await;
            let guard = online(server, &agent).await;
            challenged(server, &agent, 1).await;
            own_devices(server, &guard, fault as u8).await;
            driver.revoke(server.revocation(agent.id)).await
        }
    };
    assert!(matches!(recorded, Err(ServerError::Store(_))), "{flow:?}: {recorded:?}");
    recorder.change.lock().unwrap().take().unwrap()
}

/// Begun; what completes it.
async fn challenged(server: &Server, agent: &Enrolled, nonce: u8) -> CompleteRequest {
    let begun = server.driver.begin(agent.caller.begin(&agent.api_key, nonce)).await.unwrap();
    agent.caller.complete(agent.id, nonce, &begun)
}

async fn online(server: &Server, agent: &Enrolled) -> Guard {
    let token = server.driver.complete(challenged(server, agent, 7).await).await.unwrap().token;
    Guard { agent_id: agent.id, session: Some(token.hash()), now: server.clock.now() }
}

/// The agent owns two devices.
async fn own_devices(server: &Server, guard: &Guard, number: u8) {
    let upload = Upload { sequence: 1, captured_at: guard.now, received_at: guard.now };
    let events = [0, 1].map(|n| Event {
        at: guard.now,
        kind: EventKind::Discovered(fleet_core::telemetry::Discovery {
            endpoint: mac(100 + 2 * number + n),
            address: "192.168.0.9:80".to_owned(),
            make: "WhatsMiner".to_owned(),
            model: "M30S+".to_owned(),
            firmware: "1.0".to_owned(),
            serial: None,
            mac: None,
            driver: "asic-rs".to_owned(),
        }),
    });
    server.store.store_events(guard, upload, events.to_vec()).await.unwrap();
    let org = server.operator.org_id;
    let paired = server.store.pair(org, guard.agent_id, Selection::All, Actor::System, guard.now).await;
    assert_eq!(paired.unwrap().devices.len(), 2);
}

/// Everything else that writes.
#[derive(Debug, Clone, Copy)]
pub enum Write {
    AddMember,
    AddNewMember,
    RemoveMember,
    CreateOrganization,
    SelectOrganization,
    ChangePassword,
    SetPassword,
    LogOfUser,
    CreateUserSession,
    EndUserSession,
    CreateUserApiKey,
    RevokeUserApiKey,
    UseUserApiKey,
    Log,
    Heartbeat,
    StoreTelemetry,
    StoreEvents,
    RejectUpload,
    Pair,
    Unpair,
    PruneTelemetry,
    PruneRollUps,
    PruneEvents,
    Expire,
    Restored,
}

impl Write {
    /// The operation of the store that makes it.
    pub fn operation(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(c.to_lowercase());
        }
        match name.as_str() {
            "add_new_member" => "add_member".to_owned(),
            // It notes the use of the key.
            "use_user_api_key" => "user_by_api_key".to_owned(),
            _ => name,
        }
    }
}

pub const WRITES: &[Write] = &[
    Write::AddMember,
    Write::AddNewMember,
    Write::RemoveMember,
    Write::CreateOrganization,
    Write::SelectOrganization,
    Write::ChangePassword,
    Write::SetPassword,
    Write::LogOfUser,
    Write::CreateUserSession,
    Write::EndUserSession,
    Write::CreateUserApiKey,
    Write::RevokeUserApiKey,
    Write::UseUserApiKey,
    Write::Log,
    Write::Heartbeat,
    Write::StoreTelemetry,
    Write::StoreEvents,
    Write::RejectUpload,
    Write::Pair,
    Write::Unpair,
    Write::PruneTelemetry,
    Write::PruneRollUps,
    Write::PruneEvents,
    Write::Expire,
    Write::Restored,
];

pub async fn every_other_write_is_whole_or_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let bench = Bench::new(&f.store, &f.empty).await;
    for write in WRITES {
        whole_or_nothing(&format!("{write:?}"), async |fault| {
            let name = format!("{write:?}-{fault:?}");
            (bench.clone(), operation_of(&f, *write, &name, fault).await)
        })
        .await;
    }
    bench.close().await;
}

/// A write about things of its own, which are called `name`.
async fn operation_of(f: &Fixture, write: Write, name: &str, fault: Fault) -> Operation {
    let (org, now, later) = (f.org, f.now, f.later(10));
    match write {
        Write::AddMember => {
            let other = f.organization(1000 + fault as i64, name, &f.user(&format!("{name}-1")).await).await;
            let user = Account::Existing(f.user(name).await.id);
            operation(move |store| {
                with(store, user.clone(), async move |s, user| {
                    s.add_member(other, user, Actor::System, now).await
                })
            })
        }
        Write::AddNewMember => {
            let user = Account::New(f.user_record(name));
            operation(move |store| {
                with(store, user.clone(), async move |s, user| {
                    s.add_member(org, user, Actor::System, now).await
                })
            })
        }
        Write::RemoveMember => {
            let (user, _) = signed_in(f, name).await;
            f.store.create_user_api_key(f.user_api_key(&user)).await.unwrap();
            let user = user.id;
            operation(move |store: Store| async move {
                assert!(store.remove_member(org, user, Actor::System, now).await?);
                Ok::<_, StoreError>(())
            })
        }
        Write::CreateOrganization => {
            let change = founding_of(&f.store, 2000 + fault as i64, name).await;
            let user = Account::New(f.user_record(name));
            operation(move |store| {
                with(store, (change.clone(), user.clone()), async |s, (change, user)| {
                    s.create_organization(change, user, Actor::System).await
                })
            })
        }
        Write::SelectOrganization => {
            let (user, session) = signed_in(f, name).await;
            let other = f.organization(3000 + fault as i64, name, &user).await;
            let (token, next) = (session.token, f.user_session(&user).token);
            operation(
                move |store: Store| async move { store.select_organization(&token, next, other, now).await },
            )
        }
        Write::ChangePassword | Write::SetPassword => {
            let (user, session) = signed_in(f, name).await;
            f.store.create_user_session(f.user_session(&user), &user.password_hash).await.unwrap();
            let is_change = matches!(write, Write::ChangePassword);
            let (old, token, user) = (user.password_hash, session.token, user.id);
            operation(move |store| {
                with(store, old.clone(), async move |s, old| {
                    let done = if is_change {
                        s.change_password(user, &old, "new", &token, now).await?
                    } else {
                        s.set_password(user, "new", Actor::System, now).await?
                    };
                    assert!(done);
                    Ok::<_, StoreError>(())
                })
            })
        }
        Write::LogOfUser => {
            let user = f.user(name).await;
            f.organization(4000 + fault as i64, name, &user).await;
            let (user, kind) = (user.id, LogKind::LoginFailed);
            operation(move |store: Store| async move {
                store.log_of_user(user, Actor::System, kind, None, now).await
            })
        }
        Write::CreateUserSession => {
            let user = f.user(name).await;
            let session = f.user_session(&user);
            operation(move |store| {
                with(store, (session.clone(), user.clone()), async |s, (session, user)| {
                    s.create_user_session(session, &user.password_hash).await
                })
            })
        }
        Write::EndUserSession => {
            let (_, session) = signed_in(f, name).await;
            let token = session.token;
            operation(move |store: Store| async move { store.end_user_session(&token).await })
        }
        Write::CreateUserApiKey => {
            let key = f.user_api_key(&f.user(name).await);
            operation(move |store| with(store, key.clone(), async |s, key| s.create_user_api_key(key).await))
        }
        Write::RevokeUserApiKey => {
            let key = f.user_api_key(&f.user(name).await);
            f.store.create_user_api_key(key.clone()).await.unwrap();
            let digits = key.digits;
            operation(move |store| {
                with(store, digits.clone(), async move |s, digits| s.revoke_user_api_key(org, &digits).await)
            })
        }
        Write::UseUserApiKey => {
            let key = f.user_api_key(&f.user(name).await);
            f.store.create_user_api_key(key.clone()).await.unwrap();
            let hash = key.hash;
            operation(move |store: Store| async move { store.user_by_api_key(&hash, now).await })
        }
        Write::Log => {
            let entry =
                LogEntry { at: now, org_id: org, actor: Actor::System, kind: LogKind::Login, detail: None };
            operation(move |store| with(store, entry.clone(), async |s, entry| s.log(entry).await))
        }
        Write::Heartbeat => {
            let guard = f.peer(name).await.guard();
            operation(move |store: Store| async move { store.heartbeat(&guard, later, "2").await })
        }
        Write::StoreTelemetry => {
            let (peer, guard, rigs) = owner(f, name, write, fault).await;
            f.store.store_telemetry(&guard, f.upload(1), vec![sample(&rigs[0], now)]).await.unwrap();
            assert_eq!(peer.id(), guard.agent_id);
            let samples: Vec<_> = rigs.iter().map(|rig| sample(rig, later)).collect();
            let upload = f.upload(2);
            operation(move |store| {
                with(store, samples.clone(), async move |s, samples| {
                    s.store_telemetry(&guard, upload, samples).await
                })
            })
        }
        Write::StoreEvents => {
            let (_, guard, rigs) = owner(f, name, write, fault).await;
            let mut events: Vec<_> =
                rigs.iter().map(|rig| f.discovered(rig.clone(), "192.168.0.77:80")).collect();
            events.push(f.discovered(mac(200 + fault as u8), "192.168.0.78:80"));
            let change = EventKind::StatusChanged {
                endpoint: rigs[0].clone(),
                from: Some(MinerStatus::Mining),
                to: MinerStatus::Idle,
            };
            events.push(Event { at: now, kind: change });
            let upload = f.upload(2);
            operation(move |store| {
                with(store, events.clone(), async move |s, events| {
                    s.store_events(&guard, upload, events).await
                })
            })
        }
        Write::RejectUpload => {
            let guard = f.peer(name).await.guard();
            operation(move |store: Store| async move {
                store.reject_upload(&guard, UploadKind::Telemetry, 5).await
            })
        }
        Write::Pair => {
            let (peer, _, rigs) = owner(f, name, write, fault).await;
            let mut devices = Vec::new();
            for rig in &rigs {
                devices.push(f.id_of(rig).await);
            }
            f.store.unpair(org, devices, Actor::System, now).await.unwrap();
            let id = peer.id();
            operation(move |store: Store| async move {
                store.pair(org, id, Selection::All, Actor::System, now).await
            })
        }
        Write::Unpair => {
            let (_, _, rigs) = owner(f, name, write, fault).await;
            let mut devices = Vec::new();
            for rig in &rigs {
                devices.push(f.id_of(rig).await);
            }
            operation(move |store| {
                with(store, devices.clone(), async move |s, devices| {
                    s.unpair(org, devices, Actor::System, now).await
                })
            })
        }
        Write::PruneTelemetry => {
            while f.store.prune_telemetry(f.later(1_000_000), 100).await.unwrap() > 0 {}
            let (_, guard, rigs) = owner(f, name, write, fault).await;
            let samples = rigs.iter().map(|rig| sample(rig, now)).collect();
            f.store.store_telemetry(&guard, f.upload(1), samples).await.unwrap();
            operation(move |store: Store| async move { store.prune_telemetry(later, 100).await })
        }
        Write::PruneRollUps => {
            while f.store.prune_roll_ups(f.later(1_000_000), 100).await.unwrap() > 0 {}
            let (_, guard, rigs) = owner(f, name, write, fault).await;
            let samples = rigs.iter().map(|rig| sample(rig, now)).collect();
            f.store.store_telemetry(&guard, f.upload(1), samples).await.unwrap();
            let after = f.later(600);
            operation(move |store: Store| async move { store.prune_roll_ups(after, 100).await })
        }
        Write::PruneEvents => {
            while f.store.prune_events(f.later(1_000_000), 100).await.unwrap() > 0 {}
            let (_, guard, rigs) = owner(f, name, write, fault).await;
            let change = |rig: &fleet_core::endpoint::Endpoint| EventKind::StatusChanged {
                endpoint: rig.clone(),
                from: None,
                to: MinerStatus::Idle,
            };
            let events = rigs.iter().map(|rig| Event { at: now, kind: change(rig) }).collect();
            f.store.store_events(&guard, f.upload(2), events).await.unwrap();
            operation(move |store: Store| async move { store.prune_events(later, 100).await })
        }
        Write::Expire => {
            let end = f.later(3600);
            while f.store.expire(end).await.unwrap() > 0 {}
            f.peer(name).await;
            signed_in(f, name).await;
            operation(move |store: Store| async move { store.expire(end).await })
        }
        Write::Restored => {
            // One session of each kind and one challenge, whatever there was before.
            f.store.restored(Restored::default()).await.unwrap();
            let peer = f.peer(name).await;
            signed_in(f, name).await;
            f.commit(Changeset { challenge: Some(f.challenge(&peer)), ..Changeset::default() })
                .await
                .unwrap();
            let held = f.store.load(Query::Organization(org)).await.unwrap().unwrap().organization;
            // The same manifest: that the record is written shows by its version.
            let put = Put { record: held.record, expected: Some(held.version) };
            let change = Changeset { organization: Some(put), ..Changeset::default() };
            let (actor, kind) = (Actor::System, LogKind::Restored);
            let line = LogEntry { at: now, org_id: org, actor, kind, detail: Some(name.to_owned()) };
            let restored = Restored { changes: vec![change], lines: vec![line] };
            operation(move |store| {
                with(store, restored.clone(), async |s, restored| s.restored(restored).await)
            })
        }
    }
}

/// Lends a store and a value to a write, whose future owns both.
async fn with<V, R>(store: Store, value: V, write: impl AsyncFnOnce(Store, V) -> R) -> R {
    write(store, value).await
}

/// An operator with a session.
async fn signed_in(f: &Fixture, name: &str) -> (UserRecord, UserSessionRecord) {
    let user = f.user(name).await;
    let session = f.user_session(&user);
    f.store.create_user_session(session.clone(), &user.password_hash).await.unwrap();
    (user, session)
}

/// An agent that owns two devices.
async fn owner(
    f: &Fixture,
    name: &str,
    write: Write,
    fault: Fault,
) -> (Peer, Guard, Vec<fleet_core::endpoint::Endpoint>) {
    let peer = f.peer(name).await;
    let first = 1 + write as u8 * 6 + fault as u8 * 2;
    let rigs = vec![mac(first), mac(first + 1)];
    let guard = peer.guard();
    f.see(&guard, 1, &rigs).await;
    let mut devices = Vec::new();
    for rig in &rigs {
        devices.push(f.id_of(rig).await);
    }
    f.pair(peer.id(), devices).await;
    (peer, guard, rigs)
}

/// A change that is refused late, when much of it is written already.
pub async fn a_refused_change_leaves_nothing_whatever_fails(on: &Databases) {
    let f = Fixture::new(on).await;
    let bench = Bench::new(&f.store, &f.empty).await;
    let (peer, other) = (f.peer("a").await, f.peer("b").await);
    let held = f.store.load(Query::Agent(peer.id())).await.unwrap().unwrap().agent.unwrap();
    let renamed = AgentRecord { name: Name::new("c").unwrap(), ..held.record.clone() };
    let change = Changeset {
        agent: Some(Put { record: renamed, expected: Some(held.version) }),
        enrollment: Some(Put { record: f.enrollment(), expected: None }),
        forget_credentials: Some(peer.id()),
        // Of an agent whose sessions these are not.
        sessions: Some(vec![f.session(&other.record, other.api_key.hash)]),
        ..Changeset::default()
    };
    let commit = operation(move |store: Store| {
        let change = change.clone();
        async move { store.commit(change).await }
    });
    nothing_ever("a refused change", &bench, &commit).await;

    // An organization whose name is taken, which its last writes find out.
    let user = f.user("alice").await;
    f.organization(5000, "Taken", &user).await;
    let founding = founding_of(&f.store, 5001, "TAKEN").await;
    let create = operation(move |store| {
        with(store, (founding.clone(), Account::Existing(user.id)), async |s, (change, user)| {
            s.create_organization(change, user, Actor::System).await
        })
    });
    nothing_ever("an organization of a name that is taken", &bench, &create).await;
    bench.close().await;
}

/// The first start, each time on an empty database.
pub async fn a_set_up_that_fails_leaves_nothing(on: &Databases) {
    whole_or_nothing("set_up", async |_| {
        let empty = on.empty().await;
        let store = Store::open(&empty.url).await.unwrap();
        let bench = Bench::new(&store, &empty).await;
        let change = founding(&store).await;
        let user = fleet_store::UserRecord {
            id: fleet_core::id::UserId::new(9).unwrap(),
            name: "alice".to_owned(),
            password_hash: "$argon2id$secret".to_owned(),
            created_at: UnixMillis::new(1).unwrap(),
        };
        let set_up = operation(move |store| {
            with(store, (change.clone(), user.clone()), async |s, (change, user)| {
                s.set_up(change, user).await
            })
        });
        (bench, set_up)
    })
    .await;
}
