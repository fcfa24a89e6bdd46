//! The report as Prometheus text.

use std::{collections::BTreeMap, fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::HealthReport;

/// OpenMetrics, which Prometheus reads.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// The metrics.
///
/// # Errors
/// None that a string could cause.
pub(super) fn text(report: &HealthReport) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("fleet_agent");
    connection(&mut registry, report);
    spools(&mut registry, report);
    miners(&mut registry, report);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn connection(registry: &mut Registry, report: &HealthReport) {
    registry.register(
        "session_online",
        "1 if the agent has a session, else 0",
        gauge(f64::from(u8::from(report.online))),
    );
    registry.register(
        "control_stream_open",
        "1 if the control stream is open, else 0",
        gauge(f64::from(u8::from(report.control_stream_open))),
    );
    if let Some(age) = report.last_heartbeat_age_s {
        registry.register(
            "heartbeat_age_seconds",
            "Time since the server last took a heartbeat",
            gauge(approximate(age)),
        );
    }
}

fn spools(registry: &mut Registry, report: &HealthReport) {
    let (waiting, delivered, lost) = (Gauges::default(), Counters::default(), Counters::default());
    for (kind, spool) in [("telemetry", &report.telemetry), ("events", &report.events)] {
        let labels = vec![("kind", kind.to_owned())];
        waiting.get_or_create(&labels).set(approximate(spool.waiting));
        delivered.get_or_create(&labels).inc_by(spool.delivered);
        for (reason, count) in [("full", spool.dropped), ("refused", spool.refused)] {
            let labels = vec![("kind", kind.to_owned()), ("reason", reason.to_owned())];
            lost.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("spool_items", "Items that wait to be uploaded", waiting);
    registry.register("spool_delivered_items", "Items that the server has", delivered);
    registry.register("spool_lost_items", "Items thrown away before the server had them", lost);
}

fn miners(registry: &mut Registry, report: &HealthReport) {
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    let (hashrate, power, temperature, age) =
        (Gauges::default(), Gauges::default(), Gauges::default(), Gauges::default());
    for miner in &report.miners {
        let count = by_status.entry(miner.status).or_default();
        *count = count.saturating_add(1);
        let labels = vec![("endpoint", escaped(&miner.endpoint))];
        let values = [
            (&hashrate, miner.hashrate_ths.map(|ths| ths * 1e12)),
            (&power, miner.power_w),
            (&temperature, miner.temperature_c),
            (&age, miner.reading_age_s.map(approximate)),
        ];
        for (family, value) in values {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
    }
    let statuses = Gauges::default();
    for (status, count) in by_status {
        statuses.get_or_create(&vec![("status", status.to_owned())]).set(approximate(count));
    }
    let locked = u64::try_from(report.locked.len()).unwrap_or(u64::MAX);
    registry.register("miners", "Miners that were found, by status", statuses);
    registry.register("locked_miners", "Miners that say nothing before a login", gauge(approximate(locked)));
    registry.register("miner_hashrate_hashes_per_second", "Hashrate of a miner that answers", hashrate);
    registry.register("miner_power_watts", "Power of a miner that answers", power);
    registry.register("miner_temperature_celsius", "Hottest sensor of a miner that answers", temperature);
    registry.register("miner_reading_age_seconds", "Age of a miner's last reading", age);
    let scans = Counter::<u64>::default();
    scans.inc_by(report.scans_completed);
    registry.register("scans", "Scans of the network that are complete", scans);
    registry.register(
        "scan_duration_seconds",
        "How long the last scan took",
        gauge(report.last_scan_duration_s),
    );
}

/// A label's value. The encoder writes it as it is, and a miner chooses its own serial number.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn gauge(value: f64) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

/// A count as a gauge's value; above 2^53 it is rounded.
#[allow(clippy::cast_precision_loss, reason = "a gauge is read by eye or averaged")]
fn approximate(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{super::html::tests::hostile, *};

    #[test]
    fn metrics_have_the_prefix_and_units_and_labels_are_escaped() {
        let mut report = hostile();
        report.miners.first_mut().unwrap().endpoint = "sn:a\"b\nc".to_owned();
        let text = text(&report).unwrap();
        for line in [
            "fleet_agent_session_online 0.0",
            "fleet_agent_heartbeat_age_seconds 300.0",
            "fleet_agent_spool_items{kind=\"telemetry\"} 3.0",
            "fleet_agent_spool_lost_items_total{kind=\"events\",reason=\"full\"} 1",
            "fleet_agent_miners{status=\"mining\"} 1.0",
            "fleet_agent_miner_hashrate_hashes_per_second{endpoint=\"sn:a\\\"b\\nc\"} 101250000000000.0",
            "fleet_agent_miner_power_watts{endpoint=\"sn:a\\\"b\\nc\"} 3250.4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("miner_temperature_celsius{"), "unknown is no zero");
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("fleet_agent_")));
    }
}
