//! Organizations and their operators, by whoever administers the host: on the files and the database, not over the
//! network. The server may run meanwhile.

use std::sync::Arc;

use clap::{Args, Subcommand};
use fleet_agent::clock::SystemClock;
use fleet_core::name::Name;
use fleet_core::random::OsRandom;
use fleet_proto::fleet::v1::SetUpRequest;
use fleet_proto::validate::Validate as _;
use fleet_store::Account;
use zeroize::Zeroizing;

use super::place::PlaceArgs;
use crate::operator::table::Table;
use crate::operator::{OperatorError, UseArgs, age_of, new_password, say, say_table};
use crate::server::host::{Host, HostError, Listed};

/// `fleetd orgs`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum OrgsCommand {
    /// Make an organization, on the server's host
    Create(CreateArgs),
    /// List the organizations of the installation, on the server's host
    List(ListArgs),
    /// Make somebody an operator of an organization, on the server's host
    Add(AddArgs),
    /// End that somebody is an operator of an organization, on the server's host
    Remove(RemoveArgs),
    /// Give an operator a new password and end all their logins, on the server's host
    SetPassword(SetPasswordArgs),
    /// Go on in another of your organizations
    Use(UseArgs),
}

impl OrgsCommand {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        match self {
            Self::Create(args) => args.run().await,
            Self::List(args) => args.run().await,
            Self::Add(args) => args.run().await,
            Self::Remove(args) => args.run().await,
            Self::SetPassword(args) => args.run().await,
            Self::Use(args) => args.run().await,
        }
    }
}

async fn open(place: PlaceArgs) -> Result<Host, OperatorError> {
    let config = place.config().map_err(|errors| OperatorError::Usage(errors.to_string()))?;
    Ok(Host::open(config, Arc::new(SystemClock), Arc::new(OsRandom)).await?)
}

/// A new password that keeps the rules, asked for.
fn password() -> Result<Zeroizing<String>, OperatorError> {
    let password = new_password()?;
    check("-", &password)?;
    Ok(password)
}

/// The rules are those of the set-up.
fn check(organization: &str, password: &str) -> Result<(), OperatorError> {
    let request = SetUpRequest {
        setup_token: "-".repeat(20),
        organization: organization.to_owned(),
        user_name: "-".to_owned(),
        password: password.to_owned(),
    };
    request.validate().map_err(|violations| OperatorError::Usage(violations.to_string()))
}

/// The account of `user`, or one to be made, whose password is asked for.
async fn account(host: &Host, user: &str) -> Result<Account, OperatorError> {
    match host.account(user).await? {
        Some(known) => Ok(Account::Existing(known.id)),
        None => Ok(host.new_account(user, password()?).await?),
    }
}

/// `fleetd orgs create`.
#[derive(Debug, Clone, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Its name, which agents show before they join
    name: String,
    /// The login name of its first operator; for one that is new a password is asked for
    #[arg(long, value_name = "USER")]
    operator: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl CreateArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let name = self.name.trim();
        check(name, "----------------")?;
        let name = Name::new(name).map_err(|error| OperatorError::Usage(format!("organization: {error}")))?;
        let host = open(self.place).await?;
        host.check_name(&name).await?;
        let operator = account(&host, &self.operator).await?;
        let made = host.create(name, operator).await?;
        host.close().await;
        if self.json {
            return say(json(&made));
        }
        say(format_args!(
            "{} is made, its id is {}. Its root key is {}:",
            made.name,
            made.id,
            made.root_file.display()
        ))?;
        say("back it up, and copy it to the other servers of this installation, if there are any.")
    }
}

/// `fleetd orgs list`.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let host = open(self.place).await?;
        let listed = host.organizations().await?;
        host.close().await;
        if self.json {
            let all: Vec<_> = listed.iter().map(json).collect();
            return say(serde_json::json!({ "organizations": all }));
        }
        let mut table = Table::new(&["ID", "NAME", "MADE", "OPERATORS"]);
        for one in listed {
            let operators = one.operators.join(", ");
            table.row([one.id.to_string(), one.name.as_str().to_owned(), age_of(one.created_at), operators]);
        }
        say_table(&table)
    }
}

fn json(one: &Listed) -> serde_json::Value {
    serde_json::json!({
        "orgId": one.id.to_string(),
        "name": one.name.as_str(),
        "operators": one.operators,
        "rootKey": one.root_file.display().to_string(),
    })
}

/// `fleetd orgs add`.
#[derive(Debug, Clone, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The organization, by name or id
    organization: String,
    /// The login name; for one that is new a password is asked for
    user: String,
}

impl AddArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let host = open(self.place).await?;
        host.find(&self.organization).await?;
        let operator = account(&host, &self.user).await?;
        let name = host.add(&self.organization, operator).await?;
        host.close().await;
        say(format_args!("{} is an operator of {name}", self.user.trim().to_lowercase()))
    }
}

/// `fleetd orgs remove`.
#[derive(Debug, Clone, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The organization, by name or id
    organization: String,
    /// The login name
    user: String,
}

impl RemoveArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let host = open(self.place).await?;
        let (name, is_operator_left) = host.remove(&self.organization, &self.user).await?;
        host.close().await;
        if !is_operator_left {
            eprintln!("warning: {name} has no operator now: fleetd orgs add gives it one");
        }
        let user = self.user.trim().to_lowercase();
        say(format_args!(
            "{user} is no operator of {name} any more; their logins and api_keys for it have ended"
        ))
    }
}

/// `fleetd orgs set-password`.
#[derive(Debug, Clone, Args)]
pub(super) struct SetPasswordArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The login name
    user: String,
}

impl SetPasswordArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let host = open(self.place).await?;
        if host.account(&self.user).await?.is_none() {
            return Err(HostError::NoOperator { name: self.user }.into());
        }
        let name = host.set_password(&self.user, password()?).await?;
        host.close().await;
        say(format_args!("{name} has a new password; their logins have ended, their api_keys have not"))
    }
}
