//! Histories from roll-ups and from samples, and forgetting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_core::endpoint::Endpoint;
use fleet_core::id::{DeviceId, OrgId};
use fleet_core::store::{Actor, AgentStatus};
use fleet_core::telemetry::{Event, EventKind, MinerStatus, Sample};
use fleet_core::time::UnixMillis;
use fleet_store::{
    DevicePoint, FleetPoint, HistorySource, ROLL_UP, Spread, Steps, Store, Upload, UploadOutcome,
};
use sea_orm::ConnectionTrait as _;

use super::database::count;
use crate::support::Databases;
use crate::support::fixture::{Fixture, Peer, at, mac};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// A multiple of a day after the epoch.
const DAY_ONE: i64 = 20_000 * 24 * HOUR;

/// What was stored, for the aggregation by hand.
#[derive(Debug, Clone)]
struct Held {
    device: DeviceId,
    sample: Sample,
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Samples by the start of the step and of the part of it that they are in.
fn by_step(held: &[Held], steps: &Steps) -> BTreeMap<i64, BTreeMap<(i64, DeviceId), Vec<Sample>>> {
    let step = i64::try_from(steps.step().as_millis()).unwrap();
    let part = if steps.source() == HistorySource::RollUps { 5 * MINUTE } else { step };
    let (first, end) = (steps.start().value(), steps.start().value() + step * i64::from(steps.count()));
    let mut found = BTreeMap::<_, BTreeMap<_, Vec<_>>>::new();
    for Held { device, sample } in held {
        let taken = sample.taken_at.value();
        if (first..end).contains(&taken) {
            let parts = found.entry(taken / step * step).or_default();
            parts.entry((taken / part * part, *device)).or_default().push(sample.clone());
        }
    }
    found
}

fn assert_spread(
    found: Option<Spread>,
    parts: &[&Vec<Sample>],
    value: impl Fn(&Sample) -> Option<f64>,
    what: &str,
) {
    let average = mean(parts.iter().filter_map(|part| mean(part.iter().filter_map(&value))));
    let all: Vec<f64> = parts.iter().flat_map(|part| part.iter().filter_map(&value)).collect();
    let Some(found) = found else { return assert_eq!(average, None, "{what}") };
    assert!(close(found.average, average.unwrap()), "{what}: {found:?}, not {average:?}");
    assert_eq!(found.min, all.iter().copied().fold(f64::INFINITY, f64::min), "{what}");
    assert_eq!(found.max, all.iter().copied().fold(f64::NEG_INFINITY, f64::max), "{what}");
}

/// The history of each device is that of its samples.
fn assert_device(found: &[DevicePoint], held: &[Held], steps: &Steps, what: &str) {
    let expected = by_step(held, steps);
    let starts: Vec<i64> = found.iter().map(|point| point.start.value()).collect();
    assert_eq!(starts, expected.keys().copied().collect::<Vec<_>>(), "{what}: steps");
    for (point, (start, parts)) in found.iter().zip(&expected) {
        let what = &format!("{what}, step {start}");
        let parts: Vec<&Vec<Sample>> = parts.values().collect();
        let samples: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(point.samples, i64::try_from(samples).unwrap(), "{what}");
        let share = |status| {
            let of = |part: &&Vec<Sample>| {
                part.iter().filter(|s| s.status == status).count() as f64 / part.len() as f64
            };
            mean(parts.iter().map(of)).unwrap()
        };
        assert!(close(point.mining, share(MinerStatus::Mining)), "{what}: {point:?}");
        assert!(close(point.unreachable, share(MinerStatus::Unreachable)), "{what}: {point:?}");
        assert_spread(point.hashrate_hs, &parts, |s| s.hashrate_hs, what);
        assert_spread(point.power_w, &parts, |s| s.power_w, what);
        assert_spread(point.temperature_c, &parts, |s| s.temperature_c, what);
        assert_eq!(
            point.uptime_min_s,
            parts.iter().flat_map(|p| p.iter()).filter_map(|s| s.uptime_s).min(),
            "{what}"
        );
    }
}

fn assert_fleet(found: &[FleetPoint], held: &[Held], steps: &Steps, what: &str) {
    let expected = by_step(held, steps);
    let starts: Vec<i64> = found.iter().map(|point| point.start.value()).collect();
    assert_eq!(starts, expected.keys().copied().collect::<Vec<_>>(), "{what}: steps");
    for (point, (start, parts)) in found.iter().zip(&expected) {
        let what = &format!("{what}, step {start}");
        let times = parts.keys().map(|(time, _)| *time).collect::<BTreeSet<_>>().len() as f64;
        let sum = |value: &dyn Fn(&Sample) -> Option<f64>| {
            let means: Vec<f64> = parts.values().filter_map(|p| mean(p.iter().filter_map(value))).collect();
            (!means.is_empty()).then(|| means.iter().sum::<f64>() / times)
        };
        for (found, expected) in
            [(point.hashrate_hs, sum(&|s| s.hashrate_hs)), (point.power_w, sum(&|s| s.power_w))]
        {
            match (found, expected) {
                (Some(found), Some(expected)) => {
                    assert!(close(found, expected), "{what}: {found} {expected}")
                }
                other => assert_eq!(other, (None, None), "{what}"),
            }
        }
        let devices = |of: &dyn Fn(&Vec<Sample>) -> bool| {
            let devices = parts.iter().filter(|(_, part)| of(part)).map(|((_, device), _)| *device);
            i64::try_from(devices.collect::<BTreeSet<_>>().len()).unwrap()
        };
        assert_eq!(point.reporting, devices(&|_| true), "{what}");
        assert_eq!(point.mining, devices(&|p| p.iter().any(|s| s.status == MinerStatus::Mining)), "{what}");
    }
}

/// A small generator, so that a failing case is its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn maybe(&mut self, value: f64) -> Option<f64> {
        (self.roll(5) > 0).then_some(value)
    }

    fn sample(&mut self, endpoint: &Endpoint, taken_at: i64) -> Sample {
        let status = match self.roll(10) {
            0 => MinerStatus::Unreachable,
            1 => MinerStatus::Idle,
            2 => MinerStatus::Fault,
            _ => MinerStatus::Mining,
        };
        let bare = Sample::status_only(endpoint.clone(), at(taken_at), status);
        if status == MinerStatus::Unreachable {
            return bare;
        }
        let (hashrate, power, temperature) = (self.roll(200), self.roll(4000), self.roll(120));
        Sample {
            hashrate_hs: self.maybe(hashrate as f64 * 1e12),
            power_w: self.maybe(power as f64),
            temperature_c: self.maybe(temperature as f64 - 30.5),
            uptime_s: (self.roll(3) > 0).then(|| self.roll(100_000)),
            ..bare
        }
    }
}

