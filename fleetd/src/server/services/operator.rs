//! Operators: set-up, login, organizations, passwords, api_keys, the activity log.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::code::{ApiKey, SessionToken};
use fleet_core::id::UserId;
use fleet_core::name::Name;
use fleet_core::store::Actor;
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{self as fleet, OperatorService};
use fleet_proto::rpc::{Code, Context, Status};
use fleet_store::{
    CreateApiKeyError, CreateSessionError, LogEntry, LogKind, Membership, UserApiKeyRecord, UserSessionRecord,
};
use zeroize::Zeroizing;

use super::super::set_up::{password_failed, user_name};
use super::super::{App, auth, named, store_failed};
use super::{next_page, page_size, page_token};

/// How long a login lasts.
const LOGIN_TTL: Duration = Duration::from_secs(12 * 3600);

pub(super) struct Operators(pub(super) Arc<App>);

impl Operators {
    async fn log(&self, who: &auth::OperatorIdentity, kind: LogKind, detail: Option<String>) {
        let entry = LogEntry { at: self.0.clock.now(), org_id: who.org_id, actor: who.actor(), kind, detail };
        self.0.log(entry).await;
    }

    /// Writes of a wrong password to the log of each of the user's organizations, beside the answer: that must not
    /// take longer for somebody who exists.
    fn note_failure(&self, user: UserId, kind: LogKind, detail: Option<String>) {
        let now = self.0.clock.now();
        let Some(count) = self.0.failed_logins.note(user, now) else { return };
        let times = (count > 1).then(|| format!("{count} times since the line before"));
        let detail: Vec<String> = detail.into_iter().chain(times).collect();
        let detail = (!detail.is_empty()).then(|| detail.join(", "));
        let app = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(error) = app.store.log_of_user(user, Actor::System, kind, detail, now).await {
                let _ = store_failed(error);
            }
        });
    }

    fn token(&self) -> Result<SessionToken, Status> {
        SessionToken::generate(self.0.random.as_ref()).map_err(|error| self.0.refuse(error.into()))
    }
}

fn organization(membership: &Membership) -> fleet::Organization {
    fleet::Organization { org_id: membership.org_id.value(), name: membership.name.as_str().to_owned() }
}

/// Of an organization that is not the caller's nothing shows, not even that there is one.
fn no_such_organization() -> Status {
    Status::new(Code::NotFound, "organization: none of yours has this name or id")
}

/// What the session rested on has ended meanwhile.
fn session_failed(error: CreateSessionError) -> Status {
    match error {
        CreateSessionError::Store(error) => store_failed(error),
        CreateSessionError::NotMember | CreateSessionError::Outdated | _ => Status::unauthenticated(),
    }
}

fn api_key(key: &UserApiKeyRecord) -> fleet::ApiKey {
    fleet::ApiKey {
        digits: key.digits.clone(),
        label: key.label.as_str().to_owned(),
        user_id: key.user_id.value(),
        created_at: Some(timestamp(key.created_at)),
        expires_at: key.expires_at.map(timestamp),
        last_used_at: key.last_used_at.map(timestamp),
    }
}

impl OperatorService for Operators {
    async fn set_up(&self, _: Context, request: fleet::SetUpRequest) -> Result<fleet::SetUpResponse, Status> {
        self.0.set_up(request).await
    }

    async fn login(
        &self,
        _: Context,
        mut request: fleet::LoginRequest,
    ) -> Result<fleet::LoginResponse, Status> {
        let password = Zeroizing::new(std::mem::take(&mut request.password));
        let name = user_name(&request.user_name)?;
        let user = self.0.store.user_by_name(&name).await.map_err(store_failed)?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.0.passwords.check(password, hash).await.map_err(password_failed)?;
        let Some(user) = user else {
            tracing::info!("a login was refused: there is no such user");
            return Err(Status::unauthenticated());
        };
        if !right {
            tracing::info!(user_id = %user.id, "a login was refused: the password is wrong");
            self.note_failure(user.id, LogKind::LoginFailed, Some(user.name));
            return Err(Status::unauthenticated());
        }
        let memberships = self.0.store.memberships(user.id).await.map_err(store_failed)?;
        if memberships.is_empty() {
            tracing::info!(user_id = %user.id, "a login was refused: the user belongs to no organization");
            return Err(Status::unauthenticated());
        }
        let membership = if request.organization.trim().is_empty() {
            memberships.into_iter().next()
        } else {
            named(memberships, &request.organization, |one| (one.org_id, &one.name))
        };
        let membership = membership.ok_or_else(no_such_organization)?;
        let token = self.token()?;
        let now = self.0.clock.now();
        let expires_at = now.saturating_add(LOGIN_TTL);
        let (user_id, org_id) = (user.id, membership.org_id);
        let session = UserSessionRecord { token: token.hash(), user_id, org_id, created_at: now, expires_at };
        self.0.store.create_user_session(session, &user.password_hash).await.map_err(session_failed)?;
        let actor = Actor::User(user_id);
        self.0.log(LogEntry { at: now, org_id, actor, kind: LogKind::Login, detail: None }).await;
        Ok(fleet::LoginResponse {
            session_token: token.expose().to_owned(),
            expires_at: Some(timestamp(expires_at)),
            organization: Some(organization(&membership)),
        })
    }

