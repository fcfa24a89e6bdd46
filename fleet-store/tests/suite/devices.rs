//! Devices and their owners.

use fleet_core::endpoint::Endpoint;
use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::store::{Actor, AgentKind, AgentRecord, AgentStatus};
use fleet_core::telemetry::{Discovery, Event, EventKind};
use fleet_store::{DeviceFilter, DeviceListing, PairError, Paired, Selection, SkipReason};

use crate::support::Databases;
use crate::support::fixture::{Fixture, Peer, mac, sample};

async fn listing(f: &Fixture, endpoint: &Endpoint) -> DeviceListing {
    f.store.device(f.org, f.id_of(endpoint).await).await.unwrap().unwrap()
}

async fn ids(f: &Fixture, filter: DeviceFilter) -> Vec<DeviceId> {
    let found = f.store.devices(f.org, filter, None, 100).await.unwrap();
    found.into_iter().map(|listing| listing.device.id).collect()
}

pub async fn a_discovery_makes_a_device_and_claims_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b, rig) = (f.peer("a").await, f.peer("b").await, mac(1));
    let stored = f.see(&a.guard(), 1, std::slice::from_ref(&rig)).await;
    assert_eq!((stored.samples_accepted, stored.samples_rejected), (1, 0));
    let found = listing(&f, &rig).await;
    let device = &found.device;
    assert_eq!((device.endpoint.clone(), device.org_id), (rig.clone(), f.org));
    let described = (device.make.as_str(), device.model.as_str(), device.firmware.as_str());
    assert_eq!(described, ("WhatsMiner", "M30S+", "1.0"));
    assert_eq!(device.serial.as_deref(), Some("SN-1"));
    assert_eq!((device.mac, device.driver.as_str()), (Some([2, 0, 0, 0, 0, 1]), "asic-rs"));
    assert_eq!((device.paired_at, found.owner, found.owner_name), (None, None, None));
    assert_eq!((found.seen_by, found.latest), (vec![a.id()], None));
    f.see(&b.guard(), 1, std::slice::from_ref(&rig)).await;
    let mut both = vec![a.id(), b.id()];
    both.sort_unstable();
    assert_eq!(listing(&f, &rig).await.seen_by, both, "one device, two that saw it");
}

fn seen_with(f: &Fixture, endpoint: &Endpoint, firmware: &str, address: &str, seconds: u64) -> Event {
    let discovery = Discovery { firmware: firmware.to_owned(), ..f.discovery(endpoint.clone(), address) };
    Event { at: f.later(seconds), kind: EventKind::Discovered(discovery) }
}

pub async fn an_owned_device_is_described_by_its_owner(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b, rig) = (f.peer("a").await, f.peer("b").await, mac(1));
    let upload = async |peer: &Peer, sequence, event| {
        let mut upload = f.upload(sequence);
        upload.received_at = f.later(1000);
        f.store.store_events(&peer.guard(), upload, vec![event]).await.unwrap();
        listing(&f, &rig).await
    };
    upload(&a, 1, seen_with(&f, &rig, "1.0", "10.0.0.1:80", 1)).await;
    let found = upload(&b, 1, seen_with(&f, &rig, "2.0", "10.0.0.2:80", 2)).await;
    assert_eq!(found.device.firmware, "2.0", "nobody's device is described by anybody");
    assert_eq!(found.address.as_deref(), Some("10.0.0.2:80"), "where it was seen last");
    f.pair(a.id(), vec![found.device.id]).await;
    let found = upload(&b, 2, seen_with(&f, &rig, "3.0", "10.0.0.3:80", 3)).await;
    assert_eq!(found.device.firmware, "2.0", "another agent describes nothing");
    assert_eq!(found.address.as_deref(), Some("10.0.0.1:80"), "where its owner saw it");
    let found = upload(&a, 2, seen_with(&f, &rig, "4.0", "10.0.0.4:80", 4)).await;
    assert_eq!((found.device.firmware.as_str(), found.address.as_deref()), ("4.0", Some("10.0.0.4:80")));
    let found = upload(&a, 3, seen_with(&f, &rig, "4.0", "10.0.0.9:80", 2)).await;
    assert_eq!(found.address.as_deref(), Some("10.0.0.4:80"), "an older sighting replaces nothing");
}

