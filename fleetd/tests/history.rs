//! Histories over the wire: what they are read from, their limits and refusals, and what is forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::sync::Arc;
use std::time::Duration;

use fleet_core::telemetry::{Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::testing::VirtualClock;
use fleet_core::time::{Clock as _, UnixMillis};
use fleet_proto::agentgateway::v1 as gateway;
use fleet_proto::convert::{encode_events, encode_samples, timestamp};
use fleet_proto::fleet::v1::{self as fleet, HistorySource};
use fleet_proto::rpc::Code;
use fleetd::config::{Mode, Retention};
use wire_support::{Bench, Online, Refused, config};

const RIG: &str = "mac:001122334455";
const OTHER_RIG: &str = "sn:RIG-B";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// An agent's device, paired.
async fn owned(bench: &Bench, agent: &Online, endpoint: &str) -> i64 {
    let discovery = Discovery {
        endpoint: endpoint.parse().unwrap(),
        address: "10.0.0.7:4028".to_owned(),
        make: "WhatsMiner".to_owned(),
        model: "M30S+".to_owned(),
        firmware: "2026".to_owned(),
        serial: None,
        mac: None,
        driver: "asic-rs".to_owned(),
    };
    let event = Event { at: bench.clock.now(), kind: EventKind::Discovered(discovery) };
    let request = gateway::UploadEventsRequest {
        payload: encode_events(&[event]),
        captured_at: Some(timestamp(bench.clock.now())),
        sequence: 1,
    };
    bench.gateway_as(&agent.token).upload_events(futures::stream::iter([request])).await.unwrap();
    let pair = fleet::PairDevicesRequest { agent_id: agent.agent_id, device_ids: Vec::new(), all: true };
    let paired = bench.devices().pair_devices(pair).await.unwrap();
    paired.paired_device_ids[0]
}

/// A server that has run for a while, its operator signed in.
async fn after(time: Duration) -> Bench {
    let mut bench = Bench::start(Mode::Server).await;
    bench.advance(time);
    bench.token = bench.login().await.unwrap();
    bench
}

fn mining(endpoint: &str, taken_at: UnixMillis, hashrate: f64) -> Sample {
    let mut sample = Sample::status_only(endpoint.parse().unwrap(), taken_at, MinerStatus::Mining);
    sample.hashrate_hs = Some(hashrate);
    sample.power_w = Some(3000.0);
    sample.uptime_s = Some(50);
    sample
}

async fn upload(bench: &Bench, agent: &Online, sequence: i64, samples: &[Sample]) {
    let messages: Vec<_> = samples
        .chunks(1000)
        .zip(sequence..)
        .map(|(samples, sequence)| gateway::UploadTelemetryRequest {
            payload: encode_samples(samples),
            captured_at: Some(timestamp(bench.clock.now())),
            sequence,
        })
        .collect();
    let sent = i64::try_from(messages.len()).unwrap();
    let answer =
        bench.gateway_as(&agent.token).upload_telemetry(futures::stream::iter(messages)).await.unwrap();
    assert_eq!((answer.accepted_count, answer.rejected_count), (sent, 0));
}

fn ago(bench: &Bench, ago: Duration) -> UnixMillis {
    bench.clock.now().saturating_sub(ago)
}

fn device(bench: &Bench, device_id: i64, since: Duration, step: i64) -> fleet::DeviceHistoryRequest {
    fleet::DeviceHistoryRequest {
        device_id,
        since: Some(timestamp(ago(bench, since))),
        step: seconds(step),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_right_source_answers() {
    let bench = after(30 * DAY).await;
    let agent = bench.online("a").await;
    let other = owned(&bench, &agent, OTHER_RIG).await;
    // One a minute for an hour, and one from eight days ago that comes late.
    let mut samples: Vec<_> = (1..=60)
        .map(|minute| mining(OTHER_RIG, ago(&bench, minute * Duration::from_secs(60)), 100.0))
        .collect();
    samples.push(mining(OTHER_RIG, ago(&bench, 8 * DAY), 60.0));
    upload(&bench, &agent, 1, &samples).await;
    let readings = bench.readings();

    let fine = readings.device_history(device(&bench, other, HOUR, 60)).await.unwrap();
    assert_eq!((fine.source(), fine.step), (HistorySource::Readings, seconds(60)));
    assert_eq!(fine.points.len(), 60);
    assert!(fine.points.iter().all(|point| point.samples == 1 && point.duration == seconds(60)), "{fine:?}");

    let coarse = readings.device_history(device(&bench, other, HOUR, 3600)).await.unwrap();
    assert_eq!((coarse.source(), coarse.step), (HistorySource::RollUps, seconds(3600)));
    assert_eq!(coarse.points.iter().map(|point| point.samples).sum::<i64>(), 60);
    let point = &coarse.points[0];
    let hashrate = point.hashrate_hs.as_ref().unwrap();
    assert_eq!((hashrate.average, hashrate.min, hashrate.max), (100.0, 100.0, 100.0));
    assert_eq!((point.mining_share, point.unreachable_share, point.min_uptime_s), (1.0, 0.0, Some(50)));
    assert_eq!(point.temperature_c, None, "what was not reported is absent");

    // Beyond what readings are kept for, roll-ups answer, as finely as they can.
    let old = fleet::DeviceHistoryRequest {
        until: Some(timestamp(ago(&bench, 7 * DAY))),
        ..device(&bench, other, 8 * DAY, 60)
    };
    let old = readings.device_history(old).await.unwrap();
    assert_eq!((old.source(), old.step), (HistorySource::RollUps, seconds(300)));
    assert_eq!(old.points.len(), 1);
    assert_eq!(old.points[0].hashrate_hs.as_ref().unwrap().average, 60.0);

    // Nothing said: the last day.
    let plain = fleet::DeviceHistoryRequest { device_id: other, ..Default::default() };
    let plain = readings.device_history(plain).await.unwrap();
    assert_eq!((plain.source(), plain.step), (HistorySource::RollUps, seconds(300)));
    assert_eq!(plain.points.iter().map(|point| point.samples).sum::<i64>(), 60);
    let starts: Vec<_> = plain.points.iter().map(|point| point.start.unwrap().seconds).collect();
    assert!(starts.is_sorted() && starts.iter().all(|start| start % 300 == 0), "{starts:?}");
    let few = fleet::DeviceHistoryRequest { max_points: 24, device_id: other, ..Default::default() };
    let few = readings.device_history(few).await.unwrap();
    assert_eq!(few.step, seconds(7200), "the day begins and ends within an hour, so 24 hours are 25 steps");
}

#[tokio::test]
async fn the_fleet_is_the_sum_of_its_devices() {
    let bench = after(DAY).await;
    let (a, b) = (bench.online("a").await, bench.online("b").await);
    let rig = owned(&bench, &a, RIG).await;
    owned(&bench, &b, OTHER_RIG).await;
    bench.advance(HOUR / 2);
    // At rates that differ.
    let now = bench.clock.now();
    let start = UnixMillis::new(now.value() - now.value() % 300_000 - 300_000).unwrap();
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let often: Vec<_> = (0..60).map(|n| mining(RIG, at(n * 5), 100.0)).collect();
    let seldom = vec![
        mining(OTHER_RIG, at(10), 40.0),
        Sample::status_only(OTHER_RIG.parse().unwrap(), at(200), MinerStatus::Idle),
    ];
    upload(&bench, &a, 1, &often).await;
    upload(&bench, &b, 1, &seldom).await;
    let request = fleet::FleetHistoryRequest {
        since: Some(timestamp(start)),
        step: seconds(300),
        ..Default::default()
    };
    let fleet_history = async |request: &fleet::FleetHistoryRequest| {
        let answer = bench.readings().fleet_history(*request).await.unwrap();
        assert_eq!((answer.source(), answer.step), (HistorySource::RollUps, seconds(300)));
        answer.points
    };
    let all = fleet_history(&request).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].hashrate_hs, all[0].power_w), (Some(140.0), Some(6000.0)));
    assert_eq!((all[0].devices_reporting, all[0].devices_mining), (2, 2));
    assert_eq!(all[0].start, Some(timestamp(start)));

    let of_a = fleet::FleetHistoryRequest { agent_id: a.agent_id, ..request };
    assert_eq!(fleet_history(&of_a).await[0].hashrate_hs, Some(100.0));
    let unpair = fleet::UnpairDevicesRequest { device_ids: vec![rig] };
    bench.devices().unpair_devices(unpair).await.unwrap();
    assert_eq!(fleet_history(&of_a).await, []);
    assert_eq!(fleet_history(&request).await, all, "what a device did stays when its owner goes");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_field_and_limit() {
    let bench = after(100 * DAY).await;
    let agent = bench.online("a").await;
    let rig = owned(&bench, &agent, RIG).await;
    let readings = bench.readings();
    let request = |since: Duration, step| device(&bench, rig, since, step);
    for (what, request, says) in [
        ("a day in steps of 5 s", request(DAY, 5), vec!["step", "17281 steps of 5 s", "at most 10000"]),
        ("90 days in steps of 5 min", request(90 * DAY, 300), vec!["step", "of 300 s", "at most 10000"]),
        ("no time", request(Duration::ZERO, 300), vec!["since: must be before until"]),
        ("no step", request(HOUR, 0), vec!["step: must be 1 to 31622400 seconds"]),
        (
            "a step and points",
            fleet::DeviceHistoryRequest { max_points: 5, ..request(HOUR, 300) },
            vec!["max_points: give either it or step"],
        ),
        (
            "too many points",
            fleet::DeviceHistoryRequest { max_points: 10_001, step: None, ..request(HOUR, 300) },
            vec!["max_points", "10000", "10001"],
        ),
        ("no device", fleet::DeviceHistoryRequest { device_id: 0, ..request(HOUR, 300) }, vec!["device_id"]),
    ] {
        bench.refused(what, &Refused::invalid(&says), readings.device_history(request)).await;
    }
    let unknown = fleet::DeviceHistoryRequest { device_id: rig + 1, ..request(HOUR, 300) };
    let expected = Refused::with(Code::NotFound, &["no such device"]);
    bench.refused("another's device", &expected, readings.device_history(unknown)).await;

    let request = |since: Duration| fleet::FleetHistoryRequest {
        since: Some(timestamp(ago(&bench, since))),
        ..Default::default()
    };
    readings.fleet_history(request(31 * DAY)).await.unwrap();
    for (what, request, says) in [
        (
            "more than 31 days",
            request(31 * DAY + Duration::from_secs(1)),
            "until: must be at most 31 days after since",
        ),
        ("no time", request(Duration::ZERO), "since: must be before until"),
    ] {
        bench.refused(what, &Refused::invalid(&[says]), readings.fleet_history(request)).await;
    }
    let unknown = fleet::FleetHistoryRequest { agent_id: agent.agent_id + 1, ..request(HOUR) };
    let expected = Refused::with(Code::NotFound, &["no such agent"]);
    bench.refused("another's agent", &expected, readings.fleet_history(unknown)).await;
    let token = "A".repeat(43);
    let nobody = fleet::FleetHistoryRequest::default();
    let client = fleet::TelemetryServiceClient::new(bench.channel.with_bearer(&token));
    bench.refused("nobody", &Refused::unauthenticated(), client.fleet_history(nobody)).await;
}

#[tokio::test]
async fn a_server_forgets_what_is_older_than_it_is_told_to_keep() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("a").await;
    owned(&bench, &agent, RIG).await;
    bench.advance(HOUR / 2);
    // More than two batches, over a quarter of an hour.
    let samples: Vec<_> =
        (0..2500).map(|n| mining(RIG, ago(&bench, Duration::from_millis(300 * (2500 - n))), 5.0)).collect();
    upload(&bench, &agent, 1, &samples).await;
    let dump = bench.dump().await;
    assert_eq!(dump.rows("telemetry").len(), 2500);
    let roll_ups = dump.rows("telemetry_rollup").len();
    assert!((3..=4).contains(&roll_ups), "{roll_ups}");
    let now = bench.clock.now();
    let Bench { server, directory, .. } = bench;
    assert!(server.stop().await);

    // Started again two hours later, with an hour of readings to keep; and two days later.
    for (later, roll_ups) in [(2 * HOUR, roll_ups), (2 * DAY, 0)] {
        let clock = Arc::new(VirtualClock::default());
        clock.advance(now.since(clock.now()) + later);
        let copy = tempfile::tempdir().unwrap();
        copy_dir(directory.path(), copy.path());
        let mut config = config(copy.path(), Mode::Server);
        config.retention = Retention { readings: HOUR, history: DAY };
        let bench = Bench::with_clock(config, copy, clock).await;
        bench
            .until("readings are forgotten, and roll-ups when it is their time", |dump| {
                dump.rows("telemetry").is_empty() && dump.rows("telemetry_rollup").len() == roll_ups
            })
            .await;
        assert_eq!(bench.dump().await.rows("telemetry_latest").len(), 1, "the newest stays");
        assert!(!bench.dump().await.rows("activity").is_empty(), "the activity log is not deleted");
        assert!(bench.server.stop().await);
    }
}

/// A copy of a directory, with the modes of what is in it.
fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            std::fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
