//! Agents: codes, listings, confirmation, revocation.

use std::time::Duration;

use clap::{Args, Subcommand};
use fleet_agent::prompt;
use fleet_proto::agentadmin::v1::{
    Agent, AgentKind, CancelEnrollmentRequest, ConfirmAgentRequest, CreateEnrollmentCodeRequest,
    EnrollmentState, ListAgentsRequest, ListAgentsResponse, ListEnrollmentsRequest, ListEnrollmentsResponse,
    RevokeAgentRequest,
};
use fleet_proto::agentgateway::v1::EnrollmentStatus;

use super::client::Client;
use super::table::Table;
use super::{Common, OperatorError, age, ask, say, say_json, say_table, word};

/// `fleetd agents`.
#[derive(Debug, Clone, Subcommand)]
pub enum AgentsCommand {
    /// Make a code that enrolls one agent
    Code(CodeArgs),
    /// List agents
    List(Common),
    /// Confirm an agent by the fingerprint that it shows
    Confirm(ConfirmArgs),
    /// Revoke an agent for good
    Revoke(RevokeArgs),
    /// List codes and what became of them
    Enrollments(EnrollmentsArgs),
    /// Cancel a code, or an agent that waits for confirmation
    Cancel(CancelArgs),
}

impl AgentsCommand {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        match self {
            Self::Code(args) => args.run().await,
            Self::List(common) => list(&common).await,
            Self::Confirm(args) => args.run().await,
            Self::Revoke(args) => args.run().await,
            Self::Enrollments(args) => args.run().await,
            Self::Cancel(args) => args.run().await,
        }
    }
}

/// `fleetd agents code`.
#[derive(Debug, Clone, Args)]
pub struct CodeArgs {
    #[command(flatten)]
    common: Common,
    /// How long the code is good for: 1m to 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let is_allowed = |ttl: &Duration| (60..=604_800).contains(&ttl.as_secs());
    let ttl = crate::duration::parse(text).filter(is_allowed);
    ttl.ok_or_else(|| "must be 1m to 7d, for example 30m, 12h or 2d".to_owned())
}

impl CodeArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = CreateEnrollmentCodeRequest { ttl, code_sha256: None };
        let made = self.common.connect.signed_in()?.admin().create_enrollment_code(request).await?;
        if self.common.json {
            return say_json(&made);
        }
        // The code alone on standard output, so that it can be piped.
        eprintln!(
            "Good for one agent, for {}. On the agent's host: fleet-agent enroll --server URL, then this code:",
            super::table::duration(self.ttl.as_secs())
        );
        say(&made.code)
    }
}

async fn all_agents(client: &Client) -> Result<ListAgentsResponse, OperatorError> {
    let mut all = ListAgentsResponse::default();
    loop {
        let request = ListAgentsRequest { page_size: 1000, page_token: all.next_page_token.clone() };
        let page = client.admin().list_agents(request).await?;
        all.agents.extend(page.agents);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            return Ok(all);
        }
    }
}

fn state(agent: &Agent) -> String {
    let status = agent.status();
    match status {
        EnrollmentStatus::Confirmed if agent.online => "online".to_owned(),
        EnrollmentStatus::Confirmed => "offline".to_owned(),
        EnrollmentStatus::Pending => "waits for confirmation".to_owned(),
        EnrollmentStatus::Revoked | EnrollmentStatus::Discarded | EnrollmentStatus::Unspecified => {
            word(status.as_str_name(), "ENROLLMENT_STATUS_")
        }
    }
}

async fn list(common: &Common) -> Result<(), OperatorError> {
    let agents = all_agents(&common.connect.signed_in()?).await?;
    if common.json {
        return say_json(&agents);
    }
    let mut table = Table::new(&["NAME", "ID", "STATE", "DEVICES", "HEARD", "VERSION", "NOTE"]);
    for agent in &agents.agents {
        let note = match (agent.second_uses, agent.kind()) {
            (1.., _) => format!("its code was tried {} more times by somebody else", agent.second_uses),
            (_, AgentKind::Local) => "in the server".to_owned(),
            (_, AgentKind::Remote | AgentKind::Unspecified) => String::new(),
        };
        let heard = if agent.last_heartbeat_at.is_some() {
            age(agent.last_heartbeat_at.as_ref())
        } else {
            String::new()
        };
        table.row([
            agent.name.clone(),
            agent.agent_id.to_string(),
            state(agent),
            agent.device_count.to_string(),
            heard,
            agent.agent_version.clone(),
            note,
        ]);
    }
    say_table(&table)
}