pub async fn text_from_a_miner_is_made_storable(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let odd = Discovery {
        make: "Ant\0miner\n".to_owned(),
        model: "x".repeat(5000),
        ..f.discovery(rig.clone(), "10.0.0.1\0:80")
    };
    let event = Event { at: f.now, kind: EventKind::Discovered(odd) };
    f.store.store_events(&peer.guard(), f.upload(1), vec![event]).await.unwrap();
    let found = listing(&f, &rig).await;
    assert_eq!((found.device.make.as_str(), found.device.model.len()), ("Antminer", 255));
    assert_eq!(found.address.as_deref(), Some("10.0.0.1:80"));
}

pub async fn an_agent_reports_no_more_devices_than_it_may(on: &Databases) {
    let f = Fixture::new(on).await;
    let store = f.store.clone().with_devices_per_agent(3);
    let (a, b) = (f.peer("a").await, f.peer("b").await);
    let see = async |peer: &Peer, sequence, endpoints: &[u8]| {
        let events = endpoints.iter().map(|n| f.discovered(mac(*n), "10.0.0.1:80")).collect();
        let stored = store.store_events(&peer.guard(), f.upload(sequence), events).await.unwrap();
        (stored.samples_accepted, stored.samples_rejected, stored.devices_refused, stored.durable_sequence)
    };
    assert_eq!(see(&a, 1, &[1, 2]).await, (2, 0, 0, 1));
    // One more fits; what it has reported before goes on.
    assert_eq!(see(&a, 2, &[2, 3, 4, 5, 5]).await, (2, 3, 2, 2), "4 once and 5 twice are dropped");
    assert_eq!(see(&a, 3, &[1, 2, 3]).await, (3, 0, 0, 3), "none of them is new");
    assert_eq!(see(&a, 4, &[9]).await, (0, 1, 1, 4), "dealt with, so that it does not come again");
    assert_eq!(ids(&f, DeviceFilter::default()).await.len(), 3, "nothing is stored of the others");
    // Each agent has a bound of its own, for devices that others have seen as well.
    assert_eq!(see(&b, 1, &[1, 2, 3, 4]).await, (3, 1, 1, 1));
    assert_eq!(ids(&f, DeviceFilter::default()).await.len(), 3);
    assert_eq!(f.see(&b.guard(), 2, &[mac(4)]).await.samples_accepted, 1, "there is no bound by default");
}