    async fn select_organization(
        &self,
        context: Context,
        request: fleet::SelectOrganizationRequest,
    ) -> Result<fleet::SelectOrganizationResponse, Status> {
        let who = self.0.operator(&context).await?;
        let Some(session) = &who.session else {
            let text = "an api_key acts for one organization: sign in instead";
            return Err(Status::new(Code::FailedPrecondition, text));
        };
        let memberships = self.0.store.memberships(who.user_id).await.map_err(store_failed)?;
        let membership = named(memberships, &request.organization, |one| (one.org_id, &one.name));
        let membership = membership.ok_or_else(no_such_organization)?;
        let (token, now) = (self.token()?, self.0.clock.now());
        let selected = self.0.store.select_organization(session, token.hash(), membership.org_id, now).await;
        let selected = selected.map_err(session_failed)?;
        // In the log of each of the two it is what the other has no part in.
        self.log(&who, LogKind::Logout, None).await;
        let actor = Actor::User(who.user_id);
        let entry = LogEntry { at: now, org_id: selected.org_id, actor, kind: LogKind::Login, detail: None };
        self.0.log(entry).await;
        Ok(fleet::SelectOrganizationResponse {
            session_token: token.expose().to_owned(),
            expires_at: Some(timestamp(selected.expires_at)),
            organization: Some(organization(&membership)),
        })
    }

    async fn change_password(
        &self,
        context: Context,
        mut request: fleet::ChangePasswordRequest,
    ) -> Result<fleet::ChangePasswordResponse, Status> {
        let old = Zeroizing::new(std::mem::take(&mut request.old_password));
        let new = Zeroizing::new(std::mem::take(&mut request.new_password));
        let who = self.0.operator(&context).await?;
        let Some(session) = &who.session else {
            let text = "an api_key cannot change its owner's password: sign in instead";
            return Err(Status::new(Code::FailedPrecondition, text));
        };
        self.0.password_tries.take(who.user_id, self.0.clock.monotonic())?;
        let user = self.0.store.user(who.user_id).await.map_err(store_failed)?;
        let user = user.ok_or_else(Status::unauthenticated)?;
        let hash = Some(user.password_hash.clone());
        if !self.0.passwords.check(old, hash).await.map_err(password_failed)? {
            self.note_failure(user.id, LogKind::PasswordChangeFailed, None);
            return Err(Status::new(Code::PermissionDenied, "old_password: is not the password"));
        }
        let hash = self.0.passwords.hash(new, self.0.random.as_ref()).await.map_err(password_failed)?;
        let now = self.0.clock.now();
        let changed = self.0.store.change_password(user.id, &user.password_hash, &hash, session, now).await;
        if !changed.map_err(store_failed)? {
            return Err(Status::new(Code::Aborted, "the password was changed by another call meanwhile"));
        }
        Ok(fleet::ChangePasswordResponse {})
    }

    async fn logout(
        &self,
        context: Context,
        _: fleet::LogoutRequest,
    ) -> Result<fleet::LogoutResponse, Status> {
        let who = self.0.operator(&context).await?;
        let Some(session) = &who.session else {
            let text = "an api_key has no login to end; revoke it instead";
            return Err(Status::new(Code::FailedPrecondition, text));
        };
        self.0.store.end_user_session(session).await.map_err(store_failed)?;
        self.log(&who, LogKind::Logout, None).await;
        Ok(fleet::LogoutResponse {})
    }