struct Site {
    f: Fixture,
    peers: [Peer; 2],
    /// Devices of the first peer, and of the second.
    rigs: Vec<(Endpoint, DeviceId, usize)>,
    held: Vec<Held>,
    sequence: i64,
}

impl Site {
    async fn new(on: &Databases) -> Self {
        let f = Fixture::new(on).await;
        let peers = [f.peer("a").await, f.peer("b").await];
        let mut rigs = Vec::new();
        for (number, owner) in [0, 0, 0, 1].into_iter().enumerate() {
            let endpoint = mac(u8::try_from(number).unwrap() + 1);
            let id = f.owned(&peers[owner], i64::try_from(number).unwrap() + 1, &endpoint).await;
            rigs.push((endpoint, id, owner));
        }
        Self { f, peers, rigs, held: Vec::new(), sequence: 0 }
    }

    async fn upload(&mut self, owner: usize, samples: Vec<Sample>) {
        self.sequence += 1;
        let upload = Upload {
            sequence: self.sequence,
            captured_at: at(DAY_ONE),
            received_at: at(DAY_ONE + 100 * 24 * HOUR),
        };
        let guard = self.peers[owner].guard();
        let stored = self.f.store.store_telemetry(&guard, upload, samples.clone()).await.unwrap();
        assert_eq!(stored.samples_accepted, i64::try_from(samples.len()).unwrap());
        // The agent did not hear of it, and sends it again: nothing counts twice.
        if self.sequence % 3 == 0 {
            let again = self.f.store.store_telemetry(&guard, upload, samples.clone()).await.unwrap();
            assert_eq!(again.outcome, UploadOutcome::Duplicate);
        }
        for sample in samples {
            let (_, device, _) =
                *self.rigs.iter().find(|(endpoint, ..)| *endpoint == sample.endpoint).unwrap();
            self.held.push(Held { device, sample });
        }
    }

