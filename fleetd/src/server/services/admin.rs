//! Enrollments and agents.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::certificate::AgentCertificate;
use fleet_core::enrollment::server::{Confirm, CreateCode, Revoke};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::id::{AgentId, EnrollmentId};
use fleet_core::keys::Signature;
use fleet_core::store::{AgentKind, AgentRecord, AgentStatus, EnrollmentRecord, EnrollmentState};
use fleet_core::time::UnixMillis;
use fleet_proto::agentadmin::v1::{self as admin, AgentAdminService};
use fleet_proto::agentgateway::v1::EnrollmentStatus;
use fleet_proto::convert::timestamp;
use fleet_proto::rpc::{Code, Context, Status};
use fleet_store::{AgentFilter, AgentListing};

use super::super::connections::Subject;
use super::super::streams::End;
use super::super::{App, store_failed};
use super::{id, next_page, page_size, page_token};

/// An agent that was not heard of for so long is not online.
const ONLINE: Duration = Duration::from_secs(60);

pub(super) struct Admin(pub(super) Arc<App>);

impl Admin {
    fn agent(&self, listing: AgentListing) -> admin::Agent {
        let now = self.0.clock.now();
        let AgentListing { agent, enrollment, last_heartbeat_at, agent_version, devices } = listing;
        let confirmed = agent.status == AgentStatus::Confirmed;
        let heard = last_heartbeat_at.is_some_and(|at| now.since(at) < ONLINE);
        let online = confirmed && (self.0.links.to(&agent).is_reachable() || heard);
        let pending = enrollment.as_ref().filter(|_| agent.status == AgentStatus::Pending);
        let kind = match agent.kind {
            AgentKind::Remote => admin::AgentKind::Remote,
            AgentKind::Local => admin::AgentKind::Local,
        };
        admin::Agent {
            agent_id: agent.id.value(),
            name: agent.name.as_str().to_owned(),
            kind: kind.into(),
            status: EnrollmentStatus::from(agent.status).into(),
            identity_fingerprint: shown_fingerprint(&agent),
            pending_enrollment_id: pending.map_or(0, |enrollment| enrollment.id.value()),
            created_at: Some(timestamp(agent.created_at)),
            confirmed_at: agent.confirmed_at.map(timestamp),
            revoked_at: agent.revoked_at.map(timestamp),
            last_heartbeat_at: last_heartbeat_at.map(timestamp),
            agent_version: agent_version.unwrap_or_default(),
            online,
            device_count: devices,
            second_uses: enrollment.map_or(0, |enrollment| enrollment.second_uses),
        }
    }
}

/// No page or list shows the fingerprint of an agent that is not confirmed: it must be read from the agent (protocol
/// section 4 step 4).
fn shown_fingerprint(agent: &AgentRecord) -> String {
    match agent.status {
        AgentStatus::Confirmed | AgentStatus::Revoked => agent.keys.fingerprint().to_string(),
        AgentStatus::Pending | AgentStatus::Discarded => String::new(),
    }
}

fn enrollment(
    (record, agent): (EnrollmentRecord, Option<AgentRecord>),
    now: UnixMillis,
) -> admin::Enrollment {
    let due = record.expires_at <= now;
    let state = match record.state {
        EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation if due => {
            admin::EnrollmentState::Expired
        }
        EnrollmentState::Pending => admin::EnrollmentState::Pending,
        EnrollmentState::AwaitingConfirmation => admin::EnrollmentState::AwaitingConfirmation,
        EnrollmentState::Confirmed => admin::EnrollmentState::Confirmed,
        EnrollmentState::Expired => admin::EnrollmentState::Expired,
        EnrollmentState::Cancelled => admin::EnrollmentState::Cancelled,
    };
    admin::Enrollment {
        pending_enrollment_id: record.id.value(),
        state: state.into(),
        created_at: Some(timestamp(record.created_at)),
        expires_at: Some(timestamp(record.expires_at)),
        agent_id: record.agent_id.map_or(0, AgentId::value),
        agent_name: agent.map(|agent| agent.name.as_str().to_owned()).unwrap_or_default(),
        second_uses: record.second_uses,
    }
}

impl AgentAdminService for Admin {
    async fn create_enrollment_code(
        &self,
        context: Context,
        request: admin::CreateEnrollmentCodeRequest,
    ) -> Result<admin::CreateEnrollmentCodeResponse, Status> {
        let operator = self.0.operator(&context).await?.operator();
        let ttl = request
            .ttl
            .map(|ttl| Duration::try_from(ttl).map_err(|_| Status::invalid("ttl: must not be negative")));
        let code_sha256 = request.code_sha256.map(|hash| {
            let exact = <[u8; 32]>::try_from(hash.as_ref());
            exact.map_err(|_| Status::invalid("code_sha256: must be exactly 32 bytes"))
        });
        let create = CreateCode { ttl: ttl.transpose()?, code_sha256: code_sha256.transpose()? };
        let made =
            self.0.driver.create_code(create, &operator).await.map_err(|error| self.0.refuse(error))?;
        Ok(admin::CreateEnrollmentCodeResponse {
            code: made.code.map(|code| code.expose().to_owned()).unwrap_or_default(),
            expires_at: Some(timestamp(made.expires_at)),
            pending_enrollment_id: made.enrollment_id.value(),
        })
    }

