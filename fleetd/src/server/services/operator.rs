//! Operators: set-up, login, api_keys, the activity log.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::code::{ApiKey, SessionToken};
use fleet_core::name::Name;
use fleet_core::store::Actor;
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{self as fleet, OperatorService};
use fleet_proto::rpc::{Code, Context, Status};
use fleet_store::{CreateApiKeyError, LogEntry, LogKind, UserApiKeyRecord, UserSessionRecord};
use zeroize::Zeroizing;

use super::super::set_up::{password_failed, user_name};
use super::super::{App, auth, store_failed};
use super::{next_page, page_size, page_token};

/// How long a login lasts.
const LOGIN_TTL: Duration = Duration::from_secs(12 * 3600);

pub(super) struct Operators(pub(super) Arc<App>);

impl Operators {
    async fn log(&self, who: &auth::OperatorIdentity, kind: LogKind, detail: Option<String>) {
        let entry = LogEntry { at: self.0.clock.now(), org_id: who.org_id, actor: who.actor(), kind, detail };
        self.0.log(entry).await;
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
        let now = self.0.clock.now();
        let Some(user) = user.filter(|_| right) else {
            tracing::info!("a login was refused");
            if let Some(count) = self.0.failed_logins.note(now)
                && let Some(organization) = self.0.store.organization().await.map_err(store_failed)?
            {
                let (org_id, kind) = (organization.record.id, LogKind::LoginFailed);
                // Never the name that was tried: it may be a password, typed into the wrong field.
                let detail = (count > 1).then(|| format!("{count} times since the line before"));
                self.0.log(LogEntry { at: now, org_id, actor: Actor::System, kind, detail }).await;
            }
            return Err(Status::unauthenticated());
        };
        let token =
            SessionToken::generate(self.0.random.as_ref()).map_err(|error| self.0.refuse(error.into()))?;
        let expires_at = now.saturating_add(LOGIN_TTL);
        let session =
            UserSessionRecord { token: token.hash(), user_id: user.id, created_at: now, expires_at };
        self.0.store.create_user_session(session).await.map_err(store_failed)?;
        let actor = Actor::User(user.id);
        let entry = LogEntry { at: now, org_id: user.org_id, actor, kind: LogKind::Login, detail: None };
        self.0.log(entry).await;
        Ok(fleet::LoginResponse {
            session_token: token.expose().to_owned(),
            expires_at: Some(timestamp(expires_at)),
        })
    }

    async fn logout(
        &self,
        context: Context,
        _: fleet::LogoutRequest,
    ) -> Result<fleet::LogoutResponse, Status> {
        let who = auth::operator(&context)?;
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
        let who = auth::operator(&context)?;
        let organization = self.0.store.organization().await.map_err(store_failed)?;
        let organization = organization.filter(|found| found.record.id == who.org_id);
        let name = organization.map(|found| found.record.manifest.manifest().org_name.as_str().to_owned());
        Ok(fleet::WhoAmIResponse {
            user_id: who.user_id.value(),
            user_name: who.user_name,
            org_id: who.org_id.value(),
            organization: name.unwrap_or_default(),
            api_key_digits: who.digits.unwrap_or_default(),
        })
    }

    async fn create_api_key(
        &self,
        context: Context,
        request: fleet::CreateApiKeyRequest,
    ) -> Result<fleet::CreateApiKeyResponse, Status> {
        let who = auth::operator(&context)?;
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
        let who = auth::operator(&context)?;
        let keys = self.0.store.user_api_keys(who.org_id).await.map_err(store_failed)?;
        Ok(fleet::ListApiKeysResponse { api_keys: keys.iter().map(api_key).collect() })
    }

    async fn revoke_api_key(
        &self,
        context: Context,
        request: fleet::RevokeApiKeyRequest,
    ) -> Result<fleet::RevokeApiKeyResponse, Status> {
        let who = auth::operator(&context)?;
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
        let who = auth::operator(&context)?;
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
