//! Uploads, and by what right.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fleet_core::code::SecretHash;
use fleet_core::endpoint::Endpoint;
use fleet_core::store::{AgentRecord, AgentStatus, Changeset, ServerStore};
use fleet_core::telemetry::{Event, EventKind, MinerStatus, Sample};
use fleet_core::time::UnixMillis;
use fleet_store::{Guard, GuardError, Stored, Upload, UploadKind, UploadOutcome};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::Databases;
use crate::support::fixture::{Fixture, at, mac, sample};

const TELEMETRY: UploadKind = UploadKind::Telemetry;

fn accepted(durable_sequence: i64, samples_accepted: i64, samples_rejected: i64) -> Stored {
    let outcome = UploadOutcome::Accepted;
    Stored { outcome, samples_accepted, samples_rejected, devices_refused: 0, durable_sequence }
}

fn duplicate(durable_sequence: i64) -> Stored {
    Stored { outcome: UploadOutcome::Duplicate, ..accepted(durable_sequence, 0, 0) }
}

async fn store(
    f: &Fixture,
    guard: &Guard,
    sequence: i64,
    samples: Vec<Sample>,
) -> Result<Stored, GuardError> {
    f.store.store_telemetry(guard, f.upload(sequence), samples).await
}

async fn history(f: &Fixture, endpoint: &Endpoint) -> Vec<Sample> {
    let (from, to) = (UnixMillis::EPOCH, at(i64::MAX));
    f.store.history(f.org, f.id_of(endpoint).await, from, to, 100).await.unwrap()
}

/// Everything in the way of a write leaves nothing behind.
async fn assert_refused(f: &Fixture, guard: &Guard, endpoint: &Endpoint, why: &str) {
    let before = history(f, endpoint).await;
    let durable = f.store.durable_sequence(guard.agent_id, TELEMETRY).await.unwrap();
    let events = f.store.durable_sequence(guard.agent_id, UploadKind::Event).await.unwrap();
    let result = store(f, guard, durable + 1, vec![sample(endpoint, f.now)]).await;
    assert!(matches!(result, Err(GuardError::Refused)), "telemetry, {why}: {result:?}");
    let unseen = mac(0xee);
    let seen = vec![f.discovered(unseen.clone(), "10.0.0.1:80")];
    let result = f.store.store_events(guard, f.upload(events + 1), seen).await;
    assert!(matches!(result, Err(GuardError::Refused)), "events, {why}: {result:?}");
    let result = f.store.reject_upload(guard, TELEMETRY, durable + 1).await;
    assert!(matches!(result, Err(GuardError::Refused)), "rejection, {why}: {result:?}");
    let result = f.store.heartbeat(guard, f.now, "1.0").await;
    assert!(matches!(result, Err(GuardError::Refused)), "heartbeat, {why}: {result:?}");
    assert_eq!(history(f, endpoint).await, before, "{why}");
    assert_eq!(f.store.durable_sequence(guard.agent_id, TELEMETRY).await.unwrap(), durable, "{why}");
    assert_eq!(f.store.durable_sequence(guard.agent_id, UploadKind::Event).await.unwrap(), events, "{why}");
    let devices = f.store.devices(f.org, Default::default(), None, 100).await.unwrap();
    assert!(devices.iter().all(|listing| listing.device.endpoint != unseen), "{why}");
}

pub async fn samples_come_back_as_they_were(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let id = f.owned(&peer, 1, &rig).await;
    let full = sample(&rig, f.now);
    let bare = Sample::status_only(rig.clone(), f.later(1), MinerStatus::Unreachable);
    let stored = store(&f, &peer.guard(), 10, vec![full.clone(), bare.clone()]).await.unwrap();
    assert_eq!(stored, accepted(10, 2, 0));
    assert_eq!(history(&f, &rig).await, vec![bare.clone(), full.clone()], "newest first");
    assert_eq!(f.store.latest(f.org, id).await.unwrap(), Some((bare, f.later(1_000_000))));
    let only = f.store.history(f.org, id, f.now, f.now, 100).await.unwrap();
    assert_eq!(only, vec![full], "both ends belong to the range");
    let none = f.store.history(f.org, id, f.later(2), f.later(9), 100).await.unwrap();
    assert_eq!(none, vec![]);
    assert_eq!(f.store.history(f.org, id, f.now, f.later(9), 1).await.unwrap().len(), 1, "the limit");
    let elsewhere = fleet_core::id::OrgId::new(999).unwrap();
    assert_eq!(f.store.latest(elsewhere, id).await.unwrap(), None, "another organization sees nothing");
    assert_eq!(f.store.history(elsewhere, id, f.now, f.later(9), 9).await.unwrap(), vec![]);
}

