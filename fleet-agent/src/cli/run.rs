//! `run` and `refresh`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use fleet_core::{driver::AgentDriver, random::OsRandom};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{AgentArgs, ServerArgs, exit::Failure, options::Problems, terminal::say};
use crate::{
    cli::options::interval,
    clock::SystemClock,
    enroll::passing,
    gateway::ConnectGateway,
    health,
    miner::scan::{AllowList, ScanRange},
    probe,
    run::{Progress, RunError, RunOptions, run_telling},
    service_manager,
    state::{Access, StateDir},
};

const SHORTEST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(600);

const REFRESH_TRIES: u32 = 3;
const LONGEST_REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// The options of `run`.
#[derive(Debug, Args)]
#[non_exhaustive]
pub struct RunArgs {
    /// Where to look for miners: private IPv4 ranges, at most a /16 each. None by default
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',')]
    pub scan: Vec<String>,
    /// From one reading of a miner to the next: 1s to 10m
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub poll_interval: String,
    /// The port of Proto rigs, if it is not 80 or 443
    #[arg(long, value_name = "PORT")]
    pub proto_port: Option<String>,
    /// Serve a health page, /health.json and /metrics, without a login [default address:
    /// 127.0.0.1:8421]
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1)]
    pub health: Option<Option<String>>,
    /// How the server is reached.
    #[command(flatten)]
    pub server: ServerArgs,
}

pub(super) async fn run(args: &AgentArgs, run: &RunArgs) -> Result<(), Failure> {
    let options = options(args, run)?;
    let shutdown = shutdown().map_err(anyhow::Error::from)?;
    let tell = |progress| match progress {
        Progress::Started => service_manager::ready(),
        Progress::Stopping => service_manager::stopping(),
    };
    run_telling(options, shutdown, tell).await?;
    Ok(())
}

fn options(args: &AgentArgs, run: &RunArgs) -> Result<RunOptions, Failure> {
    let mut problems = Problems::default();
    let state_dir = problems.check("--state-dir", args.state_path());
    let ranges: Vec<ScanRange> =
        run.scan.iter().filter_map(|text| problems.check("--scan", text.parse())).collect();
    let scan = problems.check("--scan", AllowList::new(ranges));
    let poll_interval =
        problems.check("--poll-interval", interval(&run.poll_interval, SHORTEST_POLL, LONGEST_POLL));
    let proto_port = run.proto_port.as_ref().map(|text| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        Ok(0) | Err(_) => Err("expected a port from 1 to 65535"),
    });
    let proto_port = problems.check("--proto-port", proto_port.transpose());
    let health = run.health.as_ref().map(|address| match address {
        None => Ok(health::DEFAULT_ADDRESS),
        Some(text) => {
            text.parse::<SocketAddr>().map_err(|_| "expected an IP address and a port such as 127.0.0.1:8421")
        }
    });
    let health = problems.check("--health", health.transpose());
    match (state_dir, scan, poll_interval, proto_port, health) {
        (Some(state_dir), Some(scan), Some(poll_interval), Some(proto_port), Some(health))
            if problems.is_empty() =>
        {
            let mut options = RunOptions::new(state_dir);
            options.allow_insecure = run.server.allow_insecure_transport.into();
            options.tls = run.server.tls();
            options.scan = scan;
            options.poll_interval = poll_interval;
            options.proto_port = proto_port;
            options.health = health;
            Ok(options)
        }
        _ => Err(Failure::usage(problems.into_inner())),
    }
}

/// Done at the first SIGINT or SIGTERM; a second one ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::warn!("stopped at once; what was not uploaded is lost");
            std::process::exit(1);
        });
    })
}

pub(super) async fn refresh(args: &AgentArgs, server: &ServerArgs) -> Result<(), Failure> {
    let directory = args.open(Access::Exclusive)?;
    let (driver, identity) = driver(&directory, server)?;
    let mut tries = 1_u32;
    let online = loop {
        match driver.handshake().await {
            Ok(online) => break online,
            // The server bounds how often one agent asks, and says when it may again.
            Err(error) => match passing(&error).flatten() {
                Some(pause) if tries < REFRESH_TRIES && pause <= LONGEST_REFRESH_PAUSE => sleep(pause).await,
                Some(_) | None => return Err(error.into()),
            },
        }
        tries = tries.saturating_add(1);
    };
    let life = online.session.expires_at.since(online.session.created_at);
    say(format_args!(
        "{} is online at {}; the session lasts {} min",
        identity.0,
        identity.1,
        life.as_secs() / 60
    ));
    Ok(())
}

/// The driver of an enrolled agent, with its name and server.
fn driver(directory: &StateDir, server: &ServerArgs) -> Result<(AgentDriver, (String, String)), Failure> {
    let identity = directory.public_state()?.ok_or(RunError::NotEnrolled)?;
    let gateway =
        ConnectGateway::new(&identity.server, server.allow_insecure_transport.into(), server.tls())?;
    let driver = AgentDriver::new(
        Arc::new(directory.store()),
        Arc::new(directory.keys()),
        gateway.transport(),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    )
    .with_probe(probe::from_environment());
    Ok((driver, (identity.name.to_string(), identity.server.to_string())))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, Exit};

    fn parsed(arguments: &[&str]) -> Result<RunOptions, Failure> {
        let line = ["fleet-agent", "--state-dir", "/state", "run"].iter().chain(arguments);
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Run(run) = &cli.agent.command else { panic!("not run") };
        options(&cli.agent, run)
    }

    #[test]
    fn every_bad_option_is_reported_at_once() {
        let failure = parsed(&[
            "--scan=8.8.8.0/24,10.0.0.0/8",
            "--poll-interval=0",
            "--proto-port=70000",
            "--health=localhost",
        ]);
        let failure = failure.unwrap_err();
        let (exit, problems) = failure.parts();
        assert_eq!(exit, Exit::Usage);
        let options = ["--scan", "--scan", "--poll-interval", "--proto-port", "--health"];
        assert_eq!(problems.len(), options.len(), "{problems:?}");
        for (problem, option) in problems.iter().zip(options) {
            assert!(problem.starts_with(option), "{problem}");
        }
    }

    #[test]
    fn the_health_page_is_off_unless_asked_for_and_then_on_loopback() {
        assert_eq!(parsed(&[]).unwrap().health, None);
        assert_eq!(parsed(&["--health"]).unwrap().health, Some("127.0.0.1:8421".parse().unwrap()));
        assert_eq!(
            parsed(&["--health", "10.0.0.5:80"]).unwrap().health,
            Some("10.0.0.5:80".parse().unwrap())
        );
    }

    #[test]
    fn ranges_may_be_given_in_any_way() {
        for line in [
            &["--scan", "10.0.0.0/24", "10.0.1.0/24"][..],
            &["--scan", "10.0.0.0/24,10.0.1.0/24"],
            &["--scan", "10.0.0.0/24", "--scan", "10.0.1.0/24"],
        ] {
            assert_eq!(parsed(line).unwrap().scan.ranges().len(), 2);
        }
        assert!(parsed(&[]).unwrap().scan.is_empty());
    }
}
