//! `status`.

use clap::Args;
use serde::Serialize;

use super::{AgentArgs, exit::Failure, terminal::say};
use crate::state::{Access, EnrollmentStage, LockHolder, PublicState, StateDir, StateDirError};

/// The options of `status`.
#[derive(Debug, Args)]
#[non_exhaustive]
pub struct StatusArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Status {
    state_dir: String,
    /// `none` if no enrollment was begun.
    enrollment: &'static str,
    /// Whether a process holds the state directory, most likely `run`.
    in_use: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_id: Option<u32>,
    #[serde(flatten)]
    agent: Option<Agent>,
}

#[derive(Debug, Serialize)]
struct Agent {
    name: String,
    server: String,
    agent_id: Option<i64>,
    organization: Option<String>,
    org_id: Option<i64>,
    manifest_epoch: Option<i64>,
    joined: bool,
    fingerprint: String,
    identity_pubkey: String,
    miner_signing_pubkey: String,
    sealing_pubkey: String,
}

pub(super) fn status(args: &AgentArgs, options: &StatusArgs) -> Result<(), Failure> {
    let path = args.state_path()?;
    let (state, holder) = match StateDir::open(&path, Access::ReadOnly) {
        Ok(directory) => (directory.public_state()?, directory.holder()),
        Err(StateDirError::Missing { .. }) => (None, None),
        Err(error) => return Err(error.into()),
    };
    let status = Status {
        state_dir: path.display().to_string(),
        enrollment: state.as_ref().map_or("none", |state| stage_name(state.stage)),
        in_use: holder.is_some(),
        process_id: holder.and_then(|holder| match holder {
            LockHolder::Process(pid) => Some(pid),
            LockHolder::Unknown => None,
        }),
        agent: state.as_ref().map(Agent::of),
    };
    if options.json {
        say(serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?);
    } else {
        say(table(&status, state.as_ref(), holder).trim_end());
    }
    Ok(())
}

impl Agent {
    fn of(state: &PublicState) -> Self {
        let manifest = state.manifest.as_ref().map(|signed| signed.manifest());
        Self {
            name: state.name.to_string(),
            server: state.server.to_string(),
            agent_id: state.agent_id.map(fleet_core::id::AgentId::value),
            organization: manifest.map(|manifest| manifest.org_name.to_string()),
            org_id: manifest.map(|manifest| manifest.org_id.value()),
            manifest_epoch: manifest.map(|manifest| manifest.epoch),
            joined: state.joined,
            fingerprint: state.fingerprint().to_string(),
            identity_pubkey: hex::encode(state.keys.identity().as_bytes()),
            miner_signing_pubkey: hex::encode(state.keys.miner_signing().as_bytes()),
            sealing_pubkey: hex::encode(state.keys.sealing().as_bytes()),
        }
    }
}

const fn stage_name(stage: EnrollmentStage) -> &'static str {
    match stage {
        EnrollmentStage::Begun => "begun",
        EnrollmentStage::Answered => "answered",
        EnrollmentStage::AwaitingConfirmation => "awaiting-confirmation",
        EnrollmentStage::Enrolled => "enrolled",
    }
}

fn table(status: &Status, state: Option<&PublicState>, holder: Option<LockHolder>) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    match (&status.agent, state) {
        (Some(agent), Some(state)) => {
            rows.push(("Agent", agent.name.clone()));
            rows.push(("Enrollment", state.stage.describe().to_owned()));
            rows.push((
                "Organization",
                agent.organization.clone().unwrap_or_else(|| "not known yet".to_owned()),
            ));
            if let Some(id) = agent.agent_id {
                rows.push(("Agent id", id.to_string()));
            }
            rows.push(("Server", agent.server.clone()));
            rows.push(("Fingerprint", agent.fingerprint.clone()));
            rows.push(("Identity key", agent.identity_pubkey.clone()));
            rows.push(("Miner-signing key", agent.miner_signing_pubkey.clone()));
            rows.push(("Sealing key", agent.sealing_pubkey.clone()));
        }
        _ => rows.push(("Enrollment", "none; begin with `fleet-agent enroll --server URL`".to_owned())),
    }
    rows.push(("In use by", holder.map_or_else(|| "no process".to_owned(), |holder| holder.to_string())));
    rows.push(("State directory", status.state_dir.clone()));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
