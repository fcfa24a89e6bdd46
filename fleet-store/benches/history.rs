//! What histories cost, beside SQL written by hand that reads the same rows.
//!
//!     cargo bench -p fleet-store --bench history
//!
//! The database is SQLite: 1,000 miners with 90 days of roll-ups, 25.9 million rows, and a day of one reading a
//! minute. It is made once, in minutes, in the order in which a server makes it, and kept under the target directory,
//! where it takes some 5 GB. `FLEET_BENCH_MINERS` and `FLEET_BENCH_DAYS` make another; the size is said first. Without
//! `--bench`, as under `cargo test --benches`, it is a small one and each measurement is made once.
//!
//! There are three floors. `floor` fetches the rows, as a program does that aggregates by itself; `floor-grouped` is a
//! statement that makes the same points and does nothing else; `floor-inside` has SQLite add up a column of the rows,
//! and so is the least that anything could take.
//!
//! With `FLEET_BENCH_ASSERT=1` a history that takes more than ten times `floor` is a failure, as is one that was not
//! measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::telemetry::{MinerStatus, Sample};
use fleet_core::time::UnixMillis;
use fleet_store::{Guard, ROLL_UP, Steps, Store, Upload};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, query};
use tokio::runtime::Runtime;

const ROLL_UP_MS: i64 = 300_000;
const DAY_MS: i64 = 86_400_000;
/// Where the data begins.
const BASE: i64 = 20_000 * DAY_MS;
const FLOOR: &str = "floor";
const GROUPED: &str = "floor-grouped";
const INSIDE: &str = "floor-inside";
const HISTORIES: [&str; 3] = ["device-90d", "fleet-24h", "fleet-24h-hourly"];
/// What a history may take, as a multiple of `floor`.
const MOST: f64 = 10.0;
const AGENT: i64 = 7;
const ORG: i64 = 4;

struct Size {
    miners: i64,
    days: i64,
}

impl Size {
    fn new(is_measured: bool) -> Self {
        let number = |name, default| {
            let given = std::env::var(name).ok();
            given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
        };
        let (miners, days) = if is_measured { (1000, 90) } else { (20, 2) };
        Self { miners: number("FLEET_BENCH_MINERS", miners), days: number("FLEET_BENCH_DAYS", days) }
    }

    fn roll_ups(&self) -> i64 {
        self.miners * self.days * (DAY_MS / ROLL_UP_MS)
    }

    fn end(&self) -> i64 {
        BASE + self.days * DAY_MS
    }
}

/// The median of what was measured, by name.
#[derive(Default)]
struct Taken(RefCell<BTreeMap<String, Vec<Duration>>>);

impl Taken {
    /// Measures a call.
    fn measure(&self, group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut call: impl FnMut()) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let begun = Instant::now();
                for _ in 0..times {
                    call();
                }
                let took = begun.elapsed();
                let each = took / u32::try_from(times).unwrap();
                self.0.borrow_mut().entry(name.to_owned()).or_default().push(each);
                took
            });
        });
    }

    fn median(&self, name: &str) -> Option<Duration> {
        let mut all = self.0.borrow().get(name)?.clone();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// What something takes as a multiple of one of its floors.
    fn ratio(&self, name: &str, floor: &str) -> Option<f64> {
        // The rows are the same whatever the step, the points are not.
        let base = if floor == GROUPED { name } else { name.trim_end_matches("-hourly") };
        let (took, least) = (self.median(name)?, self.median(&format!("{base}/{floor}"))?);
        Some(took.as_secs_f64() / least.as_secs_f64())
    }

    fn say(&self, names: &[&str]) {
        for name in names {
            let Some(took) = self.median(name) else { continue };
            print!("{name}: {:.2} ms", took.as_secs_f64() * 1e3);
            for floor in [FLOOR, GROUPED, INSIDE] {
                if let Some(ratio) = self.ratio(name, floor) {
                    print!(", {ratio:.2} times {floor}");
                }
            }
            println!();
        }
    }

    /// Whether each takes no more than it may.
    fn is_good(&self, names: &[&str]) -> bool {
        let bad = |name: &&&str| self.ratio(name, FLOOR).is_none_or(|ratio| ratio > MOST);
        let bad: Vec<_> = names.iter().filter(bad).collect();
        for name in &bad {
            match self.ratio(name, FLOOR) {
                Some(ratio) => {
                    println!("FAILED: {name} takes {ratio:.2} times {FLOOR}, at most {MOST} are good")
                }
                None => println!("FAILED: {name} was not measured"),
            }
        }
        bad.is_empty()
    }
}

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

