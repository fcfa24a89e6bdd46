//! `fleetd demo`: a server on a temporary SQLite file, simulated miners on loopback, and an agent as a second process
//! that enrolls by the commands that a person would use.
//!
//! Nothing leaves this host, and nothing of it is left when it ends.

mod agent;
mod miners;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fleet_agent::clock::SystemClock;
use fleet_core::driver::NoProbe;
use fleet_core::policy::Policy;
use fleet_core::random::{OsRandom, SecureRandom as _};
use fleet_proto::agentadmin::v1::{
    AgentAdminServiceClient, ConfirmAgentRequest, CreateEnrollmentCodeRequest, ListAgentsRequest,
};
use fleet_proto::client::{Channel, Status};
use fleet_proto::fleet::v1::{
    Device, DeviceServiceClient, ListDevicesRequest, LoginRequest, MinerStatus, OperatorServiceClient,
    PairDevicesRequest, SetUpRequest,
};
use fleet_proto::rpc::Code;
use fleet_store::DatabaseUrl;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::cli::report;
use crate::config::{Config, Limits, LogFormat, Mode, Retention};
use crate::operator::device_table;
use crate::server::{Server, StartError};
use agent::AgentProcess;
use miners::{Miners, MinersError, RIG_PASSWORD};

const ORGANIZATION: &str = "Demo Mining";
const AGENT: &str = "demo-site";
const USER: &str = "demo";
const REFRESH: Duration = Duration::from_secs(1);
/// Where the output is not a terminal, the table is printed this often.
const REPRINT: u32 = 5;