    async fn who_am_i(
        &self,
        context: Context,
        _: fleet::WhoAmIRequest,
    ) -> Result<fleet::WhoAmIResponse, Status> {
        let who = self.0.operator(&context).await?;
        let mut memberships = self.0.store.memberships(who.user_id).await.map_err(store_failed)?;
        if who.session.is_none() {
            // Whoever holds an api_key holds it for one organization, and learns of no other.
            memberships.retain(|membership| membership.org_id == who.org_id);
        }
        let name = memberships.iter().find(|membership| membership.org_id == who.org_id);
        let name = name.ok_or_else(Status::unauthenticated)?.name.as_str().to_owned();
        Ok(fleet::WhoAmIResponse {
            user_id: who.user_id.value(),
            user_name: who.user_name,
            org_id: who.org_id.value(),
            organization: name,
            api_key_digits: who.digits.unwrap_or_default(),
            organizations: memberships.iter().map(organization).collect(),
        })
    }

    async fn create_api_key(
        &self,
        context: Context,
        request: fleet::CreateApiKeyRequest,
    ) -> Result<fleet::CreateApiKeyResponse, Status> {
        let who = self.0.operator(&context).await?;
        let label =
            Name::new(request.label).map_err(|error| Status::invalid(format_args!("label: {error}")))?;
        let ttl = request
            .ttl
            .map(|ttl| Duration::try_from(ttl).map_err(|_| Status::invalid("ttl: must not be negative")));
        let ttl = ttl.transpose()?;
        let now = self.0.clock.now();
        // The 8 digits are random and stand in listings: on a collision others are drawn.
        for _ in 0..8 {
            let key =
                ApiKey::generate(self.0.random.as_ref()).map_err(|error| self.0.refuse(error.into()))?;
            let record = UserApiKeyRecord {
                hash: key.hash(),
                digits: key.digits().to_owned(),
                label: label.clone(),
                user_id: who.user_id,
                org_id: who.org_id,
                created_at: now,
                expires_at: ttl.map(|ttl| now.saturating_add(ttl)),
                last_used_at: None,
            };
            let info = api_key(&record);
            match self.0.store.create_user_api_key(record).await {
                Ok(()) => {
                    self.log(&who, LogKind::ApiKeyCreated, Some(info.digits.clone())).await;
                    return Ok(fleet::CreateApiKeyResponse {
                        api_key: key.expose().to_owned(),
                        info: Some(info),
                    });
                }
                Err(CreateApiKeyError::DigitsTaken) => {}
                Err(CreateApiKeyError::Store(error)) => return Err(store_failed(error)),
                Err(error) => return Err(Status::new(Code::FailedPrecondition, error.to_string())),
            }
        }
        Err(Status::unavailable())
    }

    async fn list_api_keys(
        &self,
        context: Context,
        _: fleet::ListApiKeysRequest,
    ) -> Result<fleet::ListApiKeysResponse, Status> {
        let who = self.0.operator(&context).await?;
        let keys = self.0.store.user_api_keys(who.org_id).await.map_err(store_failed)?;
        Ok(fleet::ListApiKeysResponse { api_keys: keys.iter().map(api_key).collect() })
    }

    async fn revoke_api_key(
        &self,
        context: Context,
        request: fleet::RevokeApiKeyRequest,
    ) -> Result<fleet::RevokeApiKeyResponse, Status> {
        let who = self.0.operator(&context).await?;
        if !self.0.store.revoke_user_api_key(who.org_id, &request.digits).await.map_err(store_failed)? {
            return Err(Status::new(Code::NotFound, "no such api_key"));
        }
        self.log(&who, LogKind::ApiKeyRevoked, Some(request.digits)).await;
        Ok(fleet::RevokeApiKeyResponse {})
    }

    async fn list_activity(
        &self,
        context: Context,
        request: fleet::ListActivityRequest,
    ) -> Result<fleet::ListActivityResponse, Status> {
        let who = self.0.operator(&context).await?;
        let size = page_size(request.page_size);
        let before = page_token(&request.page_token)?;
        let found = self.0.store.activity(who.org_id, before, size.saturating_add(1)).await;
        let mut rows = found.map_err(store_failed)?;
        let next_page_token = next_page(&mut rows, size, |line| line.id);
        let activities = rows.into_iter().map(|line| fleet::Activity {
            at: Some(timestamp(line.at)),
            actor: line.actor,
            kind: line.kind,
            agent_id: line.agent_id.map_or(0, |id| id.value()),
            pending_enrollment_id: line.enrollment_id.map_or(0, |id| id.value()),
            device_id: line.device_id.map_or(0, |id| id.value()),
            detail: line.detail.unwrap_or_default(),
        });
        Ok(fleet::ListActivityResponse { activities: activities.collect(), next_page_token })
    }
}
