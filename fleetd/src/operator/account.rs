//! Set-up, login, organizations, passwords, logout, and the activity log.

use clap::Args;
use fleet_agent::prompt;
use fleet_proto::fleet::v1::{
    ChangePasswordRequest, ListActivityRequest, LoginRequest, LogoutRequest, SelectOrganizationRequest,
    SetUpRequest, WhoAmIRequest, WhoAmIResponse,
};
use fleet_proto::rpc::{Code, Status};

use super::session::Session;
use super::table::Table;
use super::{Common, ConnectArgs, OperatorError, age, ask, say, say_json, say_table};

const DEFAULT_SERVER: &str = "http://127.0.0.1:8420";

/// `fleetd setup`.
#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The organization's name; asked for if not given
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// The first operator's login name; asked for if not given
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl SetupArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let link = prompt::secret("the set-up link")?;
        let (server, token) = link.trim().split_once("/setup/").ok_or_else(|| {
            OperatorError::Usage("the set-up link looks like http://HOST/setup/TOKEN".to_owned())
        })?;
        let (client, url) = self.connect.connect(server)?;
        let organization = self.organization.map_or_else(|| ask("Organization"), Ok)?;
        let user = self.user.map_or_else(|| ask("Your login name"), Ok)?;
        let password = new_password()?;
        let request = SetUpRequest {
            setup_token: token.to_owned(),
            organization: organization.clone(),
            user_name: user.clone(),
            password: password.to_string(),
        };
        client.operator().set_up(request).await.map_err(|status| {
            if status.code == Code::Unauthenticated {
                OperatorError::Usage(
                    "the link is not valid any more: the newest one is in the output of the server"
                        .to_owned(),
                )
            } else {
                status.into()
            }
        })?;
        say(format_args!(
            "{organization} is set up. Next: fleetd login --server {} --user {user}",
            url.as_str()
        ))
    }
}

/// A new password; at a terminal it is asked for twice.
pub(crate) fn new_password() -> Result<zeroize::Zeroizing<String>, OperatorError> {
    let password = prompt::secret("a password of at least 12 characters")?;
    if prompt::is_interactive() && *prompt::secret("the password again")? != *password {
        return Err(OperatorError::Usage("the two passwords differ".to_owned()));
    }
    Ok(password)
}

/// `fleetd login`.
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The server
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    server: String,
    /// The login name; asked for if not given
    #[arg(long, value_name = "NAME", conflicts_with = "api_key")]
    user: Option<String>,
    /// The organization to act for, by name or id; the one that you have belonged to the longest if not given
    #[arg(long, value_name = "NAME", conflicts_with = "api_key")]
    organization: Option<String>,
    /// Sign in with an api_key, which is asked for, instead of name and password
    #[arg(long)]
    api_key: bool,
}

impl LoginArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        // Before anything is asked: there must be a place to keep the answer.
        let directory = self.connect.directory()?;
        let (client, url) = self.connect.connect(&self.server)?;
        let token = if self.api_key {
            prompt::secret("the api_key")?.trim().to_owned()
        } else {
            let user_name = self.user.map_or_else(|| ask("Login name"), Ok)?;
            let password = prompt::secret("the password")?.to_string();
            let organization = self.organization.unwrap_or_default();
            let request = LoginRequest { user_name, password, organization };
            let answer = client.operator().login(request).await;
            answer.map_err(|status| wrong(status, "the name or the password is wrong"))?.session_token
        };
        let who = client.with_token(&token).operator().who_am_i(WhoAmIRequest {}).await;
        let who = who.map_err(|status| wrong(status, "the api_key is not valid"))?;
        directory.save(&Session { server: url.as_str().to_owned(), token })?;
        say(signed_in(&who, url.as_str()))
    }
}

fn wrong(status: Status, text: &str) -> OperatorError {
    if status.code == Code::Unauthenticated {
        Status { message: text.to_owned(), ..status }.into()
    } else {
        status.into()
    }
}