pub async fn a_number_that_is_none_is_no_reading(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    let odd = Sample {
        hashrate_hs: Some(f64::NAN),
        power_w: Some(f64::INFINITY),
        uptime_s: Some(u64::MAX),
        ..sample(&rig, f.now)
    };
    store(&f, &peer.guard(), 1, vec![odd]).await.unwrap();
    let held = history(&f, &rig).await.remove(0);
    assert_eq!((held.hashrate_hs, held.power_w), (None, None));
    assert_eq!(held.uptime_s, Some(i64::MAX.unsigned_abs()));
}

pub async fn duplicates_change_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    let guard = peer.guard();
    assert_eq!(f.store.durable_sequence(peer.id(), TELEMETRY).await.unwrap(), 0);
    let one = vec![sample(&rig, f.now)];
    assert_eq!(store(&f, &guard, 7, one.clone()).await.unwrap(), accepted(7, 1, 0));
    assert_eq!(store(&f, &guard, 7, one.clone()).await.unwrap(), duplicate(7));
    assert_eq!(store(&f, &guard, 3, one.clone()).await.unwrap(), duplicate(7));
    assert_eq!(history(&f, &rig).await.len(), 1);
    assert_eq!(f.store.durable_sequence(peer.id(), TELEMETRY).await.unwrap(), 7);
    assert_eq!(f.store.durable_sequence(peer.id(), UploadKind::Event).await.unwrap(), 1, "kinds are apart");
    assert_eq!(f.store.reject_upload(&guard, TELEMETRY, 8).await.unwrap(), accepted(8, 0, 0));
    assert_eq!(f.store.reject_upload(&guard, TELEMETRY, 8).await.unwrap(), duplicate(8));
    assert_eq!(store(&f, &guard, 8, one.clone()).await.unwrap(), duplicate(8));
    assert_eq!(store(&f, &guard, 9, vec![]).await.unwrap(), accepted(9, 0, 0), "an empty batch counts");
    let other = f.peer("b").await;
    assert_eq!(f.store.durable_sequence(other.id(), TELEMETRY).await.unwrap(), 0, "agents are apart");
}

pub async fn one_of_many_uploads_of_a_message_is_stored(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, guard, upload) = (f.store.clone(), peer.guard(), f.upload(5));
        let samples = vec![sample(&rig, f.now)];
        tasks.spawn(async move { store.store_telemetry(&guard, upload, samples).await.unwrap() });
    }
    let results = tasks.join_all().await;
    let new = results.iter().filter(|stored| stored.outcome == UploadOutcome::Accepted).count();
    assert_eq!(new, 1);
    assert_eq!(history(&f, &rig).await.len(), 1);
}

pub async fn nobody_has_the_last_word_by_a_clock_that_is_ahead(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let id = f.owned(&peer, 1, &rig).await;
    let ahead = sample(&rig, UnixMillis::new(253_402_300_799_000).unwrap());
    store(&f, &peer.guard(), 1, vec![ahead]).await.unwrap();
    let (latest, received_at) = f.store.latest(f.org, id).await.unwrap().unwrap();
    assert_eq!(latest.taken_at, received_at, "no reading is of the future");

    // What the owner said goes with the owner.
    f.store.unpair(f.org, vec![id], fleet_core::store::Actor::System, f.now).await.unwrap();
    assert_eq!(f.store.latest(f.org, id).await.unwrap(), None);
    assert_eq!(history(&f, &rig).await.len(), 1, "the history stays");
}

pub async fn an_older_sample_does_not_replace_the_latest(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let id = f.owned(&peer, 1, &rig).await;
    let guard = peer.guard();
    let (old, new) = (sample(&rig, f.now), sample(&rig, f.later(60)));
    store(&f, &guard, 1, vec![new.clone(), old.clone()]).await.unwrap();
    assert_eq!(f.store.latest(f.org, id).await.unwrap().unwrap().0, new, "within one message");
    store(&f, &guard, 2, vec![old]).await.unwrap();
    assert_eq!(f.store.latest(f.org, id).await.unwrap().unwrap().0, new, "by a later message");
    let same_time = Sample { status: MinerStatus::Fault, ..new };
    store(&f, &guard, 3, vec![same_time.clone()]).await.unwrap();
    assert_eq!(f.store.latest(f.org, id).await.unwrap().unwrap().0, same_time, "not older replaces");
    assert_eq!(history(&f, &rig).await.len(), 4, "the history has all");
}

