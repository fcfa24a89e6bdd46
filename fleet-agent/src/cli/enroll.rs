//! `enroll`.

use std::sync::Arc;

use clap::Args;
use fleet_core::{
    code::{ApiKey, EnrollmentCode},
    driver::AgentDriver,
    fingerprint::Fingerprint,
    future::BoxFuture,
    name::Name,
    random::OsRandom,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{
    AgentArgs, ServerArgs,
    exit::{Exit, Failure},
    options::Problems,
    terminal::{EchoRestored, asked, say, tell},
};
use crate::{
    clock::SystemClock,
    enroll::{Attendant, Enrolled, Enrollment},
    gateway::ConnectGateway,
    probe,
    prompt::{self, PromptError},
    server_url::ServerUrl,
    state::{Access, StateDir},
};

/// The options of `enroll`.
#[derive(Debug, Args)]
#[non_exhaustive]
pub struct EnrollArgs {
    /// The server's URL.
    #[arg(long, value_name = "URL", help = "The server, for example https://fleet.example:8443")]
    pub server: String,
    /// The agent's name in the organization [default: this host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Join the organization without asking
    #[arg(long)]
    pub yes: bool,
    /// Show the fingerprint and exit; run the same command again once it is confirmed
    #[arg(long)]
    pub no_wait: bool,
    /// How the server is reached.
    #[command(flatten)]
    pub transport: ServerArgs,
}

pub(super) async fn enroll(args: &AgentArgs, enroll: &EnrollArgs) -> Result<(), Failure> {
    let mut problems = Problems::default();
    let server = problems.check(
        "--server",
        ServerUrl::parse(&enroll.server, enroll.transport.allow_insecure_transport.into()),
    );
    let name = problems.check("--name", Name::new(enroll.name.clone().unwrap_or_else(host_name)));
    let (Some(server), Some(name)) = (server, name) else {
        return Err(Failure::usage(problems.into_inner()));
    };
    let gateway = ConnectGateway::new(
        &server,
        enroll.transport.allow_insecure_transport.into(),
        enroll.transport.tls(),
    )?;
    let directory = args.open(Access::Exclusive)?;
    let text = asked(|| prompt::secret("the enrollment code")).await?;
    let code = EnrollmentCode::parse(&text).map_err(|error| Failure::new(Exit::Usage, &error))?;
    drop(text);

    let store = Arc::new(directory.store());
    let random = Arc::new(OsRandom);
    let driver = AgentDriver::new(
        Arc::clone(&store) as _,
        Arc::new(directory.keys()),
        gateway.transport(),
        Arc::new(SystemClock),
        Arc::clone(&random) as _,
    )
    .with_probe(probe::from_environment());
    // A line that is read without echo may still be waited for at the end.
    let _echo = EchoRestored::new();
    let enrollment = Enrollment { driver, store, random, wait: !enroll.no_wait };
    let mut terminal =
        Terminal { directory: directory.clone(), yes: enroll.yes, wait: !enroll.no_wait, lines: None };
    match enrollment.run(code, &server, name, &mut terminal).await? {
        Enrolled::Online(_) => {
            let state = directory.public_state()?;
            let name = state.as_ref().map(|state| state.name.to_string()).unwrap_or_default();
            let organization = state.as_ref().and_then(|state| state.organization().cloned());
            let organization = organization.map(|name| name.to_string()).unwrap_or_default();
            say(format_args!("Agent {name} of {organization} is online. Start it with `fleet-agent run`."));
        }
        Enrolled::Waiting => {
            say(format_args!("Run the same command again with the same code once it is confirmed."))
        }
    }
    Ok(())
}

fn host_name() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

const RULE: &str = "=====================================";

/// The person at a terminal, or at the other end of a pipe.
struct Terminal {
    /// Where the name stands that the agent registered under, which an earlier run may have chosen.
    directory: StateDir,
    yes: bool,
    wait: bool,
    /// Lines that are entered unasked, once anybody waits for them.
    lines: Option<mpsc::Receiver<Zeroizing<String>>>,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(Terminal: std::fmt::Debug);

/// Reads lines without echo for as long as there are any. The thread ends with the process.
fn pasted_lines() -> mpsc::Receiver<Zeroizing<String>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        while let Ok(line) = prompt::unasked() {
            if !line.trim().is_empty() && sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Attendant for Terminal {
    fn may_join<'a>(&'a mut self, organization: &'a Name) -> BoxFuture<'a, Result<bool, PromptError>> {
        say(format_args!("The code is of the organization: {organization}"));
        if self.yes {
            return Box::pin(async { Ok(true) });
        }
        let question = format!("Let this agent join {organization}?");
        Box::pin(asked(move || prompt::confirm(&question)))
    }

    fn show_fingerprint(&mut self, fingerprint: &Fingerprint) {
        let state = self.directory.public_state().ok().flatten();
        let name = state.map_or_else(|| "NAME".to_owned(), |state| state.name.to_string());
        say(format_args!(
            "\n    This agent's fingerprint:\n\n\
             \x20   {RULE}\n\n\
             \x20       {fingerprint}\n\n\
             \x20   {RULE}\n\n\
             \x20   Confirm the agent at the control plane by typing what stands here:\n\
             \x20       fleetd agents confirm {name}\n"
        ));
        if self.wait {
            say(format_args!(
                "Waiting for confirmation. It is safe to stop here and to run this again with the same code.\n\
                 The api_key comes by itself; if you were given it to paste, paste it here and press Enter."
            ));
        }
    }

    fn pasted(&mut self) -> BoxFuture<'_, ApiKey> {
        let lines = self.lines.get_or_insert_with(pasted_lines);
        Box::pin(async move {
            loop {
                match lines.recv().await.map(|line| ApiKey::parse(&line)) {
                    Some(Ok(key)) => return key,
                    Some(Err(error)) => tell(error),
                    // Standard input is at its end.
                    None => std::future::pending().await,
                }
            }
        })
    }

    fn api_key(&mut self) -> BoxFuture<'_, Result<ApiKey, PromptError>> {
        if self.lines.is_some() {
            say(format_args!("Paste the api_key that the confirmation showed:"));
            return Box::pin(async { Ok(self.pasted().await) });
        }
        Box::pin(async {
            loop {
                let text = asked(|| prompt::secret("the api_key that the confirmation showed")).await?;
                match ApiKey::parse(&text) {
                    Ok(key) => return Ok(key),
                    Err(error) => self.notice(&error.to_string()),
                }
            }
        })
    }

    fn notice(&mut self, text: &str) {
        tell(text);
    }
}
