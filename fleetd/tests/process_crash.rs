//! A process dies at every point of an enrollment and its first handshake; the same command goes on.
//!
//! The agent half and the server are each a process of their own. The one that owns the point aborts itself there,
//! and no destructor runs: what is on disk and what is on the wire is all that is left. It is started again on the
//! same directories, a server on the same port, and everything must come out as if nothing had happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::{net::Ipv4Addr, time::Instant};

use fleet_agent::{
    sim::LoopbackBlock,
    state::{Access, EnrollmentStage, StateDir},
};
use fleet_core::{driver::Point, store::AgentKeyStore as _};
use fleet_proto::{
    agentadmin::v1::{
        Agent, ConfirmAgentRequest, CreateEnrollmentCodeRequest, EnrollmentState, ListAgentsRequest,
        ListEnrollmentsRequest,
    },
    agentgateway::v1::EnrollmentStatus,
    client::Channel,
};
use futures::{StreamExt as _, stream};
use process_support::{
    Home, PATIENCE, Process, Server, admin, assert_private, containing, fingerprint, until,
};
use rustix::process::Signal;

const AGENT: &str = "site-1";
/// Each run waits more than it works; so many keep two cores busy.
const AT_ONCE: usize = 6;

/// Whose process passes a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Agent,
    Server,
}

fn owner(point: Point) -> Owner {
    match point.name().split_once('-') {
        Some(("agent", _)) => Owner::Agent,
        Some(("server", _)) => Owner::Server,
        _ => panic!("{point:?}: a point of neither process; say here who reaches it"),
    }
}

/// `enroll` ends with a session in hand and makes no call under it. Sealed delivery ends with the first such call,
/// which is one of `run`.
fn needs_run(point: Point) -> bool {
    point == Point::ServerDeliveryEnded
}

/// One site: a server at an address that nobody else uses, and an agent.
struct Site {
    home: Home,
    listen: String,
}

impl Site {
    fn new(address: Ipv4Addr) -> Self {
        // The whole address is this test's: the port is free, and stays so while the server is down.
        Self { home: Home::new(), listen: format!("{address}:8420") }
    }

    async fn server(&self, crash: Option<Point>) -> Server {
        let first = ["--mode", "server", "--listen", &self.listen];
        Server::spawn(&self.home, &first, &[], crash.map(Point::name)).await
    }

    fn agent(&self, arguments: &[&str], crash: Option<Point>) -> Process {
        let mut command = self.home.command(["agent", "--state-dir"]);
        command.arg(self.home.join("agent")).args(arguments);
        if let Some(point) = crash {
            command.env("FLEET_CRASH_AT", point.name());
        }
        Process::spawn(&mut command)
    }

    async fn enroll(&self, code: &str, crash: Option<Point>) -> Process {
        let url = format!("http://{}", self.listen);
        let mut agent = self.agent(&["enroll", "--server", &url, "--name", AGENT, "--yes"], crash);
        agent.enter(code).await;
        agent.close();
        agent
    }
}

/// The operator: confirms by the fingerprint that the agent shows, as often as it takes to be sure.
struct Operator(Channel);

impl Operator {
    async fn code(&self) -> String {
        admin(&self.0).create_enrollment_code(CreateEnrollmentCodeRequest::default()).await.unwrap().code
    }

    /// The agents; `None` while the server is down.
    async fn agents(&self) -> Option<Vec<Agent>> {
        Some(admin(&self.0).list_agents(ListAgentsRequest::default()).await.ok()?.agents)
    }

    async fn confirm(&self, fingerprint: &str) {
        until("the agent is confirmed", async || {
            let agent = self.agents().await?.into_iter().find(|agent| agent.name == AGENT)?;
            if agent.status() == EnrollmentStatus::Confirmed {
                return Some(());
            }
            let request = ConfirmAgentRequest {
                agent_id: agent.agent_id,
                pending_enrollment_id: agent.pending_enrollment_id,
                fingerprint: fingerprint.to_owned(),
                agent_certificate: None,
            };
            // The answer may be lost with the server; the next look tells.
            admin(&self.0).confirm_agent(request).await.ok().map(drop)
        })
        .await;
    }

    /// Confirms what the agent shows, if it comes so far, and returns how it ended.
    async fn attend(&self, mut agent: Process, shown: &mut Option<String>) -> process_support::Ended {
        if let Some(fingerprint) = agent.out(fingerprint).await {
            if let Some(before) = shown.replace(fingerprint.clone()) {
                assert_eq!(before, fingerprint, "the same code, the same keys");
            }
            self.confirm(&fingerprint).await;
        }
        agent.ended().await
    }
}

/// Whether a process died of this signal and nothing else.
#[track_caller]
fn assert_died(ended: &process_support::Ended, signal: Signal, what: &str) {
    assert_eq!(ended.signal(), Some(signal.as_raw()), "{what}: {ended:#?}");
}

/// Sees the server through: where it is to crash it must, and it is started again.
async fn see_through(site: &Site, server: Server, crash: Option<Point>) -> Server {
    let Some(point) = crash else { return server };
    let ended = server.process.ended().await;
    assert_died(&ended, Signal::ABORT, point.name());
    site.server(None).await
}