/// An empty database with an organization, its local agent, and its miners.
async fn founded(path: &Path, miners: i64) {
    Store::open(&format!("sqlite://{}", path.display())).await.unwrap().close().await;
    let mut raw = raw(path).await;
    let organization = format!(
        "INSERT INTO organization (id, epoch, version, created_at, updated_at, number, name_key)
         VALUES ({ORG}, 1, 1, 1, 1, 1, 'bench')"
    );
    run(&mut raw, &organization).await;
    let agent = format!(
        "INSERT INTO agent (id, org_id, name, kind, status, identity_key, miner_signing_key, sealing_key,
            last_sequence, version, created_at, updated_at)
         VALUES ({AGENT}, {ORG}, 'local', 'local', 'confirmed', x'01', x'02', x'03', 0, 1, 1, 1)"
    );
    run(&mut raw, &agent).await;
    let devices = format!(
        "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {miners})
         INSERT INTO device (id, org_id, endpoint, make, model, firmware, driver, paired_at, created_at, updated_at)
         SELECT n, {ORG}, 'sn:rig-' || n, 'WhatsMiner', 'M30S+', '1.0', 'asic-rs', 1, 1, 1 FROM n"
    );
    run(&mut raw, &devices).await;
    raw.close().await.unwrap();
}

/// Makes the database, as a server does it: by time, all miners at each.
async fn filled(path: &Path, size: &Size) {
    founded(path, size.miners).await;
    let mut raw = raw(path).await;
    for pragma in ["journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000", "foreign_keys = OFF"] {
        run(&mut raw, &format!("PRAGMA {pragma}")).await;
    }
    run(&mut raw, "BEGIN").await;
    for day in 0..size.days {
        let (first, end) = (BASE + day * DAY_MS, BASE + (day + 1) * DAY_MS);
        let sql = format!(
            "WITH RECURSIVE t(t) AS (VALUES ({first}) UNION ALL SELECT t + {ROLL_UP_MS} FROM t WHERE t + {ROLL_UP_MS} < {end}),
                r AS (SELECT d.id AS id, t.t AS t, (d.id * 7919 + t.t / {ROLL_UP_MS} * 104729) % 1000 AS x
                      FROM t CROSS JOIN device d)
             INSERT INTO telemetry_rollup
             SELECT id, t, 60, 60 - (x < 20), x < 5,
                60, 60 * (1.0e14 + x * 1.00003e10), 0.99e14 + x * 1.00007e10, 1.01e14 + x * 1.00011e10,
                60, 60 * (3300.3 + x / 7.0), 3290.1 + x / 7.0, 3310.7 + x / 7.0,
                60, 60 * (61.3 + x / 77.0), 60.1 + x / 77.0, 62.9 + x / 77.0,
                t / 1000 % 1000000, t + 5000, t + 299000
             FROM r"
        );
        run(&mut raw, &sql).await;
    }
    let (first, end) = (size.end() - DAY_MS, size.end());
    let readings = format!(
        "WITH RECURSIVE t(t) AS (VALUES ({first}) UNION ALL SELECT t + 60000 FROM t WHERE t + 60000 < {end})
         INSERT INTO telemetry (device_id, agent_id, taken_at, status, hashrate_hs, power_w, efficiency_j_per_th,
            temperature_c, fan_rpm, boards, uptime_s, created_at, updated_at)
         SELECT d.id, {AGENT}, t.t, 'mining', 1.0e14 + t.t % 999, 3300.3 + t.t % 77, 30.1, 61.5, '{FANS}', '{BOARDS}',
            t.t / 1000 % 1000000, t.t + 100, t.t + 200
         FROM t CROSS JOIN device d"
    );
    run(&mut raw, &readings).await;
    run(&mut raw, "COMMIT").await;
    raw.close().await.unwrap();
}

const FANS: &str = "[6000,5990,6010,5980]";
const BOARDS: &str = r#"[{"index":0,"hashrate_hs":35000000000000.0,"temperature_c":71.5,"working_chips":110},{"index":1,"hashrate_hs":35000000000000.0,"temperature_c":71.5,"working_chips":110},{"index":2,"hashrate_hs":35000000000000.0,"temperature_c":71.5,"working_chips":110}]"#;

