//! The connection to a server, and how a failed call is told to a person.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fleet_agent::server_url::{AllowInsecure, ServerUrl, ServerUrlError};
use fleet_agent::tls::{ClientFiles, TlsError, TlsOptions, client_config};
use fleet_proto::agentadmin::v1::AgentAdminServiceClient;
use fleet_proto::client::{Channel, Status};
use fleet_proto::fleet::v1::{DeviceServiceClient, OperatorServiceClient, TelemetryServiceClient};
use fleet_proto::rpc::Code;

use super::session::{ConfigDir, Session, SessionError};
use crate::server::host::HostError;

/// Where the server is and how it is trusted.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// Where the command line keeps its session
    #[arg(long, value_name = "DIR", global = true, help_heading = "Connection")]
    config_dir: Option<PathBuf>,
    /// Trust only the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection")]
    ca_file: Option<PathBuf>,
    /// Show this certificate to a server that asks for one, PEM
    #[arg(long, value_name = "FILE", global = true, requires = "client_key", help_heading = "Connection")]
    client_cert: Option<PathBuf>,
    /// Its key, PEM, 0600
    #[arg(long, value_name = "FILE", global = true, requires = "client_cert", help_heading = "Connection")]
    client_key: Option<PathBuf>,
    /// Speak plain HTTP to a server that is not on this host: whoever is on the way can take over
    #[arg(long, global = true, help_heading = "Connection")]
    allow_insecure_transport: bool,
}

/// A command did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// Nobody is signed in.
    #[error("not signed in: run fleetd login first")]
    NotSignedIn,
    /// The session could not be kept or read.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server's URL cannot be used.
    #[error("the server's URL: {0}")]
    Url(#[from] ServerUrlError),
    /// TLS cannot be used.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// The server refused or cannot be reached.
    #[error("{0}")]
    Call(#[from] Status),
    /// A prompt was not answered.
    #[error(transparent)]
    Prompt(#[from] fleet_agent::prompt::PromptError),
    /// Standard input or output does not work.
    #[error("standard input or output")]
    Io(#[from] std::io::Error),
    /// An answer cannot be told in JSON.
    #[error("the answer cannot be told in JSON")]
    Json(#[from] serde_json::Error),
    /// What whoever administers the host wanted was not done.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What was asked for is not there, or not clear.
    #[error("{0}")]
    Usage(String),
}

impl OperatorError {
    /// The exit code: 64 wrong use, 75 try again, 77 not allowed, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NotSignedIn => 77,
            Self::Url(_) | Self::Tls(_) | Self::Usage(_) => 64,
            Self::Call(Status { code: Code::Unauthenticated | Code::PermissionDenied, .. }) => 77,
            Self::Call(Status {
                code: Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded,
                ..
            }) => 75,
            Self::Call(Status { code: Code::InvalidArgument, .. }) => 64,
            Self::Host(error) if error.is_usage() => 64,
            Self::Call(_) | Self::Host(_) => 1,
            Self::Session(_) | Self::Prompt(_) | Self::Io(_) | Self::Json(_) => 1,
        })
    }
}

/// A connection with an operator's credentials.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
}

impl ConnectArgs {
    /// Where the session is kept.
    pub(super) fn directory(&self) -> Result<ConfigDir, SessionError> {
        ConfigDir::new(self.config_dir.clone())
    }

    fn tls(&self) -> TlsOptions {
        let client = self.client_cert.clone().zip(self.client_key.clone());
        TlsOptions {
            anchors: self.ca_file.clone().into(),
            client: client.map(|(certificate, key)| ClientFiles { certificate, key }),
        }
    }

    /// A connection to `server` without credentials.
    pub(super) fn connect(&self, server: &str) -> Result<(Client, ServerUrl), OperatorError> {
        let allow = if self.allow_insecure_transport { AllowInsecure::Yes } else { AllowInsecure::No };
        let url = ServerUrl::parse(server, allow)?;
        if url.is_exposed() {
            eprintln!("warning: plain HTTP: whoever is on the way can read the password and take over");
        }
        let tls = url.is_tls().then(|| client_config(&self.tls())).transpose()?;
        Ok((Client { channel: Channel::new(url.uri()?, tls) }, url))
    }

    /// A connection with the session of the last login.
    pub(super) fn signed_in(&self) -> Result<Client, OperatorError> {
        let session: Session = self.directory()?.load()?.ok_or(OperatorError::NotSignedIn)?;
        let (client, _) = self.connect(&session.server)?;
        Ok(client.with_token(&session.token))
    }
}

impl Client {
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { channel: self.channel.with_bearer(token) }
    }

    pub(super) fn operator(&self) -> OperatorServiceClient {
        OperatorServiceClient::new(self.channel.clone())
    }

    pub(super) fn admin(&self) -> AgentAdminServiceClient {
        AgentAdminServiceClient::new(self.channel.clone())
    }

    pub(super) fn devices(&self) -> DeviceServiceClient {
        DeviceServiceClient::new(self.channel.clone())
    }

    pub(super) fn telemetry(&self) -> TelemetryServiceClient {
        TelemetryServiceClient::new(self.channel.clone())
    }
}