/// The agent of `run`, until the server calls it online.
async fn run_until_online(site: &Site, operator: &Operator) {
    let mut agent = site.agent(&["run"], None);
    until("the agent is online", async || {
        operator.agents().await?.into_iter().any(|agent| agent.name == AGENT && agent.online).then_some(())
    })
    .await;
    agent.close();
    agent.stop().await.expect(0);
}

/// What must hold in the end, whatever happened.
async fn assert_whole(site: &Site, operator: &Operator, shown: &str) {
    site.agent(&["refresh"], None).ended().await.expect(0);

    let agents = operator.agents().await.expect("the server answers");
    let agents: Vec<_> = agents.into_iter().filter(|agent| agent.name == AGENT).collect();
    assert_eq!(agents.len(), 1, "{agents:#?}");
    assert_eq!(agents[0].status(), EnrollmentStatus::Confirmed);
    assert_eq!(agents[0].identity_fingerprint, shown);
    let request = ListEnrollmentsRequest { include_ended: true, ..ListEnrollmentsRequest::default() };
    let enrollments = admin(&operator.0).list_enrollments(request).await.unwrap().enrollments;
    assert_eq!(enrollments.len(), 1, "{enrollments:#?}");
    assert_eq!(enrollments[0].state(), EnrollmentState::Confirmed);
    assert_eq!(enrollments[0].agent_id, agents[0].agent_id);
    assert_eq!(enrollments[0].second_uses, 0, "going on is no second use");

    let path = site.home.join("agent");
    assert_private(&path);
    assert_private(&site.home.join("server/keys"));
    let directory = StateDir::open(&path, Access::Exclusive).unwrap();
    let state = directory.public_state().unwrap().expect("there is a state");
    assert_eq!(state.stage, EnrollmentStage::Enrolled);
    assert_eq!(state.fingerprint().to_string(), shown);
    let keyring = directory.keys().open().await.unwrap().expect("there are keys");
    assert_eq!(keyring.public().unwrap(), state.keys);
}

async fn crash_at(point: Point, address: Ipv4Addr) {
    let site = Site::new(address);
    let (agent_crash, server_crash) = match owner(point) {
        Owner::Agent => (Some(point), None),
        Owner::Server => (None, Some(point)),
    };
    let mut server = site.server(server_crash).await;
    let operator = Operator(server.found().await);
    let code = operator.code().await;
    let mut shown = None;

    let enrolling = async {
        let ended = operator.attend(site.enroll(&code, agent_crash).await, &mut shown).await;
        let Some(point) = agent_crash else { return ended };
        assert_died(&ended, Signal::ABORT, point.name());
        operator.attend(site.enroll(&code, None).await, &mut shown).await
    };
    let server = if needs_run(point) {
        enrolling.await.expect(0);
        let (server, ()) =
            tokio::join!(see_through(&site, server, server_crash), run_until_online(&site, &operator));
        server
    } else {
        let (server, ended) = tokio::join!(see_through(&site, server, server_crash), enrolling);
        ended.expect(0);
        server
    };

    let shown = shown.unwrap_or_else(|| panic!("{point:?}: no run showed the fingerprint"));
    assert_whole(&site, &operator, &shown).await;
    server.process.stop().await.expect(0);
}

#[tokio::test]
async fn an_enrollment_survives_a_crash_at_every_point_of_either_process() {
    let block = LoopbackBlock::reserve().unwrap();
    let runs = Point::ALL.into_iter().map(|point| {
        let address = block.address().unwrap();
        async move {
            let begun = Instant::now();
            crash_at(point, address).await;
            println!("{:5.1} s  {}", begun.elapsed().as_secs_f32(), point.name());
            point
        }
    });
    // A point that its process does not reach fails its run: that process was to die there and did not.
    let reached: Vec<Point> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    for point in Point::ALL {
        assert!(reached.contains(&point), "{point:?} was not reached");
    }
    assert_eq!(reached.len(), Point::ALL.len());
}

#[tokio::test]
async fn both_processes_may_be_killed_while_the_operator_is_awaited() {
    let block = LoopbackBlock::reserve().unwrap();
    let site = Site::new(block.address().unwrap());
    let mut server = site.server(None).await;
    let operator = Operator(server.found().await);
    let code = operator.code().await;

    let mut agent = site.enroll(&code, None).await;
    let shown = agent.out(fingerprint).await.expect("it shows its fingerprint");
    agent.out(containing("Waiting for confirmation")).await.unwrap();
    assert_died(&agent.kill().await, Signal::KILL, "agent");
    assert_died(&server.process.kill().await, Signal::KILL, "server");

    // The agent first: it finds no server, and waits for it.
    let agent = site.enroll(&code, None).await;
    let server = site.server(None).await;
    let mut again = Some(shown.clone());
    let attended = tokio::time::timeout(PATIENCE, operator.attend(agent, &mut again)).await;
    attended.expect("in time").expect(0);
    assert_whole(&site, &operator, &shown).await;
    server.process.stop().await.expect(0);
}