    async fn cancel_enrollment(
        &self,
        context: Context,
        request: admin::CancelEnrollmentRequest,
    ) -> Result<admin::CancelEnrollmentResponse, Status> {
        let operator = self.0.operator(&context).await?.operator();
        let enrollment: EnrollmentId = id("pending_enrollment_id", request.pending_enrollment_id)?;
        self.0.driver.cancel(enrollment, &operator).await.map_err(|error| self.0.refuse(error))?;
        Ok(admin::CancelEnrollmentResponse {})
    }

    async fn list_enrollments(
        &self,
        context: Context,
        request: admin::ListEnrollmentsRequest,
    ) -> Result<admin::ListEnrollmentsResponse, Status> {
        let operator = self.0.operator(&context).await?;
        let size = page_size(request.page_size);
        let after = page_token(&request.page_token)?;
        let only_open = !request.include_ended;
        let found = self.0.store.enrollments(operator.org_id, after, size.saturating_add(1), only_open).await;
        let mut rows = found.map_err(store_failed)?;
        let next_page_token = next_page(&mut rows, size, |(record, _)| record.id.value());
        let now = self.0.clock.now();
        let enrollments = rows.into_iter().map(|row| enrollment(row, now)).collect();
        Ok(admin::ListEnrollmentsResponse { enrollments, next_page_token })
    }

    async fn list_agents(
        &self,
        context: Context,
        request: admin::ListAgentsRequest,
    ) -> Result<admin::ListAgentsResponse, Status> {
        let operator = self.0.operator(&context).await?;
        let size = page_size(request.page_size);
        let after = page_token(&request.page_token)?;
        let filter = AgentFilter { include_discarded: false, include_local: true };
        let found = self.0.store.agents(operator.org_id, filter, after, size.saturating_add(1)).await;
        let mut rows = found.map_err(store_failed)?;
        let next_page_token = next_page(&mut rows, size, |row| row.agent.id.value());
        Ok(admin::ListAgentsResponse {
            agents: rows.into_iter().map(|row| self.agent(row)).collect(),
            next_page_token,
        })
    }

    async fn get_agent(
        &self,
        context: Context,
        request: admin::GetAgentRequest,
    ) -> Result<admin::GetAgentResponse, Status> {
        let operator = self.0.operator(&context).await?;
        let agent = self.0.store.agent(operator.org_id, id("agent_id", request.agent_id)?).await;
        let agent =
            agent.map_err(store_failed)?.ok_or_else(|| Status::new(Code::NotFound, "no such agent"))?;
        Ok(admin::GetAgentResponse { agent: Some(self.agent(agent)) })
    }

    async fn confirm_agent(
        &self,
        context: Context,
        request: admin::ConfirmAgentRequest,
    ) -> Result<admin::ConfirmAgentResponse, Status> {
        let operator = self.0.operator(&context).await?.operator();
        let fingerprint: Fingerprint = request
            .fingerprint
            .parse()
            .map_err(|error| Status::invalid(format_args!("fingerprint: {error}")))?;
        let certificate = request.agent_certificate.as_ref().map(<(AgentCertificate, Signature)>::try_from);
        let confirm = Confirm {
            operator,
            agent_id: id("agent_id", request.agent_id)?,
            enrollment_id: id("pending_enrollment_id", request.pending_enrollment_id)?,
            fingerprint,
            certificate: certificate.transpose()?,
        };
        let api_key = self.0.driver.confirm(confirm).await.map_err(|error| self.0.refuse(error))?;
        Ok(admin::ConfirmAgentResponse { api_key: api_key.expose().to_owned() })
    }

    async fn revoke_agent(
        &self,
        context: Context,
        request: admin::RevokeAgentRequest,
    ) -> Result<admin::RevokeAgentResponse, Status> {
        let operator = self.0.operator(&context).await?.operator();
        let agent_id = id("agent_id", request.agent_id)?;
        let found = self.0.store.agent(operator.org_id, agent_id).await.map_err(store_failed)?;
        if found.is_some_and(|found| found.agent.kind == AgentKind::Local) {
            let text = "the local agent is the server itself and cannot be revoked";
            return Err(Status::new(Code::FailedPrecondition, text));
        }
        self.0.driver.revoke(Revoke { operator, agent_id }).await.map_err(|error| self.0.refuse(error))?;
        // Committed: nothing of it is accepted any more. What is open ends now.
        self.0.streams.end(agent_id, End::Revoked);
        self.0.room.forget(Subject::Agent(agent_id));
        Ok(admin::RevokeAgentResponse {})
    }
}
