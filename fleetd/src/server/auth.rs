//! Who calls: checked before any body is read.
//!
//! Every procedure has one [`Guard`]; one that is in no list is nobody's to call. The identity that is found goes
//! into the request's extensions, and services take it from there, never from a message.

use fleet_core::code::{ApiKey, SecretHash, SessionToken};
use fleet_core::enrollment::server::Operator;
use fleet_core::handshake::server::AgentIdentity;
use fleet_core::id::{OrgId, UserId};
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::Actor;
use fleet_core::time::UnixMillis;
use fleet_proto::agentadmin::v1::AGENT_ADMIN_SERVICE_PROCEDURES;
use fleet_proto::agentgateway::v1::AGENT_GATEWAY_SERVICE_PROCEDURES;
use fleet_proto::fleet::v1::{
    DEVICE_SERVICE_PROCEDURES, OPERATOR_SERVICE_PROCEDURES, TELEMETRY_SERVICE_PROCEDURES,
};
use fleet_proto::grpc::health::v1::HEALTH_PROCEDURES;
use fleet_proto::rpc::{Context, Status};

use super::App;

/// What a procedure asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every guard")]
pub enum Guard {
    /// Nothing: whoever calls is counted by address before anything is done.
    Open,
    /// What the message carries: a code, an api_key, a challenge. Whoever calls is counted by address if that is refused.
    Proof,
    /// An agent's session token.
    Agent,
    /// An operator's session token or api_key.
    Operator,
}

/// Procedures that authenticate by what they carry, and those of health probes, which carry nothing.
pub(super) const OPEN: [&str; 8] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
    "fleet.v1.OperatorService/SetUp",
    "fleet.v1.OperatorService/Login",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
];

/// Those of them whose messages carry an agent's credentials.
const PROOFS: [&str; 3] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
];

/// The guard of a path, `/package.Service/Method`; `None` if nobody may call it.
#[must_use]
pub fn guard_of(path: &str) -> Option<Guard> {
    let procedure = path.strip_prefix('/')?;
    if PROOFS.contains(&procedure) {
        return Some(Guard::Proof);
    }
    if OPEN.contains(&procedure) {
        return Some(Guard::Open);
    }
    if procedure.starts_with("grpc.reflection.") {
        // The descriptors are public with the source; a stream that anybody may hold open is not.
        return Some(Guard::Operator);
    }
    if AGENT_GATEWAY_SERVICE_PROCEDURES.contains(&procedure) {
        return Some(Guard::Agent);
    }
    let operators = [
        AGENT_ADMIN_SERVICE_PROCEDURES.as_slice(),
        &OPERATOR_SERVICE_PROCEDURES,
        &DEVICE_SERVICE_PROCEDURES,
        &TELEMETRY_SERVICE_PROCEDURES,
    ];
    operators.iter().any(|service| service.contains(&procedure)).then_some(Guard::Operator)
}

/// The procedure of a path, for metrics; `None` for what is not ours.
pub(super) fn procedure(path: &str) -> Option<&'static str> {
    let procedure = path.strip_prefix('/')?;
    let services: [&[&'static str]; 6] = [
        &AGENT_GATEWAY_SERVICE_PROCEDURES,
        &AGENT_ADMIN_SERVICE_PROCEDURES,
        &OPERATOR_SERVICE_PROCEDURES,
        &DEVICE_SERVICE_PROCEDURES,
        &TELEMETRY_SERVICE_PROCEDURES,
        &HEALTH_PROCEDURES,
    ];
    services.into_iter().flatten().copied().find(|known| *known == procedure)
}

/// What an operator showed, as it is stored.
#[derive(Debug, Clone, Copy)]
enum Credential {
    Session(SecretHash),
    Key(SecretHash),
}