/// The database of this size, which may be there from an earlier run.
async fn database(size: &Size) -> PathBuf {
    let name = format!("history-1-{}x{}.db", size.miners, size.days);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !path.exists() {
        let begun = Instant::now();
        let unfinished = path.with_extension("unfinished");
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut file = unfinished.clone().into_os_string();
            file.push(end);
            drop(std::fs::remove_file(file));
        }
        filled(&unfinished, size).await;
        std::fs::rename(&unfinished, &path).unwrap();
        println!("made in {} s", begun.elapsed().as_secs());
    }
    path
}

/// Fetches rows and looks at a value of each.
async fn fetch(raw: &mut SqliteConnection, sql: &str) -> f64 {
    let rows = query(AssertSqlSafe(sql.to_owned())).fetch_all(raw).await.unwrap();
    rows.iter().map(|row| row.get::<f64, _>("hashrate_sum")).sum()
}

/// As many points as there must be, each with its hashrate.
async fn points(raw: &mut SqliteConnection, sql: &str) -> Vec<f64> {
    let rows = query(AssertSqlSafe(sql.to_owned())).fetch_all(raw).await.unwrap();
    rows.iter().map(|row| row.get::<f64, _>("hashrate")).collect()
}

/// Whether two ways came to the same.
fn assert_same(theirs: &[f64], ours: impl ExactSizeIterator<Item = Option<f64>>) {
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.iter().zip(ours).all(|(a, b)| b.is_some_and(|b| (a - b).abs() <= a.abs() * 1e-9)));
}

fn histories(criterion: &mut Criterion, runtime: &Runtime, taken: &Taken, size: &Size) {
    let path = runtime.block_on(database(size));
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{} miners, {} days: {} roll-ups, {} readings, {} MB, on {} cores",
        size.miners,
        size.days,
        size.roll_ups(),
        size.miners * 1440,
        bytes / 1_000_000,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    let store = runtime.block_on(Store::open(&format!("sqlite://{}", path.display()))).unwrap();
    let mut raw = runtime.block_on(raw(&path));
    let (org, device) = (OrgId::new(ORG).unwrap(), DeviceId::new(size.miners / 2).unwrap());
    let columns =
        "start_at, samples, mining, unreachable, hashrate_count, hashrate_sum, hashrate_min, hashrate_max,
        power_count, power_sum, power_min, power_max, temperature_count, temperature_sum, temperature_min,
        temperature_max, uptime_min_s";
    let of_device =
        format!("FROM telemetry_rollup WHERE device_id = {} AND start_at >= {BASE}", device.value());
    let of_fleet = format!(
        "FROM device d CROSS JOIN telemetry_rollup r WHERE d.org_id = {ORG} AND r.device_id = d.id AND start_at >= {}",
        size.end() - DAY_MS
    );
    let mut group = criterion.benchmark_group("history");
    group.sample_size(10).measurement_time(Duration::from_secs(10));

    let hourly = Duration::from_secs(3600);
    let steps = Steps::of_roll_ups(at(BASE), at(size.end()), hourly).unwrap();
    taken.measure(&mut group, "device-90d", || {
        let points = runtime.block_on(store.device_history(org, device, steps)).unwrap();
        assert_eq!(points.len(), usize::try_from(size.days * 24).unwrap());
    });
    taken.measure(&mut group, "device-90d/floor", || {
        assert!(runtime.block_on(fetch(&mut raw, &format!("SELECT {columns} {of_device}"))) > 0.0);
    });
    let inside = |from: &str| format!("SELECT SUM(hashrate_sum) AS hashrate_sum {from}");
    taken.measure(&mut group, "device-90d/floor-inside", || {
        assert!(runtime.block_on(fetch(&mut raw, &inside(&of_device))) > 0.0);
    });

    let grouped = format!(
        "SELECT start_at / 3600000 AS step, SUM(samples), AVG(1.0 * mining / samples), AVG(1.0 * unreachable / samples),
            AVG(hashrate_sum / hashrate_count) AS hashrate, MIN(hashrate_min), MAX(hashrate_max),
            AVG(power_sum / power_count), MIN(power_min), MAX(power_max),
            AVG(temperature_sum / temperature_count), MIN(temperature_min), MAX(temperature_max), MIN(uptime_min_s)
         {of_device} GROUP BY 1 ORDER BY 1"
    );
    let ours = runtime.block_on(store.device_history(org, device, steps)).unwrap();
    let ours = ours.iter().map(|point| point.hashrate_hs.map(|spread| spread.average));
    assert_same(&runtime.block_on(points(&mut raw, &grouped)), ours);
    taken.measure(&mut group, "device-90d/floor-grouped", || {
        assert!(!runtime.block_on(points(&mut raw, &grouped)).is_empty());
    });

    for (name, step) in [("fleet-24h", ROLL_UP), ("fleet-24h-hourly", hourly)] {
        let steps = Steps::of_roll_ups(at(size.end() - DAY_MS), at(size.end()), step).unwrap();
        taken.measure(&mut group, name, || {
            let points = runtime.block_on(store.fleet_history(org, None, steps)).unwrap();
            assert_eq!(points.len(), usize::try_from(steps.count()).unwrap());
            assert!(points.iter().all(|point| point.reporting == size.miners));
        });
        let millis = step.as_millis();
        // Of five minutes each device has one row, so that nothing need be told apart.
        let counts = if step == ROLL_UP {
            "SUM(hashrate_sum / hashrate_count) AS hashrate, SUM(power_sum / power_count), COUNT(*), SUM(mining > 0)"
        } else {
            "SUM(hashrate_sum / hashrate_count) / COUNT(DISTINCT start_at) AS hashrate,
             SUM(power_sum / power_count) / COUNT(DISTINCT start_at), COUNT(DISTINCT device_id),
             COUNT(DISTINCT CASE WHEN mining > 0 THEN device_id END)"
        };
        let grouped =
            format!("SELECT start_at / {millis} AS step, {counts} {of_fleet} GROUP BY 1 ORDER BY 1");
        let ours = runtime.block_on(store.fleet_history(org, None, steps)).unwrap();
        assert_same(
            &runtime.block_on(points(&mut raw, &grouped)),
            ours.iter().map(|point| point.hashrate_hs),
        );
        taken.measure(&mut group, &format!("{name}/floor-grouped"), || {
            assert!(!runtime.block_on(points(&mut raw, &grouped)).is_empty());
        });
    }
    taken.measure(&mut group, "fleet-24h/floor", || {
        let sql = format!("SELECT device_id, start_at, mining, hashrate_count, hashrate_sum, power_count, power_sum {of_fleet}");
        assert!(runtime.block_on(fetch(&mut raw, &sql)) > 0.0);
    });
    taken.measure(&mut group, "fleet-24h/floor-inside", || {
        assert!(runtime.block_on(fetch(&mut raw, &inside(&of_fleet))) > 0.0);
    });
    group.finish();
    runtime.block_on(store.close());
    taken.say(&HISTORIES);
}

