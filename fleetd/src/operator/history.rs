//! Histories: of one device, and of all together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use fleet_core::time::UnixMillis;
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{
    DeviceHistoryRequest, DeviceHistoryResponse, FleetHistoryRequest, FleetHistoryResponse, HistorySource,
    Spread,
};
use prost_types::Timestamp;

use super::table::{self, Table};
use super::{Common, OperatorError, agents, devices, say, say_json, say_table};

/// Rows of a table, unless steps are asked for.
const ROWS: i32 = 48;

/// Which time, and how finely.
#[derive(Debug, Clone, Args)]
struct Range {
    /// How far back, for example 90m, 24h or 90d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    since: Duration,
    /// How long each step is, for example 30s, 5m or 1d; the server chooses if it is not given
    #[arg(long, value_name = "TIME", value_parser = time)]
    step: Option<Duration>,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = crate::duration::parse(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "must be a number and s, m, h or d, for example 30m, 12h or 7d".to_owned())
}

impl Range {
    /// By this host's clock; until now, by the server's.
    fn since(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        timestamp(UnixMillis::EPOCH.saturating_add(now).saturating_sub(self.since))
    }

    fn step(&self) -> Option<prost_types::Duration> {
        let seconds = |step: Duration| i64::try_from(step.as_secs()).unwrap_or(i64::MAX);
        self.step.map(|step| prost_types::Duration { seconds: seconds(step), nanos: 0 })
    }

    fn max_points(&self) -> i32 {
        if self.step.is_some() { 0 } else { ROWS }
    }
}

/// `fleetd devices history`.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    common: Common,
    /// The device, by endpoint (mac:..., sn:...) or id
    device: String,
    #[command(flatten)]
    range: Range,
}

impl DeviceArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let request = DeviceHistoryRequest {
            device_id: devices::device_id(&client, &self.device).await?,
            since: Some(self.range.since()),
            until: None,
            step: self.range.step(),
            max_points: self.range.max_points(),
        };
        let answer = client.telemetry().device_history(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        say_table(&device_table(&answer))?;
        say_steps(answer.step.as_ref(), answer.source())
    }
}

fn device_table(answer: &DeviceHistoryResponse) -> Table {
    let mut table =
        Table::new(&["FROM", "HASHRATE", "LEAST", "MOST", "POWER", "TEMP", "HOTTEST", "MINING", "READINGS"]);
    let of = |spread: Option<&Spread>, which: fn(&Spread) -> f64| spread.map(which);
    for point in &answer.points {
        let (hashrate, temperature) = (point.hashrate_hs.as_ref(), point.temperature_c.as_ref());
        table.row([
            moment(point.start.as_ref()),
            table::hashrate(of(hashrate, |s| s.average)),
            table::hashrate(of(hashrate, |s| s.min)),
            table::hashrate(of(hashrate, |s| s.max)),
            table::power(of(point.power_w.as_ref(), |s| s.average)),
            table::temperature(of(temperature, |s| s.average)),
            table::temperature(of(temperature, |s| s.max)),
            format!("{:.0} %", point.mining_share * 100.0),
            point.samples.to_string(),
        ]);
    }
    table
}

/// `fleetd history`.
#[derive(Debug, Clone, Args)]
pub struct FleetArgs {
    #[command(flatten)]
    common: Common,
    /// Only what this agent owns now
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    #[command(flatten)]
    range: Range,
}

impl FleetArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let agent_id = match &self.agent {
            Some(agent) => agents::find(&client, agent).await?.agent_id,
            None => 0,
        };
        let request = FleetHistoryRequest {
            since: Some(self.range.since()),
            until: None,
            step: self.range.step(),
            max_points: self.range.max_points(),
            agent_id,
        };
        let answer = client.telemetry().fleet_history(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        say_table(&fleet_table(&answer))?;
        say_steps(answer.step.as_ref(), answer.source())
    }
}

fn fleet_table(answer: &FleetHistoryResponse) -> Table {
    let mut table = Table::new(&["FROM", "HASHRATE", "POWER", "MINING", "REPORTING"]);
    for point in &answer.points {
        table.row([
            moment(point.start.as_ref()),
            table::hashrate(point.hashrate_hs),
            table::power(point.power_w),
            point.devices_mining.to_string(),
            point.devices_reporting.to_string(),
        ]);
    }
    table
}

fn moment(time: Option<&Timestamp>) -> String {
    time.map_or_else(table::dash, ToString::to_string)
}

/// What the rows are: an average says nothing without its time.
fn say_steps(step: Option<&prost_types::Duration>, source: HistorySource) -> Result<(), OperatorError> {
    let seconds = step.map_or(0, |step| u64::try_from(step.seconds).unwrap_or(0));
    let from = match source {
        HistorySource::Readings => "readings",
        HistorySource::RollUps => "roll-ups",
        HistorySource::Unspecified => "an unknown source",
    };
    say(format_args!("steps of {}, from {from}", table::duration(seconds)))
}

#[cfg(test)]
mod tests {
    use fleet_proto::fleet::v1::{DevicePoint, FleetPoint};

    use super::*;

    #[test]
    fn tables_show_averages_with_units_and_what_is_absent_as_a_dash() {
        let start = Some(Timestamp { seconds: 1_780_000_000, nanos: 0 });
        let spread = |average| Some(Spread { average, min: average / 2.0, max: average * 2.0 });
        let point = DevicePoint {
            start,
            samples: 60,
            mining_share: 0.987,
            hashrate_hs: spread(1e14),
            power_w: spread(3400.0),
            ..DevicePoint::default()
        };
        let lines =
            device_table(&DeviceHistoryResponse { points: vec![point], ..Default::default() }).lines();
        let cells: Vec<_> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            cells,
            [
                "2026-05-28T20:26:40Z",
                "100.0 TH/s",
                "50.0 TH/s",
                "200.0 TH/s",
                "3400 W",
                "–",
                "–",
                "99 %",
                "60"
            ]
        );
        let point = FleetPoint {
            start,
            hashrate_hs: Some(1.05e18),
            power_w: Some(3.4e6),
            devices_reporting: 1000,
            devices_mining: 998,
            ..FleetPoint::default()
        };
        let lines = fleet_table(&FleetHistoryResponse { points: vec![point], ..Default::default() }).lines();
        let cells: Vec<_> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["2026-05-28T20:26:40Z", "1.1 EH/s", "3.40 MW", "998", "1000"]);
    }

    #[test]
    fn a_time_has_a_unit_and_is_not_nothing() {
        assert_eq!(time("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(time("0s").is_err() && time("24").is_err());
    }
}