pub async fn an_agent_owns_what_it_is_paired_to(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b) = (f.peer("a").await, f.peer("b").await);
    let (first, second, unseen) = (mac(1), mac(2), mac(3));
    f.see(&a.guard(), 1, &[first.clone(), second.clone()]).await;
    f.see(&b.guard(), 1, &[first.clone(), unseen.clone()]).await;
    let (one, two, three) = (f.id_of(&first).await, f.id_of(&second).await, f.id_of(&unseen).await);
    let ghost = DeviceId::new(999_999).unwrap();
    let paired = f.pair(a.id(), vec![ghost, three, one, one]).await;
    let skipped = vec![(three, SkipReason::NotSeen), (ghost, SkipReason::NotFound)];
    assert_eq!(paired, Paired { devices: vec![one], skipped });
    let found = listing(&f, &first).await;
    assert_eq!((found.owner, found.device.paired_at), (Some(a.id()), Some(f.now)));
    assert_eq!(found.owner_name.as_ref(), Some(&a.record.name));
    let again = f.pair(a.id(), vec![one]).await;
    assert_eq!(again, Paired { devices: vec![], skipped: vec![(one, SkipReason::AlreadyOwned)] });
    let all = f.store.pair(f.org, b.id(), Selection::All, Actor::System, f.now).await.unwrap();
    let skipped = vec![(one, SkipReason::OwnedByAnother)];
    assert_eq!(all, Paired { devices: vec![three], skipped }, "all is what it has seen");
    assert_eq!(f.store.agent(f.org, b.id()).await.unwrap().unwrap().devices, 1);

    let by = |agent, paired| DeviceFilter { agent, paired };
    assert_eq!(ids(&f, by(None, None)).await, vec![one, two, three]);
    assert_eq!(ids(&f, by(None, Some(true))).await, vec![one, three]);
    assert_eq!(ids(&f, by(None, Some(false))).await, vec![two]);
    assert_eq!(ids(&f, by(Some(a.id()), None)).await, vec![one, two]);
    assert_eq!(ids(&f, by(Some(b.id()), Some(true))).await, vec![one, three]);
    let elsewhere = OrgId::new(999).unwrap();
    assert_eq!(f.store.device(elsewhere, one).await.unwrap(), None);
    assert_eq!(f.store.devices(elsewhere, by(None, None), None, 9).await.unwrap(), vec![]);

    let unpaired = f.store.unpair(f.org, vec![two, one, ghost], Actor::System, f.now).await.unwrap();
    assert_eq!(unpaired, vec![one]);
    let found = listing(&f, &first).await;
    assert_eq!((found.owner, found.device.paired_at), (None, None));
    assert_eq!(f.pair(b.id(), vec![one]).await.devices, vec![one], "free for another");

    let log = f.store.activity(f.org, None, 100).await.unwrap();
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line.kind.starts_with("devices_"))
        .map(|line| (line.kind.as_str(), line.agent_id, line.device_id))
        .collect();
    let expected = vec![
        ("devices_paired", Some(b.id()), Some(one)),
        ("devices_unpaired", None, Some(one)),
        ("devices_paired", Some(b.id()), Some(three)),
        ("devices_paired", Some(a.id()), Some(one)),
    ];
    assert_eq!(lines, expected, "a line for each call that changed something");
}

pub async fn only_a_confirmed_agent_of_the_organization_is_paired_to(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    let pending = AgentRecord { status: AgentStatus::Pending, ..f.agent_record("p", AgentKind::Remote) };
    let pending = f.peer_of(pending).await;
    let pair = async |org, agent| f.store.pair(org, agent, Selection::All, Actor::System, f.now).await;
    assert!(matches!(pair(f.org, pending.id()).await, Err(PairError::NotConfirmed)));
    let nobody = AgentId::new(1).unwrap();
    assert!(matches!(pair(f.org, nobody).await, Err(PairError::NoAgent { agent_id }) if agent_id == nobody));
    let elsewhere = OrgId::new(999).unwrap();
    assert!(matches!(pair(elsewhere, peer.id()).await, Err(PairError::NoAgent { .. })));
    f.revoke(peer.id()).await;
    assert!(matches!(pair(f.org, peer.id()).await, Err(PairError::NotConfirmed)));
}

pub async fn the_local_half_owns_without_a_row(on: &Databases) {
    let f = Fixture::new(on).await;
    let (local, remote, rig) = (f.local().await, f.peer("a").await, mac(1));
    f.see(&local.in_process(), 1, std::slice::from_ref(&rig)).await;
    f.see(&remote.guard(), 1, std::slice::from_ref(&rig)).await;
    let id = f.id_of(&rig).await;
    assert_eq!(f.pair(local.id(), vec![id]).await.devices, vec![id]);
    let raw = f.empty.raw().await;
    assert_eq!(super::database::count(&raw, "agent_device").await, 0);
    raw.close().await.unwrap();
    assert_eq!(listing(&f, &rig).await.owner, Some(local.id()));
    assert_eq!(f.pair(remote.id(), vec![id]).await.skipped, vec![(id, SkipReason::OwnedByAnother)]);
    assert_eq!(f.pair(local.id(), vec![id]).await.skipped, vec![(id, SkipReason::AlreadyOwned)]);
    let mine = DeviceFilter { agent: Some(local.id()), paired: Some(true) };
    assert_eq!(ids(&f, mine).await, vec![id]);
    assert_eq!(f.store.agent(f.org, local.id()).await.unwrap().unwrap().devices, 1);
    f.revoke(local.id()).await;
    assert_eq!(listing(&f, &rig).await.device.paired_at, None, "revoking unpairs");
    assert_eq!(f.pair(remote.id(), vec![id]).await.devices, vec![id]);
    // A new local half takes another; writing the old one again must not take it away.
    let next = f.peer_of(f.agent_record("local-2", AgentKind::Local)).await;
    let other = mac(2);
    f.see(&next.in_process(), 1, std::slice::from_ref(&other)).await;
    f.pair(next.id(), vec![f.id_of(&other).await]).await;
    f.change(local.id(), |record| record.last_sequence = 3).await;
    assert_eq!(listing(&f, &other).await.owner, Some(next.id()));
    assert_eq!(listing(&f, &rig).await.owner, Some(remote.id()));
}