/// An operator who called.
#[derive(Debug, Clone)]
pub(crate) struct OperatorIdentity {
    pub(crate) user_id: UserId,
    pub(crate) user_name: String,
    /// The one organization that the call acts for.
    pub(crate) org_id: OrgId,
    credential: Credential,
    /// The login that made the call; `None` for an api_key.
    pub(crate) session: Option<SecretHash>,
    /// The digits of the api_key that made the call.
    pub(crate) digits: Option<String>,
}

impl OperatorIdentity {
    pub(crate) fn actor(&self) -> Actor {
        match &self.digits {
            Some(digits) => Actor::Key(digits.clone()),
            None => Actor::User(self.user_id),
        }
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator { org_id: self.org_id, actor: self.actor() }
    }
}

/// The agent of a call that [`Guard::Agent`] let through.
pub(crate) fn agent(context: &Context) -> Result<AgentIdentity, Status> {
    context.extension::<AgentIdentity>().cloned().ok_or_else(Status::unauthenticated)
}

/// Why a call was refused, for the log; whoever finds it in a request decides whether it is said.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    error: String,
    cause: Option<String>,
}

impl Refused {
    /// Writes it to the log.
    pub(crate) fn say(&self) {
        tracing::info!(error = self.error, cause = self.cause, "a call was refused");
    }
}

impl App {
    /// The operator of a call that [`Guard::Operator`] let through, if their credential still holds: the guard looked at
    /// it before the message came, and whoever was removed since must not act by a message that was held back.
    pub(crate) async fn operator(&self, context: &Context) -> Result<OperatorIdentity, Status> {
        let shown = context.extension::<OperatorIdentity>().ok_or_else(Status::unauthenticated)?;
        let now = self.clock.now();
        match shown.credential {
            Credential::Session(token) => self.operator_by_session(&token, now).await,
            Credential::Key(key) => self.operator_by_key(&key, now).await,
        }
    }

    /// Finds out who calls and notes it in the request.
    pub(crate) async fn admit(
        &self,
        guard: Guard,
        headers: &http::HeaderMap,
        extensions: &mut http::Extensions,
    ) -> Result<(), Status> {
        match guard {
            Guard::Open | Guard::Proof => {}
            Guard::Agent => {
                let token = SessionToken::hash_of(bearer(headers)?).map_err(|_| Status::unauthenticated())?;
                match self.driver.authenticate(&token).await {
                    Ok(identity) => {
                        extensions.insert(identity);
                    }
                    Err(error) => {
                        let (status, refused) = self.judge(error);
                        if let Some(refused) = refused {
                            extensions.insert(refused);
                        }
                        return Err(status);
                    }
                }
            }
            Guard::Operator => {
                extensions.insert(self.operator_by(bearer(headers)?).await?);
            }
        }
        Ok(())
    }

    pub(crate) async fn operator_by(&self, token: &str) -> Result<OperatorIdentity, Status> {
        let now = self.clock.now();
        if let Ok(token) = SessionToken::hash_of(token) {
            return self.operator_by_session(&token, now).await;
        }
        let key = ApiKey::parse(token).map_err(|_| Status::unauthenticated())?;
        self.operator_by_key(&key.hash(), now).await
    }

    async fn operator_by_session(
        &self,
        token: &SecretHash,
        now: UnixMillis,
    ) -> Result<OperatorIdentity, Status> {
        let found = self.store.user_by_session(token, now).await.map_err(super::store_failed)?;
        let (session, user) = found.ok_or_else(Status::unauthenticated)?;
        Ok(OperatorIdentity {
            user_id: user.id,
            user_name: user.name,
            org_id: session.org_id,
            credential: Credential::Session(session.token),
            session: Some(session.token),
            digits: None,
        })
    }

    async fn operator_by_key(&self, key: &SecretHash, now: UnixMillis) -> Result<OperatorIdentity, Status> {
        let found = self.store.user_by_api_key(key, now).await.map_err(super::store_failed)?;
        let (record, user) = found.ok_or_else(Status::unauthenticated)?;
        Ok(OperatorIdentity {
            user_id: user.id,
            user_name: user.name,
            org_id: record.org_id,
            credential: Credential::Key(*key),
            session: None,
            digits: Some(record.digits),
        })
    }