/// `fleetd demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Type the agent's fingerprint for me
    #[arg(long)]
    yes: bool,
    /// Stop when every miner has given a reading
    #[arg(long)]
    once: bool,
    /// Where the server listens; a free port if this one is taken
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8420")]
    listen: SocketAddr,
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the demo listens on loopback only, {0} is not")]
    NotLoopback(SocketAddr),
    #[error("the server does not start")]
    Start(#[from] StartError),
    #[error("the server refused: {0}")]
    Call(#[from] Status),
    #[error(transparent)]
    Miners(#[from] MinersError),
    #[error("the agent did not enroll")]
    NotEnrolled,
    #[error("the agent stopped")]
    AgentStopped,
    #[error("the server's address is no URL")]
    Address(#[from] http::uri::InvalidUri),
    #[error("no random numbers")]
    Random(#[from] fleet_core::random::RandomError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the demo until it is stopped.
///
/// # Cancel safety
/// Dropped, all of the demo ends with it, its files and its second process as well. The future is `Send`; it
/// panics only outside of a tokio runtime.
pub async fn run(args: DemoArgs) -> ExitCode {
    let directory = match tempfile::Builder::new().prefix("fleetd-demo-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let stopped = async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    let outcome = tokio::select! {
        outcome = demo(&args, directory.path()) => outcome,
        () = stopped => {
            println!("\nstopped; nothing of the demo is left");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &DemoArgs, directory: &Path) -> Result<(), DemoError> {
    println!("A fleet on this host alone: simulated miners, an agent, a server. Ctrl-C ends it whole.\n");
    let server = start(args.listen, directory).await?;
    let address = server.addresses().first().copied().unwrap_or(args.listen);
    let url = format!("http://{address}");
    let (operators, password) = sign_in(&server, &url).await?;
    println!("server   {url}, organization {ORGANIZATION}");

    let miners = Miners::start().await?;
    for (number, name, address) in miners.describe() {
        println!("miner {number}  {name} at {address}");
    }

    let agent = AgentProcess::new(directory.join("agent"))?;
    let made = operators.admin.create_enrollment_code(CreateEnrollmentCodeRequest::default()).await?;
    println!(
        "\n$ fleetd agents code\n{}\n\n$ fleet-agent enroll --server {url} --name {AGENT} --yes",
        made.code
    );
    let mut enrolling = agent.enroll(&url, AGENT, &made.code).await?;
    let shown = enrolling.fingerprint().await?.ok_or(DemoError::NotEnrolled)?;
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    let agent_id = operators.confirm(args.yes.then_some(shown.as_str()), &mut typed).await?;
    if !enrolling.finished().await? {
        return Err(DemoError::NotEnrolled);
    }

    let (rig, rig_port) = miners.rig();
    let range = miners.range();
    // A new agent may not ask for a session twice within this time; a person takes longer.
    tokio::time::sleep(Policy::default().begin_interval).await;
    println!("\n$ fleet-agent run --scan {range} --proto-port {rig_port} --poll-interval 2s");
    let mut running = agent.run(&range, rig_port)?;
    let rig = rig.to_string();
    let watched = async {
        operators.wait_for(|devices| devices.len() == miners.count()).await?;
        let request = PairDevicesRequest { agent_id, device_ids: Vec::new(), all: true };
        let paired = operators.devices.pair_devices(request).await?;
        println!(
            "\n$ fleetd devices pair {AGENT} --all\n{} devices paired with {AGENT}",
            paired.paired_device_ids.len()
        );
        let devices =
            operators.wait_for(|devices| devices.iter().all(|device| device.latest.is_some())).await?;
        print_table(&devices);
        println!("\nThe Proto rig wants a password. It is entered at the agent, which alone keeps it:");
        println!("$ fleet-agent miner login {rig}");
        agent.miner_login(&rig, RIG_PASSWORD).await?;
        let devices = operators.wait_for(|devices| devices.iter().all(is_mining)).await?;
        if args.once {
            println!();
            print_table(&devices);
            return Ok(());
        }
        live(&operators, &miners, &mut typed, &url, &password).await
    };
    let outcome = tokio::select! {
        outcome = watched => outcome,
        _ = running.wait() => Err(DemoError::AgentStopped),
    };
    // Ends by itself on the signal that ends the demo; otherwise it is stopped here.
    let _ = running.start_kill();
    let _ = running.wait().await;
    server.stop().await;
    outcome
}

async fn start(listen: SocketAddr, directory: &Path) -> Result<Server, DemoError> {
    if !listen.ip().is_loopback() {
        return Err(DemoError::NotLoopback(listen));
    }
    let config = |listen| Config {
        mode: Mode::Server,
        listen: vec![listen],
        metrics_listen: None,
        data_dir: directory.join("server"),
        key_dir: directory.join("server/keys"),
        database: DatabaseUrl::sqlite_file(directory.join("server/fleet.db")),
        tls: None,
        scan: Vec::new(),
        proto_port: None,
        poll_interval: Duration::from_secs(5),
        retention: Retention::DEFAULT,
        log_format: LogFormat::Human,
        limits: Limits::default(),
        ca_file: None,
        client: None,
        drain_timeout: crate::config::DRAIN_TIMEOUT,
        allow_insecure_transport: false,
        health: None,
    };
    let start = |listen| {
        let config = config(listen);
        async move { Server::start(&config, Arc::new(SystemClock), Arc::new(OsRandom), Arc::new(NoProbe)).await }
    };
    match start(listen).await {
        Err(StartError::Bind { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            Ok(start(SocketAddr::new(listen.ip(), 0)).await?)
        }
        started => Ok(started?),
    }
}

/// An operator's clients.
struct Operators {
    admin: AgentAdminServiceClient,
    devices: DeviceServiceClient,
}

/// Sets the server up by its link and signs in, as an operator would.
async fn sign_in(server: &Server, url: &str) -> Result<(Operators, Zeroizing<String>), DemoError> {
    let mut bytes = [0; 12];
    OsRandom.fill(&mut bytes)?;
    let password = Zeroizing::new(hex::encode(bytes));
    let channel = Channel::new(url.parse()?, None);
    let client = OperatorServiceClient::new(channel.clone());
    let token = server.set_up_link().and_then(|link| link.rsplit_once('/')).map_or("", |(_, token)| token);
    let set_up = SetUpRequest {
        setup_token: token.to_owned(),
        organization: ORGANIZATION.to_owned(),
        user_name: USER.to_owned(),
        password: password.to_string(),
    };
    client.set_up(set_up).await?;
    let login = client
        .login(LoginRequest {
            user_name: USER.to_owned(),
            password: password.to_string(),
            ..LoginRequest::default()
        })
        .await?;
    let channel = channel.with_bearer(&login.session_token);
    let operators = Operators {
        admin: AgentAdminServiceClient::new(channel.clone()),
        devices: DeviceServiceClient::new(channel),
    };
    Ok((operators, password))
}

impl Operators {
    /// Confirms the agent by the fingerprint that the person types, or that is typed for them.
    async fn confirm(
        &self,
        typed_for_them: Option<&str>,
        typed: &mut Lines<BufReader<Stdin>>,
    ) -> Result<i64, DemoError> {
        let agents = self.admin.list_agents(ListAgentsRequest::default()).await?.agents;
        let agent = agents.into_iter().find(|agent| agent.name == AGENT).ok_or(DemoError::NotEnrolled)?;
        println!("\n$ fleetd agents confirm {AGENT}");
        loop {
            print!("Type the fingerprint that the agent shows: ");
            io::stdout().flush()?;
            let fingerprint = match typed_for_them {
                Some(fingerprint) => {
                    println!("{fingerprint}");
                    fingerprint.to_owned()
                }
                None => typed.next_line().await?.ok_or(DemoError::NotEnrolled)?,
            };
            let request = ConfirmAgentRequest {
                agent_id: agent.agent_id,
                pending_enrollment_id: agent.pending_enrollment_id,
                fingerprint: fingerprint.trim().to_owned(),
                agent_certificate: None,
            };
            match self.admin.confirm_agent(request).await {
                Ok(_) => {
                    println!("{AGENT} is confirmed");
                    return Ok(agent.agent_id);
                }
                Err(status)
                    if typed_for_them.is_none()
                        && matches!(
                            status.code,
                            Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied
                        ) =>
                {
                    println!("refused: {status}");
                }
                Err(status) => return Err(status.into()),
            }
        }
    }

    async fn list(&self) -> Result<Vec<Device>, Status> {
        Ok(self.devices.list_devices(ListDevicesRequest::default()).await?.devices)
    }

    /// Asks until the devices are as they shall be.
    async fn wait_for(&self, ready: impl Fn(&[Device]) -> bool) -> Result<Vec<Device>, Status> {
        loop {
            let devices = self.list().await?;
            if ready(&devices) {
                return Ok(devices);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn is_mining(device: &Device) -> bool {
    device.latest.as_ref().is_some_and(|latest| latest.status() == MinerStatus::Mining)
}

fn print_table(devices: &[Device]) {
    for line in device_table(devices).lines() {
        println!("{line}");
    }
}

/// The table, again and again, and what the person does to the miners meanwhile.
async fn live(
    operators: &Operators,
    miners: &Miners,
    typed: &mut Lines<BufReader<Stdin>>,
    url: &str,
    password: &str,
) -> Result<(), DemoError> {
    let terminal = io::stdout().is_terminal();
    let mut every = tokio::time::interval(REFRESH);
    let mut listening = true;
    let mut said = String::new();
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            _ = every.tick() => {
                let devices = operators.list().await?;
                if terminal {
                    // Home, and clear what is below: no flicker.
                    print!("\x1b[H\x1b[2J");
                }
                if terminal || ticks.is_multiple_of(REPRINT) {
                    println!("server {url}   sign in: fleetd login --server {url} --user {USER}   password: {password}\n");
                    print_table(&devices);
                    println!("\nType kill N or revive N, N from 1 to {}, and Enter. Ctrl-C ends the demo.", miners.count());
                    println!("{said}");
                }
                ticks = ticks.wrapping_add(1);
            }
            line = typed.next_line(), if listening => match line {
                Ok(Some(line)) => said = obey(miners, &line).await?,
                Ok(None) | Err(_) => listening = false,
            }
        }
    }
}

async fn obey(miners: &Miners, line: &str) -> Result<String, DemoError> {
    let mut words = line.split_whitespace();
    let (verb, number) = (words.next().unwrap_or_default(), words.next().and_then(|word| word.parse().ok()));
    let on = match verb {
        "" => return Ok(String::new()),
        "kill" => false,
        "revive" => true,
        _ => return Ok(format!("{verb} is neither kill nor revive")),
    };
    let Some(number) = number else { return Ok("which miner? kill 1, for example".to_owned()) };
    Ok(match miners.power(number, on).await? {
        true if on => format!("miner {number} has power again"),
        true => format!("miner {number} has no power any more"),
        false => format!("there is no miner {number}"),
    })
}