    /// Both histories, from either source, in steps of every kind.
    async fn assert_histories(&self, what: &str) {
        let (since, until) = (at(DAY_ONE - HOUR), at(DAY_ONE + 9 * HOUR + 7 * MINUTE));
        let store = &self.f.store;
        let mut all = Vec::new();
        for step in [5, 10, 35, 60, 24 * 60] {
            all.push(Steps::of_roll_ups(since, until, Duration::from_secs(step * 60)).unwrap());
        }
        for step in [17, 60, 300] {
            all.push(Steps::of_readings(since, until, Duration::from_secs(step)).unwrap());
        }
        // A range that begins and ends within.
        let (since, until) = (at(DAY_ONE + 2 * HOUR), at(DAY_ONE + 3 * HOUR));
        all.push(Steps::of_roll_ups(since, until, ROLL_UP).unwrap());
        all.push(Steps::of_readings(since, until, Duration::from_secs(30)).unwrap());
        for steps in all {
            let what = format!("{what}, {steps:?}");
            for (_, device, _) in &self.rigs {
                let of: Vec<_> = self.held.iter().filter(|held| held.device == *device).cloned().collect();
                let found = store.device_history(self.f.org, *device, steps).await.unwrap();
                assert_device(&found, &of, &steps, &what);
            }
            let found = store.fleet_history(self.f.org, None, steps).await.unwrap();
            assert_fleet(&found, &self.held, &steps, &what);
            for (owner, peer) in self.peers.iter().enumerate() {
                let own: Vec<_> = self.rigs.iter().filter(|rig| rig.2 == owner).map(|rig| rig.1).collect();
                let of: Vec<_> =
                    self.held.iter().filter(|held| own.contains(&held.device)).cloned().collect();
                let found = store.fleet_history(self.f.org, Some(peer.id()), steps).await.unwrap();
                assert_fleet(&found, &of, &steps, &format!("{what}, of one agent"));
            }
        }
    }
}

pub async fn histories_are_those_of_the_samples(on: &Databases) {
    for seed in 1..=4 {
        let mut site = Site::new(on).await;
        let mut dice = Dice(seed);
        let mut backlog = Vec::new();
        for hour in 0..8 {
            for minute in [0, 7, 20, 33, 46] {
                let owner = usize::from(dice.roll(3) == 0);
                let mut samples = Vec::new();
                for (endpoint, _, of) in site.rigs.clone() {
                    // Each reports at a rate of its own, and at times not at all.
                    let (gap, every) = (dice.roll(4) == 0, 5_000 + dice.roll(90_000));
                    if of != owner || gap {
                        continue;
                    }
                    let start =
                        DAY_ONE + hour * HOUR + minute * MINUTE + i64::try_from(dice.roll(60_000)).unwrap();
                    for n in 0..i64::try_from(dice.roll(12)).unwrap() {
                        let taken_at = start + n * i64::try_from(every).unwrap();
                        samples.push(dice.sample(&endpoint, taken_at));
                    }
                }
                if dice.roll(4) == 0 {
                    backlog.push((owner, samples));
                } else {
                    site.upload(owner, samples).await;
                }
            }
        }
        site.assert_histories(&format!("seed {seed}, before the backlog")).await;
        // What came late adds to the five minutes that it is of.
        while let Some((owner, samples)) = backlog.pop() {
            site.upload(owner, samples).await;
        }
        assert!(site.held.len() > 200, "seed {seed}: {}", site.held.len());
        site.assert_histories(&format!("seed {seed}")).await;
    }
}