/// The agent that is meant: by id, or by name, of which revoked agents may have the same.
pub(super) async fn find(client: &Client, name_or_id: &str) -> Result<Agent, OperatorError> {
    let agents = all_agents(client).await?.agents;
    let live = |agent: &Agent| agent.status() != EnrollmentStatus::Revoked;
    let named = || agents.iter().find(|agent| agent.name == name_or_id && live(agent));
    let by_id =
        || name_or_id.parse::<i64>().ok().and_then(|id| agents.iter().find(|agent| agent.agent_id == id));
    let found = named().or_else(by_id).or_else(|| agents.iter().find(|agent| agent.name == name_or_id));
    found
        .cloned()
        .ok_or_else(|| OperatorError::Usage(format!("there is no agent {name_or_id}: fleetd agents list")))
}

/// `fleetd agents confirm`.
#[derive(Debug, Clone, Args)]
pub struct ConfirmArgs {
    #[command(flatten)]
    common: Common,
    /// Its name or id
    agent: String,
    /// The fingerprint that the agent itself shows; asked for if not given
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Print the agent's api_key, for pasting at an agent that cannot fetch it
    #[arg(long)]
    print_api_key: bool,
}

impl ConfirmArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let agent = find(&client, &self.agent).await?;
        if agent.pending_enrollment_id == 0 {
            return Err(OperatorError::Usage(format!(
                "{} does not wait for confirmation: {}",
                agent.name,
                state(&agent)
            )));
        }
        let fingerprint = self.fingerprint.map_or_else(|| ask("The fingerprint that the agent shows"), Ok)?;
        let request = ConfirmAgentRequest {
            agent_id: agent.agent_id,
            pending_enrollment_id: agent.pending_enrollment_id,
            fingerprint,
            agent_certificate: None,
        };
        let confirmed = client.admin().confirm_agent(request).await?;
        if self.common.json {
            if self.print_api_key {
                return say_json(&confirmed);
            }
            return say("{}");
        }
        say(format_args!("{} is confirmed", agent.name))?;
        if self.print_api_key {
            say(&confirmed.api_key)?;
        }
        Ok(())
    }
}

/// `fleetd agents revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    common: Common,
    /// Its name or id
    agent: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl RevokeArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let agent = find(&client, &self.agent).await?;
        let question = format!(
            "Revoke {} for good? Its {} devices will have no owner, and its keys can never enroll again.",
            agent.name, agent.device_count
        );
        if !self.yes && !prompt::confirm(&question)? {
            return Err(OperatorError::Usage("nothing was revoked".to_owned()));
        }
        let answer = client.admin().revoke_agent(RevokeAgentRequest { agent_id: agent.agent_id }).await?;
        if self.common.json {
            return say_json(&answer);
        }
        say(format_args!("{} is revoked", agent.name))
    }
}

/// `fleetd agents enrollments`.
#[derive(Debug, Clone, Args)]
pub struct EnrollmentsArgs {
    #[command(flatten)]
    common: Common,
    /// Ended ones as well
    #[arg(long)]
    all: bool,
}

impl EnrollmentsArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let mut all = ListEnrollmentsResponse::default();
        loop {
            let page_token = all.next_page_token.clone();
            let request = ListEnrollmentsRequest { page_size: 1000, page_token, include_ended: self.all };
            let page = client.admin().list_enrollments(request).await?;
            all.enrollments.extend(page.enrollments);
            all.next_page_token = page.next_page_token;
            if all.next_page_token.is_empty() {
                break;
            }
        }
        if self.common.json {
            return say_json(&all);
        }
        let mut table = Table::new(&["ID", "STATE", "MADE", "AGENT", "SECOND USES"]);
        for enrollment in &all.enrollments {
            let state = EnrollmentState::try_from(enrollment.state).unwrap_or_default();
            table.row([
                enrollment.pending_enrollment_id.to_string(),
                word(state.as_str_name(), "ENROLLMENT_STATE_"),
                age(enrollment.created_at.as_ref()),
                enrollment.agent_name.clone(),
                enrollment.second_uses.to_string(),
            ]);
        }
        say_table(&table)
    }
}

/// `fleetd agents cancel`.
#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    common: Common,
    /// The id of the enrollment, or the name of the agent that waits
    enrollment: String,
}

impl CancelArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let client = self.common.connect.signed_in()?;
        let pending_enrollment_id = match self.enrollment.parse() {
            Ok(id) => id,
            Err(_) => find(&client, &self.enrollment).await?.pending_enrollment_id,
        };
        if pending_enrollment_id == 0 {
            return Err(OperatorError::Usage(format!("{} does not wait for confirmation", self.enrollment)));
        }
        let answer =
            client.admin().cancel_enrollment(CancelEnrollmentRequest { pending_enrollment_id }).await?;
        if self.common.json {
            return say_json(&answer);
        }
        say("the enrollment is cancelled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_codes_are_read_and_bounded() {
        for (text, seconds) in [("60s", 60), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(parse_ttl(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "5", "h", "59s", "8d", "1w", "-1h", "99999999999999999999d", "1.5h"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }
}