    /// A failed call of the driver as the peer sees it. The cause goes to the log.
    pub(crate) fn refuse(&self, error: fleet_core::driver::ServerError) -> Status {
        let (status, refused) = self.judge(error);
        if let Some(refused) = refused {
            refused.say();
        }
        status
    }

    /// A failed call of the driver as the peer sees it. A fault of the server goes to the log; what is the caller's is
    /// returned, since callers can make any number of those.
    pub(crate) fn judge(&self, error: fleet_core::driver::ServerError) -> (Status, Option<Refused>) {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = error.to_string();
        let refusal = Refusal::from(error);
        if matches!(refusal.code, Code::Internal | Code::Unavailable) {
            tracing::error!(error = text, cause, "a call failed");
            self.metrics.refused(refusal.code);
            return (refusal.into(), None);
        }
        self.metrics.refused(refusal.code);
        (refusal.into(), Some(Refused { error: text, cause }))
    }
}

fn bearer(headers: &http::HeaderMap) -> Result<&str, Status> {
    let value = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) =
        value.and_then(|value| value.split_once(' ')).ok_or_else(Status::unauthenticated)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Status::unauthenticated());
    }
    Ok(token.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 4] = ["agentadmin.v1", "agentgateway.v1", "fleet.v1", "grpc.health.v1"];

    /// Every procedure that is served, with what guards it, as docs/architecture.md has it.
    fn table() -> Vec<String> {
        let mut rows = Vec::new();
        for service in fleet_proto::DESCRIPTORS.services().filter(|s| OURS.contains(&s.package_name())) {
            for method in service.methods() {
                let procedure = format!("{}/{}", service.full_name(), method.name());
                let path = format!("/{procedure}");
                let guard = match guard_of(&path).unwrap_or_else(|| panic!("{procedure} has no guard")) {
                    Guard::Open => "open",
                    Guard::Proof => "proof",
                    Guard::Agent => "agent",
                    Guard::Operator => "operator",
                };
                assert_eq!(super::procedure(&path), Some(procedure.as_str()), "it is counted by name");
                let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => "one message",
                    (true, false) => "upload stream",
                    (false, true) => "download stream",
                    (true, true) => "both ways",
                };
                // What anybody may call takes short messages only.
                let longest = if OPEN.contains(&procedure.as_str()) { "16 KiB" } else { "1 MiB + 64 KiB" };
                rows.push(format!("| `{procedure}` | {shape} | {guard} | {longest} |"));
            }
        }
        for version in ["v1", "v1alpha"] {
            let procedure = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            assert_eq!(guard_of(&format!("/{procedure}")), Some(Guard::Operator));
            rows.push(format!("| `{procedure}` | both ways | operator | 1 MiB + 64 KiB |"));
        }
        rows.sort();
        rows
    }

    #[test]
    fn every_procedure_is_listed_with_its_guard() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/architecture.md");
        let document = std::fs::read_to_string(document).unwrap();
        let listed: Vec<_> = document
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains(".v1") && line.contains('/'))
            .filter(|line| line.ends_with("KiB |"))
            .collect();
        let table = table();
        assert!(
            listed == table,
            "decide who may call each procedure, then let docs/architecture.md say so:\n{}",
            table.join("\n")
        );
        let limits = fleet_proto::rpc::Limits::default();
        assert_eq!(limits.small_message_bytes, 16 * 1024);
        assert_eq!(limits.message_bytes, (1 << 20) + (64 << 10));
    }

    #[test]
    fn what_is_no_procedure_is_nobodys_to_call() {
        for open in OPEN {
            assert!(procedure(&format!("/{open}")).is_some(), "{open} is no procedure");
        }
        for path in
            ["/", "", "/fleet.v1.OperatorService/Nothing", "fleet.v1.OperatorService/Login", "/x/../y"]
        {
            assert_eq!(guard_of(path), None, "{path}");
        }
    }
}
