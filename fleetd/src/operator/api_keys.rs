//! api_keys for scripts.

use clap::{Args, Subcommand};
use fleet_proto::fleet::v1::{CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest};

use super::table::Table;
use super::{Common, OperatorError, age, say, say_json, say_table};

/// `fleetd api-keys`.
#[derive(Debug, Clone, Subcommand)]
pub enum ApiKeysCommand {
    /// Make an api_key; it is shown once
    Create(CreateArgs),
    /// List api_keys
    List(Common),
    /// Revoke an api_key
    Revoke(RevokeArgs),
}

impl ApiKeysCommand {
    pub(super) async fn run(self) -> Result<(), OperatorError> {
        match self {
            Self::Create(args) => args.run().await,
            Self::List(common) => list(&common).await,
            Self::Revoke(args) => args.run().await,
        }
    }
}

/// `fleetd api-keys create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    common: Common,
    /// What it is for
    label: String,
    /// After how many days it expires; never if not given
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: Option<i64>,
}

impl CreateArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let ttl =
            self.days.map(|days| prost_types::Duration { seconds: days.saturating_mul(86_400), nanos: 0 });
        let request = CreateApiKeyRequest { label: self.label, ttl };
        let made = self.common.connect.signed_in()?.operator().create_api_key(request).await?;
        if self.common.json {
            return say_json(&made);
        }
        say(&made.api_key)
    }
}

async fn list(common: &Common) -> Result<(), OperatorError> {
    let keys = common.connect.signed_in()?.operator().list_api_keys(ListApiKeysRequest {}).await?;
    if common.json {
        return say_json(&keys);
    }
    let mut table = Table::new(&["DIGITS", "LABEL", "MADE", "USED"]);
    for key in &keys.api_keys {
        let made = age(key.created_at.as_ref());
        table.row([key.digits.clone(), key.label.clone(), made, age(key.last_used_at.as_ref())]);
    }
    say_table(&table)
}

/// `fleetd api-keys revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    common: Common,
    /// Its 8 digits, as the list shows them
    digits: String,
}

impl RevokeArgs {
    async fn run(self) -> Result<(), OperatorError> {
        let request = RevokeApiKeyRequest { digits: self.digits };
        let answer = self.common.connect.signed_in()?.operator().revoke_api_key(request).await?;
        if self.common.json {
            return say_json(&answer);
        }
        say("the api_key is revoked")
    }
}