fn mining(endpoint: &Endpoint, taken_at: i64, hashrate: f64) -> Sample {
    Sample {
        hashrate_hs: Some(hashrate),
        power_w: Some(1000.0),
        ..Sample::status_only(endpoint.clone(), at(taken_at), MinerStatus::Mining)
    }
}

/// What the property says, in numbers that anybody can check.
pub async fn the_fleets_sum_does_not_depend_on_how_often_miners_report(on: &Databases) {
    let mut site = Site::new(on).await;
    let (fast, slow) = (site.rigs[0].0.clone(), site.rigs[1].0.clone());
    // In the first half of an hour one reports sixty times as often as the other; then the other is silent.
    let often = (0..1800).filter(|s| s % 5 == 0).map(|s| mining(&fast, DAY_ONE + s * 1000, 100.0));
    let mut samples: Vec<_> = often.collect();
    samples.extend((0..6).map(|n| mining(&slow, DAY_ONE + n * 5 * MINUTE, 40.0)));
    samples.extend((6..12).map(|n| mining(&fast, DAY_ONE + n * 5 * MINUTE, 200.0)));
    for some in samples.chunks(200) {
        site.upload(0, some.to_vec()).await;
    }
    let hour = Steps::of_roll_ups(at(DAY_ONE), at(DAY_ONE + HOUR), Duration::from_secs(3600)).unwrap();
    let fleet = site.f.store.fleet_history(site.f.org, None, hour).await.unwrap();
    // The first half 140, the second 200.
    assert_eq!(fleet.len(), 1);
    assert_eq!((fleet[0].hashrate_hs, fleet[0].power_w), (Some(170.0), Some(1500.0)));
    assert_eq!((fleet[0].reporting, fleet[0].mining), (2, 2));
    let device = site.f.store.device_history(site.f.org, site.rigs[0].1, hour).await.unwrap();
    let hashrate = device[0].hashrate_hs.unwrap();
    assert_eq!((hashrate.average, hashrate.min, hashrate.max), (150.0, 100.0, 200.0), "360 samples and 6");
    assert_eq!(device[0].samples, 366);
}

pub async fn a_history_is_the_organizations_and_outlives_the_owner(on: &Databases) {
    let mut site = Site::new(on).await;
    let (rig, device, _) = site.rigs[0].clone();
    site.upload(0, vec![mining(&rig, DAY_ONE, 5.0)]).await;
    let store = site.f.store.clone();
    let steps = Steps::of_roll_ups(at(DAY_ONE), at(DAY_ONE + HOUR), ROLL_UP).unwrap();
    let before = store.device_history(site.f.org, device, steps).await.unwrap();
    assert_eq!(before.len(), 1);
    let readings = Steps::of_readings(at(DAY_ONE), at(DAY_ONE + HOUR), Duration::from_secs(60)).unwrap();
    for steps in [steps, readings] {
        let elsewhere = OrgId::new(999).unwrap();
        assert_eq!(store.device_history(elsewhere, device, steps).await.unwrap(), vec![]);
        assert_eq!(store.fleet_history(elsewhere, None, steps).await.unwrap(), vec![]);
        let owner = Some(site.peers[0].id());
        assert_eq!(store.fleet_history(elsewhere, owner, steps).await.unwrap(), vec![]);
        assert_eq!(store.fleet_history(site.f.org, owner, steps).await.unwrap().len(), 1);
    }

    store.unpair(site.f.org, vec![device], Actor::System, site.f.now).await.unwrap();
    assert_eq!(store.device_history(site.f.org, device, steps).await.unwrap(), before);
    assert_eq!(
        store.fleet_history(site.f.org, None, steps).await.unwrap().len(),
        1,
        "what was mined was mined"
    );
    let agent = store.fleet_history(site.f.org, Some(site.peers[0].id()), steps).await.unwrap();
    assert_eq!(agent, vec![], "it is not the agent's any more");

    // The next owner goes on with it; the local half owns what is paired without a row.
    let local = site.f.local().await;
    site.f.see(&local.guard(), 1, std::slice::from_ref(&rig)).await;
    site.f.pair(local.id(), vec![device]).await;
    let locals = store.fleet_history(site.f.org, Some(local.id()), steps).await.unwrap();
    assert_eq!(locals.len(), 1);
    site.f.change(local.id(), |record| record.status = AgentStatus::Revoked).await;
    assert_eq!(store.fleet_history(site.f.org, Some(local.id()), steps).await.unwrap(), vec![]);
}