pub async fn only_owned_devices_are_taken(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b, local) = (f.peer("a").await, f.peer("b").await, f.local().await);
    let (of_a, of_b, free, unknown, of_local) = (mac(1), mac(2), mac(3), mac(4), mac(5));
    f.owned(&a, 1, &of_a).await;
    f.owned(&b, 1, &of_b).await;
    f.see(&a.guard(), 2, &[free.clone(), of_b.clone(), of_local.clone()]).await;
    f.owned(&local, 1, &of_local).await;
    let batch = || [&of_a, &of_b, &free, &unknown, &of_local].map(|e| sample(e, f.now)).to_vec();
    assert_eq!(store(&f, &a.guard(), 1, batch()).await.unwrap(), accepted(1, 1, 4));
    assert_eq!(history(&f, &of_a).await.len(), 1);
    for other in [&of_b, &free, &of_local] {
        assert_eq!(history(&f, other).await, vec![], "{other}");
        assert_eq!(f.store.latest(f.org, f.id_of(other).await).await.unwrap(), None, "{other}");
    }
    assert_eq!(store(&f, &local.in_process(), 1, batch()).await.unwrap(), accepted(1, 1, 4));
    assert_eq!(history(&f, &of_local).await.len(), 1, "the local half owns what is paired without a row");
    assert_eq!(history(&f, &of_a).await.len(), 1, "and nothing else");
}

pub async fn a_revoked_agent_stores_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    store(&f, &peer.guard(), 1, vec![sample(&rig, f.now)]).await.unwrap();
    // Status alone: its session is still there.
    f.revoke(peer.id()).await;
    assert_refused(&f, &peer.guard(), &rig, "revoked").await;
    let never = Guard { agent_id: fleet_core::id::AgentId::new(1).unwrap(), ..peer.guard() };
    assert_refused(&f, &never, &rig, "no such agent").await;
    let pending = AgentRecord {
        status: AgentStatus::Pending,
        ..f.agent_record("p", fleet_core::store::AgentKind::Remote)
    };
    let pending = f.peer_of(pending).await;
    assert_refused(&f, &pending.guard(), &rig, "not confirmed").await;
}

pub async fn a_dead_session_stores_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, other, rig) = (f.peer("a").await, f.peer("b").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    let end = peer.session.expires_at;
    assert_refused(&f, &Guard { now: end, ..peer.guard() }, &rig, "expired").await;
    let last = Guard { now: at(end.value() - 1), ..peer.guard() };
    store(&f, &last, 1, vec![sample(&rig, f.now)]).await.unwrap();
    let foreign = Guard { session: Some(other.session.token), ..peer.guard() };
    assert_refused(&f, &foreign, &rig, "another agent's session").await;
    let unknown = Guard { session: Some(SecretHash::from_bytes([9; 32])), ..peer.guard() };
    assert_refused(&f, &unknown, &rig, "no such session").await;
    assert_refused(&f, &peer.in_process(), &rig, "no session, and not the local half").await;
    let change = Changeset { forget_credentials: Some(peer.id()), ..Changeset::default() };
    f.store.commit(change).await.unwrap();
    assert_refused(&f, &peer.guard(), &rig, "deleted").await;
}

pub async fn a_heartbeat_shows_in_the_listing(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    f.store.heartbeat(&peer.guard(), f.later(5), "1.2\0.3").await.unwrap();
    let listing = f.store.agent(f.org, peer.id()).await.unwrap().unwrap();
    assert_eq!(listing.last_heartbeat_at, Some(f.later(5)));
    assert_eq!(listing.agent_version.as_deref(), Some("1.2.3"), "without what cannot be stored");
    // A heartbeat is no change of the record, and a change of the record keeps the heartbeat.
    f.change(peer.id(), |record| record.last_sequence = 9).await;
    let listing = f.store.agent(f.org, peer.id()).await.unwrap().unwrap();
    assert_eq!(listing.last_heartbeat_at, Some(f.later(5)));
}