pub async fn revoking_an_agent_unpairs_its_devices(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b) = (f.peer("a").await, f.peer("b").await);
    let (of_a, of_b) = (mac(1), mac(2));
    f.owned(&a, 1, &of_a).await;
    f.owned(&b, 1, &of_b).await;
    let samples = vec![sample(&of_a, f.now)];
    f.store.store_telemetry(&a.guard(), f.upload(1), samples).await.unwrap();
    f.revoke(a.id()).await;
    let found = listing(&f, &of_a).await;
    assert_eq!((found.owner, found.device.paired_at), (None, None));
    assert!(found.latest.is_some(), "what it reported stays");
    assert_eq!(listing(&f, &of_b).await.owner, Some(b.id()), "others keep theirs");
    assert_eq!(f.store.agent(f.org, a.id()).await.unwrap().unwrap().devices, 0);
}

/// Of agents that are paired to one device at once, one gets it.
pub async fn a_device_has_one_owner(on: &Databases) {
    let f = Fixture::new(on).await;
    let rigs: Vec<Endpoint> = (1..=5).map(mac).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        let peer = f.peer(&format!("a{n}")).await;
        let mut seen = rigs.clone();
        seen.rotate_left(n % 5);
        f.see(&peer.guard(), 1, &seen).await;
        let (store, org, now) = (f.store.clone(), f.org, f.now);
        tasks.spawn(async move {
            store.pair(org, peer.id(), Selection::All, Actor::System, now).await.unwrap().devices
        });
    }
    let mut owned: Vec<DeviceId> = tasks.join_all().await.into_iter().flatten().collect();
    owned.sort_unstable();
    assert_eq!(owned, ids(&f, DeviceFilter::default()).await, "each once");
}

/// Discoveries, pairing, unpairing and uploads beside each other neither fail nor deadlock.
pub async fn flows_beside_each_other_all_end(on: &Databases) {
    let f = Fixture::new(on).await;
    let rigs: Vec<Endpoint> = (1..=12).map(mac).collect();
    f.see(&f.peer("first").await.guard(), 1, &rigs).await;
    let everything = ids(&f, DeviceFilter::default()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let peer = f.peer(&format!("a{n}")).await;
        let (store, guard, org, now) = (f.store.clone(), peer.guard(), f.org, f.now);
        let mut seen = rigs.clone();
        seen.rotate_left(n * 3);
        let events: Vec<Event> = seen.iter().map(|rig| f.discovered(rig.clone(), "10.0.0.1:80")).collect();
        let samples: Vec<_> = seen.iter().rev().map(|rig| sample(rig, now)).collect();
        let mut reversed = everything.clone();
        reversed.reverse();
        tasks.spawn(async move {
            for sequence in 1..8 {
                let upload = fleet_store::Upload { sequence, captured_at: now, received_at: now };
                store.store_events(&guard, upload, events.clone()).await.unwrap();
                store.pair(org, guard.agent_id, Selection::All, Actor::System, now).await.unwrap();
                store.store_telemetry(&guard, upload, samples.clone()).await.unwrap();
                store.unpair(org, reversed.clone(), Actor::System, now).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(ids(&f, DeviceFilter { agent: None, paired: Some(false) }).await, everything);
    f.store.close().await;
    let raw = f.empty.raw().await;
    super::database::assert_no_deadlock(on, &raw).await;
    raw.close().await.unwrap();
}