/// Opens the database as one that the release before has left.
async fn upgraded(site: &Site) -> Store {
    site.f.store.close().await;
    let raw = site.f.empty.raw().await;
    for statement in [
        "DROP TABLE telemetry_rollup",
        "DROP INDEX event_time",
        "DELETE FROM seaql_migrations WHERE version = 'm0003_history'",
    ] {
        raw.execute_unprepared(statement).await.unwrap();
    }
    raw.close().await.unwrap();
    Store::open(&site.f.empty.url).await.unwrap()
}

pub async fn readings_from_before_are_rolled_up_by_the_upgrade(on: &Databases) {
    let mut site = Site::new(on).await;
    let mut dice = Dice(7);
    for n in 0..6 {
        for owner in [0, 1] {
            let rigs: Vec<_> =
                site.rigs.iter().filter(|rig| rig.2 == owner).map(|rig| rig.0.clone()).collect();
            let samples =
                (0..40).map(|k| dice.sample(&rigs[k % rigs.len()], DAY_ONE + n * HOUR + k as i64 * 20_000));
            let samples = samples.collect();
            site.upload(owner, samples).await;
        }
    }
    site.f.store = upgraded(&site).await;
    let raw = site.f.empty.raw().await;
    assert!(count(&raw, "telemetry_rollup").await > 20);
    raw.close().await.unwrap();
    site.assert_histories("after the upgrade").await;
    // And they grow on.
    let rig = site.rigs[0].0.clone();
    site.upload(0, (0..9).map(|n| dice.sample(&rig, DAY_ONE + n * 40_000)).collect()).await;
    site.assert_histories("after the upgrade and an upload").await;
}

pub async fn roll_ups_outlive_readings_and_are_forgotten_in_batches(on: &Databases) {
    let mut site = Site::new(on).await;
    let (rig, device, _) = site.rigs[0].clone();
    site.upload(0, (0..10).map(|n| mining(&rig, DAY_ONE + n * 5 * MINUTE, 5.0)).collect()).await;
    let store = site.f.store.clone();
    let everything = Steps::of_roll_ups(at(DAY_ONE), at(DAY_ONE + HOUR), ROLL_UP).unwrap();
    let starts = async || {
        let points = store.device_history(site.f.org, device, everything).await.unwrap();
        points.iter().map(|point| (point.start.value() - DAY_ONE) / (5 * MINUTE)).collect::<Vec<_>>()
    };
    assert_eq!(store.prune_telemetry(at(i64::MAX), 1000).await.unwrap(), 10);
    assert_eq!(starts().await, (0..10).collect::<Vec<_>>(), "without a reading left");

    let third = DAY_ONE + 3 * 5 * MINUTE;
    assert_eq!(
        store.prune_roll_ups(at(third - 1), 1000).await.unwrap(),
        2,
        "not while it has any that is kept"
    );
    assert_eq!(store.prune_roll_ups(at(third), 1000).await.unwrap(), 1);
    assert_eq!(store.prune_roll_ups(at(i64::MAX), 4).await.unwrap(), 4, "at most the limit");
    assert_eq!(starts().await, [7, 8, 9], "the oldest first");

    // A backlog from before what is kept: it is stored, and the next sweep forgets it.
    site.sequence += 1;
    let upload =
        Upload { sequence: site.sequence, captured_at: at(DAY_ONE), received_at: at(DAY_ONE + HOUR) };
    let late = vec![mining(&rig, DAY_ONE, 5.0)];
    let stored = store.store_telemetry(&site.peers[0].guard(), upload, late).await.unwrap();
    assert_eq!(stored.samples_accepted, 1);
    assert_eq!(starts().await, [0, 7, 8, 9]);
    assert_eq!(store.prune_roll_ups(at(third), 1000).await.unwrap(), 1);
    assert_eq!(starts().await, [7, 8, 9]);
    assert_eq!(store.prune_roll_ups(at(i64::MAX), 3).await.unwrap(), 3);
    assert_eq!(store.prune_roll_ups(at(i64::MAX), 3).await.unwrap(), 0);
}