/// `fleetd orgs use`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UseArgs {
    #[command(flatten)]
    common: Common,
    /// The organization, by name or id
    organization: String,
}

impl UseArgs {
    pub(crate) async fn run(self) -> Result<(), OperatorError> {
        let connect = &self.common.connect;
        let directory = connect.directory()?;
        let server = directory.load()?.ok_or(OperatorError::NotSignedIn)?.server.clone();
        let request = SelectOrganizationRequest { organization: self.organization };
        let selected = connect.signed_in()?.operator().select_organization(request).await?;
        directory.save(&Session { server: server.clone(), token: selected.session_token.clone() })?;
        let (client, _) = connect.connect(&server)?;
        let who = client.with_token(&selected.session_token).operator().who_am_i(WhoAmIRequest {}).await?;
        if self.common.json {
            return say_json(&who);
        }
        say(signed_in(&who, &server))
    }
}

/// `fleetd passwd`.
#[derive(Debug, Clone, Args)]
pub struct PasswdArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl PasswdArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let client = self.connect.signed_in()?;
        let old_password = prompt::secret("the old password")?.to_string();
        let new_password = new_password()?.to_string();
        client.operator().change_password(ChangePasswordRequest { old_password, new_password }).await?;
        say("the password is changed; your other logins have ended, your api_keys have not")
    }
}

fn signed_in(who: &WhoAmIResponse, server: &str) -> String {
    let by = if who.api_key_digits.is_empty() {
        String::new()
    } else {
        format!(" by api_key {}", who.api_key_digits)
    };
    let others: Vec<_> = who.organizations.iter().filter(|one| one.org_id != who.org_id).collect();
    let also = if others.is_empty() {
        String::new()
    } else {
        let names: Vec<_> = others.iter().map(|one| one.name.as_str()).collect();
        format!("\nalso in: {}", names.join(", "))
    };
    format!("{}{by}, {}, at {server}{also}", who.user_name, who.organization)
}

/// `fleetd logout`.
#[derive(Debug, Clone, Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl LogoutArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let directory = self.connect.directory()?;
        let ended = match self.connect.signed_in() {
            Ok(client) => {
                client.operator().logout(LogoutRequest {}).await.map(drop).map_err(OperatorError::from)
            }
            Err(error) => Err(error),
        };
        // Here it is forgotten in any case.
        directory.forget()?;
        match ended {
            Ok(()) => say("signed out"),
            Err(OperatorError::NotSignedIn) => say("nobody was signed in"),
            // An api_key has no login to end, and a session that is over needs no end.
            Err(OperatorError::Call(status))
                if matches!(status.code, Code::FailedPrecondition | Code::Unauthenticated) =>
            {
                say("signed out")
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) async fn whoami(common: &Common) -> Result<(), OperatorError> {
    let who = common.connect.signed_in()?.operator().who_am_i(WhoAmIRequest {}).await?;
    if common.json {
        return say_json(&who);
    }
    let server =
        common.connect.directory()?.load()?.map(|session| session.server.clone()).unwrap_or_default();
    say(signed_in(&who, &server))
}

/// `fleetd activity`.
#[derive(Debug, Clone, Args)]
pub struct ActivityArgs {
    #[command(flatten)]
    common: Common,
    /// How many lines, at most 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
    limit: i32,
}

impl ActivityArgs {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        let request = ListActivityRequest { page_size: self.limit, page_token: String::new() };
        let answer = self.common.connect.signed_in()?.operator().list_activity(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        let mut table = Table::new(&["AGO", "ACTOR", "WHAT", "AGENT", "DETAIL"]);
        for line in &answer.activities {
            let agent = if line.agent_id == 0 { String::new() } else { line.agent_id.to_string() };
            table.row([
                age(line.at.as_ref()),
                line.actor.clone(),
                line.kind.clone(),
                agent,
                line.detail.clone(),
            ]);
        }
        say_table(&table)
    }
}
