//! First-run set-up: the first organization, its manifest, its first operator and, in combined mode, its local agent, all in
//! one transaction.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use fleet_core::code::{SecretHash, SessionToken};
use fleet_core::driver::{Founding, ServerError};
use fleet_core::id::{OrgId, UserId};
use fleet_core::name::Name;
use fleet_core::random::{RandomError, SecureRandom};
use fleet_core::store::{Actor, Changeset, CommitError, Put};
use fleet_proto::fleet::v1::{SetUpRequest, SetUpResponse};
use fleet_proto::rpc::{Code, Status};
use fleet_store::{LogEntry, LogKind, SetUpError, UserRecord};
use zeroize::Zeroizing;

use super::passwords::PasswordError;
use super::{App, store_failed};

/// What the set-up link carries. Each start of a server that is not set up makes a new one; it is in memory only.
#[derive(Debug, Default)]
pub(super) struct SetUpToken(Mutex<Option<SecretHash>>);

impl SetUpToken {
    /// Makes a token for a server that is not set up.
    pub(super) fn issue(&self, random: &dyn SecureRandom) -> Result<SessionToken, RandomError> {
        let token = SessionToken::generate(random)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.hash());
        Ok(token)
    }

    /// Whether `token` is the one. Compared by hash, which tells a guesser nothing by its timing.
    pub(super) fn accepts(&self, token: &str) -> bool {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expected.is_some_and(|expected| expected == SecretHash::of(token.trim()))
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The link that a server which is not set up prints. Whoever has it becomes its first operator.
pub(super) struct SetUpLink(Zeroizing<String>);

impl SetUpLink {
    /// The link at an origin, which is empty where only a path can be told.
    pub(super) fn new(origin: &str, token: &SessionToken) -> Self {
        Self(Zeroizing::new(format!("{origin}/setup/{}", token.expose())))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SetUpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetUpLink(..)")
    }
}

/// A login name: 1 to 64 characters; case does not matter.
pub(crate) fn user_name(text: &str) -> Result<String, Status> {
    let name = Name::new(text.trim()).map_err(|error| Status::invalid(format_args!("user_name: {error}")))?;
    let name = name.as_str().to_lowercase();
    if name.chars().count() > 64 {
        return Err(Status::invalid("user_name: must be 1 to 64 characters in lower case"));
    }
    Ok(name)
}

/// How a password that could not be hashed or checked looks to the peer.
pub(super) fn password_failed(error: PasswordError) -> Status {
    match error {
        PasswordError::Busy => Status {
            retry_after: Some(std::time::Duration::from_secs(2)),
            ..Status::new(Code::ResourceExhausted, error.to_string())
        },
        PasswordError::Hash(_)
        | PasswordError::Malformed(_)
        | PasswordError::Random(_)
        | PasswordError::Lost(_) => {
            tracing::error!(%error, "a password could not be processed");
            Status::unavailable()
        }
    }
}

impl App {
    /// SetUp.
    pub(super) async fn set_up(&self, mut request: SetUpRequest) -> Result<SetUpResponse, Status> {
        let password = Zeroizing::new(std::mem::take(&mut request.password));
        if !self.set_up.accepts(&request.setup_token) {
            tracing::info!("a set-up was refused: the token is not the one of the link");
            return Err(Status::unauthenticated());
        }
        let organization = Name::new(request.organization.trim())
            .map_err(|error| Status::invalid(format_args!("organization: {error}")))?;
        let name = user_name(&request.user_name)?;
        let random = self.random.as_ref();
        let password_hash = self.passwords.hash(password, random).await.map_err(password_failed)?;
        let org_id = OrgId::random(random).map_err(|error| self.refuse(error.into()))?;
        let user_id = UserId::random(random).map_err(|error| self.refuse(error.into()))?;
        let founding = Founding { org_id, name: organization, recovery: None, actor: Actor::System };
        let founded = match self.driver.found_organization(founding).await {
            Ok(founded) => founded,
            // Another set-up was first: the root is its organization's.
            Err(_) if self.store.organization().await.map_err(store_failed)?.is_some() => {
                return Err(self.already());
            }
            Err(error) => return Err(self.refuse(error)),
        };
        let mut change: Changeset = founded.change().clone();
        let root = self.keys.roots.root(org_id).await.map_err(|error| self.refuse(error.into()))?;
        if let (Some(local), Some(root)) = (&self.local, root) {
            let now = self.clock.now();
            let name = Name::new(super::local::NAME).map_err(|_| Status::internal())?;
            let record = local.record(org_id, name, root.as_ref(), now, random).await;
            let record = record.map_err(|error| self.refuse(error))?;
            change.agent = Some(Put { record, expected: None });
        }
        let now = self.clock.now();
        let user = UserRecord { id: user_id, name, password_hash, created_at: now };
        match self.store.set_up(change, user).await {
            Ok(()) => {}
            Err(SetUpError::AlreadySetUp) => return Err(self.already()),
            Err(SetUpError::Refused(error)) => return Err(self.refuse(refused(error))),
            Err(SetUpError::Store(error)) => return Err(store_failed(error)),
            Err(error) => {
                tracing::error!(%error, "the set-up failed");
                return Err(Status::internal());
            }
        }
        self.set_up.end();
        self.founded.send_replace(true);
        let entry =
            LogEntry { at: now, org_id, actor: Actor::User(user_id), kind: LogKind::SetUp, detail: None };
        self.log(entry).await;
        tracing::info!(%org_id, %user_id, "the organization is set up");
        Ok(SetUpResponse { org_id: org_id.value(), user_id: user_id.value() })
    }

    /// Another server of this installation, or another call, was first; the link is of no use any more.
    fn already(&self) -> Status {
        self.set_up.end();
        Status::new(Code::FailedPrecondition, "this server is set up already")
    }

    /// Writes a line to the activity log. What was done stays done if that fails.
    pub(super) async fn log(&self, entry: LogEntry) {
        if let Err(error) = self.store.log(entry).await {
            let _ = store_failed(error);
        }
    }
}

fn refused(error: CommitError) -> ServerError {
    match error {
        CommitError::Store(error) => error.into(),
        CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. } | _ => {
            ServerError::Contention
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::{Secrets, SeededRandom};

    use super::*;

    #[test]
    fn debug_of_the_link_shows_no_token() {
        let token = SessionToken::generate(&SeededRandom::new(1)).unwrap();
        let secrets = Secrets::of([("the token", token.expose())]);
        let link = SetUpLink::new("http://127.0.0.1:8420", &token);
        assert!(link.expose().ends_with(token.expose()));
        insta::assert_snapshot!(secrets.unsaid(&link), @"SetUpLink(..)");
    }
}