pub async fn events_are_forgotten_and_none_is_of_the_future(on: &Databases) {
    let site = Site::new(on).await;
    let (rig, device, _) = site.rigs[0].clone();
    let received_at = site.f.later(50);
    let changed = |happened: UnixMillis| Event {
        at: happened,
        kind: EventKind::StatusChanged { endpoint: rig.clone(), from: None, to: MinerStatus::Idle },
    };
    let upload = Upload { sequence: 9, captured_at: site.f.now, received_at };
    let events = [1, 2, 3, 1_000_000].map(|seconds| changed(site.f.later(seconds))).to_vec();
    site.f.store.store_events(&site.peers[0].guard(), upload, events).await.unwrap();
    let left = async || {
        let changes = site.f.store.status_changes(site.f.org, Some(device), None, 10).await.unwrap();
        changes.iter().map(|change| change.at).collect::<Vec<_>>()
    };
    let store = &site.f.store;
    assert_eq!(left().await, [received_at, site.f.later(3), site.f.later(2), site.f.later(1)]);
    assert_eq!(store.prune_events(site.f.later(3), 1).await.unwrap(), 1, "at most the limit");
    assert_eq!(left().await, [received_at, site.f.later(3), site.f.later(2)], "the oldest first");
    assert_eq!(store.prune_events(received_at, 100).await.unwrap(), 2);
    assert_eq!(left().await, [received_at]);
}

/// Uploads and sweeps, of several servers on PostgreSQL, do not stop each other.
pub async fn sweeps_beside_each_other_and_uploads_all_end(on: &Databases) {
    let mut site = Site::new(on).await;
    let rig = site.rigs[0].0.clone();
    for day in 0..4 {
        let samples = (0..100).map(|n| mining(&rig, DAY_ONE + day * 24 * HOUR + n * 5 * MINUTE, 5.0));
        site.upload(0, samples.collect()).await;
    }
    let cut = at(DAY_ONE + 2 * 24 * HOUR);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = site.f.store.clone();
        tasks.spawn(async move {
            let mut deleted = 0;
            for _ in 0..60 {
                deleted += store.prune_telemetry(cut, 10).await.unwrap();
                store.prune_roll_ups(cut, 10).await.unwrap();
            }
            deleted
        });
    }
    for n in 0..20 {
        let taken_at = DAY_ONE + 4 * 24 * HOUR + n * MINUTE;
        site.upload(0, vec![mining(&rig, taken_at, 5.0)]).await;
    }
    assert_eq!(tasks.join_all().await.iter().sum::<u64>(), 200, "each is deleted once");
    let raw = site.f.empty.raw().await;
    assert_eq!(count(&raw, "telemetry").await, 220);
    assert_eq!(count(&raw, "telemetry_rollup").await, 204);
    raw.close().await.unwrap();
}
