//! Devices: listings, pairing, readings.

use clap::{Args, Subcommand};
use fleet_proto::fleet::v1::{
    Device, ListDevicesRequest, ListDevicesResponse, ListReadingsRequest, MinerStatus, PairDevicesRequest,
    Sample, UnpairDevicesRequest,
};

use super::client::Client;
use super::table::{self, Table};
use super::{Common, OperatorError, age, agents, history, is_news, say, say_json, say_table, word};

/// `fleetd devices`.
#[derive(Debug, Clone, Subcommand)]
pub enum DevicesCommand {
    /// List devices and their newest readings
    List(ListArgs),
    /// Give devices to an agent that has seen them
    Pair(PairArgs),
    /// Take devices from their owner
    Unpair(UnpairArgs),
    /// Show what a device did over time: averages in steps
    History(history::DeviceArgs),
    /// Show the readings of a device, newest first
    Readings(ReadingsArgs),
}

impl DevicesCommand {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        match self {
            Self::List(args) => args.run().await,
            Self::Pair(args) => args.run().await,
            Self::Unpair(args) => args.run().await,
            Self::History(args) => args.run().await,
            Self::Readings(args) => args.run().await,
        }
    }
}

/// `fleetd devices list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// Only those that this agent owns or has seen
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Only those that nobody owns
    #[arg(long)]
    unpaired: bool,
}

impl ListArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let agent_id = match &self.agent {
            Some(agent) => agents::find(&client, agent).await?.agent_id,
            None => 0,
        };
        let devices = all_devices(&client, agent_id, self.unpaired.then_some(false)).await?;
        if self.common.json {
            return say_json(&devices);
        }
        say_table(&device_table(&devices.devices))
    }
}

async fn all_devices(
    client: &Client,
    agent_id: i64,
    paired: Option<bool>,
) -> Result<ListDevicesResponse, OperatorError> {
    let mut all = ListDevicesResponse::default();
    loop {
        let page_token = all.next_page_token.clone();
        let request = ListDevicesRequest { page_size: 1000, page_token, agent_id, paired };
        let page = client.devices().list_devices(request).await?;
        all.devices.extend(page.devices);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// The miners and what they do.
#[must_use]
pub fn device_table(devices: &[Device]) -> Table {
    let mut table = Table::new(&[
        "MINER", "MODEL", "ADDRESS", "AGENT", "STATUS", "HASHRATE", "POWER", "TEMP", "J/TH", "READ",
    ]);
    for device in devices {
        // A reading from before it was unpaired, or of an agent that is gone, says nothing of now.
        let paired = device.paired_at.is_some();
        let latest = device.latest.as_ref().filter(|_| paired && is_news(device.latest_received_at.as_ref()));
        let status = match (latest, device.latest.as_ref()) {
            _ if !paired => "not paired".to_owned(),
            (Some(latest), _) => status(latest),
            (None, Some(_)) => "no news".to_owned(),
            (None, None) => "no reading yet".to_owned(),
        };
        let owner = if device.agent_id == 0 { table::dash() } else { device.agent_name.clone() };
        let efficiency = latest.and_then(|latest| latest.efficiency_j_per_th);
        table.row([
            device.endpoint.clone(),
            format!("{} {}", device.make, device.model).trim().to_owned(),
            device.address.clone(),
            owner,
            status,
            table::hashrate(latest.and_then(|latest| latest.hashrate_hs)),
            table::power(latest.and_then(|latest| latest.power_w)),
            table::temperature(latest.and_then(|latest| latest.temperature_c)),
            efficiency.map_or_else(table::dash, |value| format!("{value:.1}")),
            if device.latest.is_some() { age(device.latest_received_at.as_ref()) } else { table::dash() },
        ]);
    }
    table
}

fn status(sample: &Sample) -> String {
    let status = MinerStatus::try_from(sample.status).unwrap_or_default();
    word(status.as_str_name(), "MINER_STATUS_")
}

/// The ids of devices that are given by id or endpoint.
async fn device_ids(client: &Client, texts: &[String]) -> Result<Vec<i64>, OperatorError> {
    let devices = all_devices(client, 0, None).await?.devices;
    let find = |text: &String| {
        let by_id = text.parse::<i64>().ok();
        let found = devices.iter().find(|device| device.endpoint == *text || Some(device.device_id) == by_id);
        found
            .map(|device| device.device_id)
            .ok_or_else(|| OperatorError::Usage(format!("there is no device {text}: fleetd devices list")))
    };
    texts.iter().map(find).collect()
}

/// The id of one device, as above.
pub(super) async fn device_id(client: &Client, text: &String) -> Result<i64, OperatorError> {
    let ids = device_ids(client, std::slice::from_ref(text)).await?;
    Ok(ids.first().copied().unwrap_or_default())
}

/// `fleetd devices pair`.
#[derive(Debug, Clone, Args)]
pub struct PairArgs {
    #[command(flatten)]
    common: Common,
    /// The agent's name or id
    agent: String,
    /// Devices, by endpoint (mac:..., sn:...) or id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    devices: Vec<String>,
    /// Every device that the agent has seen and nobody owns
    #[arg(long)]
    all: bool,
}

impl PairArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let agent = agents::find(&client, &self.agent).await?;
        let device_ids = if self.all { Vec::new() } else { device_ids(&client, &self.devices).await? };
        let request = PairDevicesRequest { agent_id: agent.agent_id, device_ids, all: self.all };
        let answer = client.devices().pair_devices(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        let count = answer.paired_device_ids.len();
        say(format_args!("{count} device{} paired with {}", if count == 1 { "" } else { "s" }, agent.name))?;
        for skipped in &answer.skipped {
            say(format_args!("device {} was not: {}", skipped.device_id, skipped.reason))?;
        }
        Ok(())
    }
}

/// `fleetd devices unpair`.
#[derive(Debug, Clone, Args)]
pub struct UnpairArgs {
    #[command(flatten)]
    common: Common,
    /// Devices, by endpoint (mac:..., sn:...) or id
    #[arg(required = true)]
    devices: Vec<String>,
}

impl UnpairArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let device_ids = device_ids(&client, &self.devices).await?;
        let answer = client.devices().unpair_devices(UnpairDevicesRequest { device_ids }).await?;
        if self.common.json {
            return say_json(&answer);
        }
        let count = answer.unpaired_device_ids.len();
        say(format_args!("{count} device{} unpaired", if count == 1 { "" } else { "s" }))
    }
}

/// `fleetd devices readings`.
#[derive(Debug, Clone, Args)]
pub struct ReadingsArgs {
    #[command(flatten)]
    common: Common,
    /// The device, by endpoint (mac:..., sn:...) or id
    device: String,
    /// How many readings, at most 10000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    limit: i32,
}

impl ReadingsArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let device_id = device_id(&client, &self.device).await?;
        let request = ListReadingsRequest { device_id, limit: self.limit, since: None, until: None };
        let answer = client.telemetry().list_readings(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        let mut table = Table::new(&["AGO", "STATUS", "HASHRATE", "POWER", "TEMP"]);
        for reading in &answer.readings {
            table.row([
                age(reading.taken_at.as_ref()),
                status(reading),
                table::hashrate(reading.hashrate_hs),
                table::power(reading.power_w),
                table::temperature(reading.temperature_c),
            ]);
        }
        say_table(&table)
    }
}