/// What it costs to store a message of a reading of each of 1,000 miners, and to forget 1,000 readings.
fn ingest(criterion: &mut Criterion, runtime: &Runtime, taken: &Taken) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("fleet.db");
    runtime.block_on(founded(&path, 1000));
    let store = runtime.block_on(Store::open(&format!("sqlite://{}", path.display()))).unwrap();
    let agent_id = AgentId::new(AGENT).unwrap();
    let mut sequence = 0;
    let mut upload = || {
        sequence += 1;
        let now = at(BASE + sequence * 5000);
        let sample = |n| Sample {
            hashrate_hs: Some(1.0e14),
            power_w: Some(3300.3),
            temperature_c: Some(61.5),
            fan_rpm: vec![6000, 5990, 6010, 5980],
            uptime_s: Some(86_400),
            ..Sample::status_only(format!("sn:rig-{n}").parse().unwrap(), now, MinerStatus::Mining)
        };
        let samples = (1..=1000).map(sample).collect();
        let guard = Guard { agent_id, session: None, now };
        let upload = Upload { sequence, captured_at: now, received_at: now };
        let stored = runtime.block_on(store.store_telemetry(&guard, upload, samples)).unwrap();
        assert_eq!(stored.samples_accepted, 1000);
    };
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    taken.measure(&mut group, "store-1000", &mut upload);
    taken.measure(&mut group, "store-and-forget-1000", || {
        upload();
        assert_eq!(runtime.block_on(store.prune_telemetry(at(i64::MAX), 1000)).unwrap(), 1000);
    });
    group.finish();
    runtime.block_on(store.close());
    taken.say(&["store-1000", "store-and-forget-1000"]);
}

fn main() -> ExitCode {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let taken = Taken::default();
    ingest(&mut criterion, &runtime, &taken);
    histories(&mut criterion, &runtime, &taken, &Size::new(is_measured));
    criterion.final_summary();
    let is_asserted = std::env::var("FLEET_BENCH_ASSERT").is_ok_and(|value| value == "1");
    if is_asserted && !taken.is_good(&HISTORIES) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