pub async fn status_changes_are_kept_for_owned_devices(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig, foreign) = (f.peer("a").await, mac(1), mac(2));
    let id = f.owned(&peer, 1, &rig).await;
    f.owned(&f.peer("b").await, 1, &foreign).await;
    let changed = |endpoint: &Endpoint, from, to| Event {
        at: f.later(3),
        kind: EventKind::StatusChanged { endpoint: endpoint.clone(), from, to },
    };
    let events = vec![
        changed(&rig, None, MinerStatus::Mining),
        changed(&foreign, None, MinerStatus::Mining),
        changed(&mac(9), None, MinerStatus::Mining),
        changed(&rig, Some(MinerStatus::Mining), MinerStatus::Fault),
    ];
    let stored = f.store.store_events(&peer.guard(), f.upload(2), events.clone()).await.unwrap();
    assert_eq!(stored, accepted(2, 2, 2));
    assert_eq!(f.store.store_events(&peer.guard(), f.upload(2), events).await.unwrap(), duplicate(2));
    let kept = f.store.status_changes(f.org, Some(id), None, 10).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|c| (c.agent_id, c.at, c.from, c.to)).collect();
    let expected = [(Some(MinerStatus::Mining), MinerStatus::Fault), (None, MinerStatus::Mining)];
    assert_eq!(kept, expected.map(|(from, to)| (peer.id(), f.later(3), from, to)).to_vec());
    assert_eq!(f.store.status_changes(f.org, None, None, 10).await.unwrap().len(), 2);
}

pub async fn a_large_batch_is_stored(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    let rigs: Vec<Endpoint> = (0..2500).map(|n| Endpoint::serial(format!("rig-{n:05}")).unwrap()).collect();
    f.see(&peer.guard(), 1, &rigs).await;
    let all = fleet_store::Selection::All;
    let paired = f.store.pair(f.org, peer.id(), all, fleet_core::store::Actor::System, f.now).await.unwrap();
    assert_eq!(paired.devices.len(), rigs.len());
    let samples = rigs.iter().map(|rig| sample(rig, f.now)).collect();
    assert_eq!(store(&f, &peer.guard(), 1, samples).await.unwrap(), accepted(1, 2500, 0));
    let listing = f.store.agent(f.org, peer.id()).await.unwrap().unwrap();
    assert_eq!(listing.devices, 2500);
    let page = f.store.devices(f.org, Default::default(), None, u32::MAX).await.unwrap();
    assert_eq!(page.len(), 1001, "a page is bounded");
    let last = page.last().unwrap().device.id;
    let next = f.store.devices(f.org, Default::default(), Some(last), 1).await.unwrap();
    assert!(next[0].device.id > last && next[0].latest.is_some());
}

pub async fn the_history_is_pruned_and_the_latest_stays(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let id = f.owned(&peer, 1, &rig).await;
    let samples = (0..5).map(|n| sample(&rig, f.later(n))).collect();
    store(&f, &peer.guard(), 1, samples).await.unwrap();
    assert_eq!(f.store.prune_telemetry(f.later(3), 2).await.unwrap(), 2, "at most the limit");
    let left: Vec<_> = history(&f, &rig).await.into_iter().map(|s| s.taken_at).collect();
    assert_eq!(left, vec![f.later(4), f.later(3), f.later(2)], "oldest first");
    assert_eq!(f.store.prune_telemetry(f.later(3), 100).await.unwrap(), 1);
    assert_eq!(f.store.prune_telemetry(at(i64::MAX), 100).await.unwrap(), 2);
    assert_eq!(f.store.latest(f.org, id).await.unwrap().unwrap().0.taken_at, f.later(4));
}

/// What a message is judged by is read in the transaction that stores it: of uploads beside a
/// revocation, what was not stored before it is not stored at all.
pub async fn nothing_is_stored_after_a_revocation(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    let (next, some) = (Arc::new(AtomicI64::new(1)), Arc::new(Notify::new()));
    let mut uploads = JoinSet::new();
    for _ in 0..4 {
        let (store, guard, upload) = (f.store.clone(), peer.guard(), f.upload(0));
        let (next, some, sample) = (next.clone(), some.clone(), sample(&rig, f.now));
        uploads.spawn(async move {
            loop {
                let sequence = next.fetch_add(1, Ordering::Relaxed);
                if sequence == 20 {
                    some.notify_one();
                }
                let upload = Upload { sequence, ..upload };
                match store.store_telemetry(&guard, upload, vec![sample.clone()]).await {
                    Ok(_) => {}
                    Err(GuardError::Refused) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    some.notified().await;
    f.revoke(peer.id()).await;
    let raw = f.empty.raw().await;
    let stored = super::database::count(&raw, "telemetry").await;
    uploads.join_all().await;
    assert_eq!(super::database::count(&raw, "telemetry").await, stored);
    raw.close().await.unwrap();
}
