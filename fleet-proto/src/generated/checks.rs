// Generated from the .proto files by tests/generate; do not edit.

use crate::validate::{Path, Validate, Violation};
impl Validate for crate::fleet::v1::OrgManifest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.org_id;
            path.field("org_id").integer((*value).into(), 1, i64::MAX)?;
        }
        {
            let value = &self.org_name;
            path.field("org_name").chars(value, 1, 255)?;
        }
        {
            let value = &self.epoch;
            path.field("epoch").integer((*value).into(), 1, i64::MAX)?;
        }
        {
            let value = &self.root_pubkey;
            path.field("root_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.command_pubkey;
            path.field("command_pubkey").bytes(value, 32, 32)?;
        }
        if let Some(value) = &self.recovery_pubkey {
            path.field("recovery_pubkey").bytes(value, 32, 32)?;
        }
        path.field("operator_pubkeys").items(self.operator_pubkeys.len(), 0, 256)?;
        for (index, item) in self.operator_pubkeys.iter().enumerate() {
            let parent = path.field("operator_pubkeys");
            let at = parent.index(index);
            at.bytes(item, 32, 32)?;
        }
        path.field("revoked").items(self.revoked.len(), 0, 16384)?;
        for (index, item) in self.revoked.iter().enumerate() {
            let parent = path.field("revoked");
            let at = parent.index(index);
            at.bytes(item, 16, 16)?;
        }
        {
            let value = &self.signature;
            path.field("signature").bytes(value, 64, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::AgentCertificate {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.org_id;
            path.field("org_id").integer((*value).into(), 1, i64::MAX)?;
        }
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        {
            let value = &self.name;
            path.field("name").chars(value, 1, 255)?;
        }
        {
            let value = &self.identity_pubkey;
            path.field("identity_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.miner_signing_pubkey;
            path.field("miner_signing_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.sealing_pubkey;
            path.field("sealing_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.key_epoch;
            path.field("key_epoch").integer((*value).into(), 1, i64::MAX)?;
        }
        match &self.issued_at {
            Some(value) => {
                path.field("issued_at").timestamp(value)?;
            }
            None => return Err(path.field("issued_at").missing()),
        }
        {
            let value = &self.signature;
            path.field("signature").bytes(value, 64, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::RegisterRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.enrollment_token;
            path.field("enrollment_token").chars(value, 20, 512)?;
        }
        {
            let value = &self.name;
            path.field("name").chars(value, 1, 255)?;
        }
        {
            let value = &self.identity_pubkey;
            path.field("identity_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.miner_signing_pubkey;
            path.field("miner_signing_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.sealing_pubkey;
            path.field("sealing_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.identity_proof;
            path.field("identity_proof").bytes(value, 64, 64)?;
        }
        {
            let value = &self.miner_signing_proof;
            path.field("miner_signing_proof").bytes(value, 64, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::RegisterResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        {
            let value = &self.enrollment_status;
            path.field("enrollment_status")
                .defined(
                    crate::agentgateway::v1::EnrollmentStatus::try_from(*value).is_ok(),
                    *value,
                    false,
                )?;
        }
        {
            let value = &self.identity_fingerprint;
            path.field("identity_fingerprint").chars(value, 25, 64)?;
        }
        match &self.org_manifest {
            Some(value) => {
                value.validate_at(&path.field("org_manifest"))?;
            }
            None => return Err(path.field("org_manifest").missing()),
        }
        if let Some(value) = &self.sealed_api_key {
            path.field("sealed_api_key").bytes(value, 49, 1024)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::BeginAuthHandshakeRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.api_key;
            path.field("api_key").chars(value, 20, 512)?;
        }
        {
            let value = &self.identity_pubkey;
            path.field("identity_pubkey").bytes(value, 32, 32)?;
        }
        {
            let value = &self.client_nonce;
            path.field("client_nonce").bytes(value, 32, 32)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::BeginAuthHandshakeResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.challenge;
            path.field("challenge").bytes(value, 32, 32)?;
        }
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => return Err(path.field("expires_at").missing()),
        }
        match &self.server_time {
            Some(value) => {
                path.field("server_time").timestamp(value)?;
            }
            None => return Err(path.field("server_time").missing()),
        }
        {
            let value = &self.server_signature;
            path.field("server_signature").bytes(value, 64, 64)?;
        }
        match &self.org_manifest {
            Some(value) => {
                value.validate_at(&path.field("org_manifest"))?;
            }
            None => return Err(path.field("org_manifest").missing()),
        }
        match &self.agent_certificate {
            Some(value) => {
                value.validate_at(&path.field("agent_certificate"))?;
            }
            None => return Err(path.field("agent_certificate").missing()),
        }
        {
            let value = &self.last_sequence;
            path.field("last_sequence").integer((*value).into(), 0, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::CompleteAuthHandshakeRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.challenge;
            path.field("challenge").bytes(value, 32, 32)?;
        }
        {
            let value = &self.signature;
            path.field("signature").bytes(value, 64, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::CompleteAuthHandshakeResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.session_token;
            path.field("session_token").chars(value, 43, 43)?;
        }
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => return Err(path.field("expires_at").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadTelemetryRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.payload;
            path.field("payload").bytes(value, 1, 1048576)?;
        }
        match &self.captured_at {
            Some(value) => {
                path.field("captured_at").timestamp(value)?;
            }
            None => return Err(path.field("captured_at").missing()),
        }
        {
            let value = &self.sequence;
            path.field("sequence").integer((*value).into(), 1, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadTelemetryResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.accepted_count;
            path.field("accepted_count").integer((*value).into(), 0, i64::MAX)?;
        }
        {
            let value = &self.durable_sequence;
            path.field("durable_sequence").integer((*value).into(), 0, i64::MAX)?;
        }
        {
            let value = &self.rejected_count;
            path.field("rejected_count").integer((*value).into(), 0, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadEventsRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.payload;
            path.field("payload").bytes(value, 1, 1048576)?;
        }
        match &self.captured_at {
            Some(value) => {
                path.field("captured_at").timestamp(value)?;
            }
            None => return Err(path.field("captured_at").missing()),
        }
        {
            let value = &self.sequence;
            path.field("sequence").integer((*value).into(), 1, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadEventsResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.accepted_count;
            path.field("accepted_count").integer((*value).into(), 0, i64::MAX)?;
        }
        {
            let value = &self.durable_sequence;
            path.field("durable_sequence").integer((*value).into(), 0, i64::MAX)?;
        }
        {
            let value = &self.rejected_count;
            path.field("rejected_count").integer((*value).into(), 0, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadHeartbeatRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.sent_at {
            Some(value) => {
                path.field("sent_at").timestamp(value)?;
            }
            None => return Err(path.field("sent_at").missing()),
        }
        {
            let value = &self.agent_version;
            path.field("agent_version").chars(value, 1, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::UploadHeartbeatResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.received_at {
            Some(value) => {
                path.field("received_at").timestamp(value)?;
            }
            None => return Err(path.field("received_at").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlStreamRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.kind {
            Some(crate::agentgateway::v1::control_stream_request::Kind::Hello(value)) => {
                value.validate_at(&path.field("hello"))?
            }
            Some(crate::agentgateway::v1::control_stream_request::Kind::Ack(value)) => {
                value.validate_at(&path.field("ack"))?
            }
            None => return Err(path.field("kind").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlStreamResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.kind {
            Some(
                crate::agentgateway::v1::control_stream_response::Kind::Accepted(value),
            ) => value.validate_at(&path.field("accepted"))?,
            Some(
                crate::agentgateway::v1::control_stream_response::Kind::Command(value),
            ) => value.validate_at(&path.field("command"))?,
            Some(
                crate::agentgateway::v1::control_stream_response::Kind::Goaway(value),
            ) => value.validate_at(&path.field("goaway"))?,
            None => return Err(path.field("kind").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlHello {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_version;
            path.field("agent_version").chars(value, 1, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlAccepted {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.server_time {
            Some(value) => {
                path.field("server_time").timestamp(value)?;
            }
            None => return Err(path.field("server_time").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlGoaway {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.reason;
            path.field("reason").chars(value, 0, 255)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlCommand {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.command_id;
            path.field("command_id").chars(value, 1, 128)?;
        }
        {
            let value = &self.payload;
            path.field("payload").bytes(value, 0, 1048576)?;
        }
        {
            let value = &self.actor;
            path.field("actor").chars(value, 1, 64)?;
        }
        {
            let value = &self.sequence;
            path.field("sequence").integer((*value).into(), 1, i64::MAX)?;
        }
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => return Err(path.field("expires_at").missing()),
        }
        {
            let value = &self.signature;
            path.field("signature").bytes(value, 64, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentgateway::v1::ControlAck {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.command_id;
            path.field("command_id").chars(value, 1, 128)?;
        }
        {
            let value = &self.code;
            path.field("code")
                .defined(
                    crate::agentgateway::v1::AckCode::try_from(*value).is_ok(),
                    *value,
                    true,
                )?;
        }
        {
            let value = &self.result;
            path.field("result").bytes(value, 0, 1048576)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::Agent {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.created_at {
            Some(value) => {
                path.field("created_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.confirmed_at {
            Some(value) => {
                path.field("confirmed_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.revoked_at {
            Some(value) => {
                path.field("revoked_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.last_heartbeat_at {
            Some(value) => {
                path.field("last_heartbeat_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::Enrollment {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.created_at {
            Some(value) => {
                path.field("created_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::CreateEnrollmentCodeRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.ttl {
            Some(value) => {
                path.field("ttl").duration(value, 60, 604800)?;
            }
            None => {}
        }
        if let Some(value) = &self.code_sha256 {
            path.field("code_sha256").bytes(value, 32, 32)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::CreateEnrollmentCodeResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::CancelEnrollmentRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.pending_enrollment_id;
            path.field("pending_enrollment_id").integer((*value).into(), 1, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::CancelEnrollmentResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ListEnrollmentsRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.page_size;
            path.field("page_size").integer((*value).into(), 0, 1000)?;
        }
        {
            let value = &self.page_token;
            path.field("page_token").chars(value, 0, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ListEnrollmentsResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.enrollments.iter().enumerate() {
            let parent = path.field("enrollments");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ListAgentsRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.page_size;
            path.field("page_size").integer((*value).into(), 0, 1000)?;
        }
        {
            let value = &self.page_token;
            path.field("page_token").chars(value, 0, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ListAgentsResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.agents.iter().enumerate() {
            let parent = path.field("agents");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::GetAgentRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::GetAgentResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.agent {
            Some(value) => {
                value.validate_at(&path.field("agent"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ConfirmAgentRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        {
            let value = &self.pending_enrollment_id;
            path.field("pending_enrollment_id").integer((*value).into(), 1, i64::MAX)?;
        }
        {
            let value = &self.fingerprint;
            path.field("fingerprint").chars(value, 25, 64)?;
        }
        match &self.agent_certificate {
            Some(value) => {
                value.validate_at(&path.field("agent_certificate"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::ConfirmAgentResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::RevokeAgentRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::agentadmin::v1::RevokeAgentResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::AgentCommand {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::CommandResult {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::TelemetryBatch {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        path.field("samples").items(self.samples.len(), 1, 1000)?;
        for (index, item) in self.samples.iter().enumerate() {
            let parent = path.field("samples");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Sample {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.endpoint;
            path.field("endpoint").chars(value, 4, 131)?;
        }
        match &self.taken_at {
            Some(value) => {
                path.field("taken_at").timestamp(value)?;
            }
            None => return Err(path.field("taken_at").missing()),
        }
        {
            let value = &self.status;
            path.field("status")
                .defined(
                    crate::fleet::v1::MinerStatus::try_from(*value).is_ok(),
                    *value,
                    false,
                )?;
        }
        if let Some(value) = &self.hashrate_hs {
            path.field("hashrate_hs").finite(*value, Some(0.0))?;
        }
        if let Some(value) = &self.power_w {
            path.field("power_w").finite(*value, Some(0.0))?;
        }
        if let Some(value) = &self.efficiency_j_per_th {
            path.field("efficiency_j_per_th").finite(*value, Some(0.0))?;
        }
        if let Some(value) = &self.temperature_c {
            path.field("temperature_c").finite(*value, None)?;
        }
        path.field("fan_rpm").items(self.fan_rpm.len(), 0, 32)?;
        path.field("boards").items(self.boards.len(), 0, 64)?;
        for (index, item) in self.boards.iter().enumerate() {
            let parent = path.field("boards");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        if let Some(value) = &self.uptime_s {
            path.field("uptime_s").integer((*value).into(), 0, i64::MAX)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::BoardSample {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.index;
            path.field("index").integer((*value).into(), i64::MIN, 255)?;
        }
        if let Some(value) = &self.hashrate_hs {
            path.field("hashrate_hs").finite(*value, Some(0.0))?;
        }
        if let Some(value) = &self.temperature_c {
            path.field("temperature_c").finite(*value, None)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::EventBatch {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        path.field("events").items(self.events.len(), 1, 1000)?;
        for (index, item) in self.events.iter().enumerate() {
            let parent = path.field("events");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Event {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.at {
            Some(value) => {
                path.field("at").timestamp(value)?;
            }
            None => return Err(path.field("at").missing()),
        }
        match &self.kind {
            Some(crate::fleet::v1::event::Kind::Discovered(value)) => {
                value.validate_at(&path.field("discovered"))?
            }
            Some(crate::fleet::v1::event::Kind::StatusChanged(value)) => {
                value.validate_at(&path.field("status_changed"))?
            }
            None => return Err(path.field("kind").missing()),
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::MinerDiscovered {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.endpoint;
            path.field("endpoint").chars(value, 4, 131)?;
        }
        {
            let value = &self.address;
            path.field("address").chars(value, 1, 64)?;
        }
        {
            let value = &self.make;
            path.field("make").chars(value, 0, 128)?;
        }
        {
            let value = &self.model;
            path.field("model").chars(value, 0, 128)?;
        }
        {
            let value = &self.firmware;
            path.field("firmware").chars(value, 0, 255)?;
        }
        if let Some(value) = &self.serial {
            path.field("serial").chars(value, 1, 128)?;
        }
        if let Some(value) = &self.mac {
            path.field("mac").bytes(value, 6, 6)?;
        }
        {
            let value = &self.driver;
            path.field("driver").chars(value, 1, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::MinerStatusChanged {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.endpoint;
            path.field("endpoint").chars(value, 4, 131)?;
        }
        if let Some(value) = &self.from {
            path.field("from")
                .defined(
                    crate::fleet::v1::MinerStatus::try_from(*value).is_ok(),
                    *value,
                    false,
                )?;
        }
        {
            let value = &self.to;
            path.field("to")
                .defined(
                    crate::fleet::v1::MinerStatus::try_from(*value).is_ok(),
                    *value,
                    false,
                )?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Device {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.created_at {
            Some(value) => {
                path.field("created_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.paired_at {
            Some(value) => {
                path.field("paired_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.latest {
            Some(value) => {
                value.validate_at(&path.field("latest"))?;
            }
            None => {}
        }
        match &self.latest_received_at {
            Some(value) => {
                path.field("latest_received_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::PairDevicesRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        path.field("device_ids").items(self.device_ids.len(), 0, 10000)?;
        for (index, item) in self.device_ids.iter().enumerate() {
            let parent = path.field("device_ids");
            let at = parent.index(index);
            at.integer((*item).into(), 1, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::PairDevicesResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.skipped.iter().enumerate() {
            let parent = path.field("skipped");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::SkippedDevice {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::UnpairDevicesRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        path.field("device_ids").items(self.device_ids.len(), 1, 10000)?;
        for (index, item) in self.device_ids.iter().enumerate() {
            let parent = path.field("device_ids");
            let at = parent.index(index);
            at.integer((*item).into(), 1, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::UnpairDevicesResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListDevicesRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.page_size;
            path.field("page_size").integer((*value).into(), 0, 1000)?;
        }
        {
            let value = &self.page_token;
            path.field("page_token").chars(value, 0, 64)?;
        }
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 0, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListDevicesResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.devices.iter().enumerate() {
            let parent = path.field("devices");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::GetLatestReadingRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.device_id;
            path.field("device_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::GetLatestReadingResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.reading {
            Some(value) => {
                value.validate_at(&path.field("reading"))?;
            }
            None => {}
        }
        match &self.received_at {
            Some(value) => {
                path.field("received_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListReadingsRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.device_id;
            path.field("device_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        match &self.since {
            Some(value) => {
                path.field("since").timestamp(value)?;
            }
            None => {}
        }
        match &self.until {
            Some(value) => {
                path.field("until").timestamp(value)?;
            }
            None => {}
        }
        {
            let value = &self.limit;
            path.field("limit").integer((*value).into(), 0, 10000)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListReadingsResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.readings.iter().enumerate() {
            let parent = path.field("readings");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::DeviceHistoryRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.device_id;
            path.field("device_id").integer((*value).into(), 1, 9007199254740991)?;
        }
        match &self.since {
            Some(value) => {
                path.field("since").timestamp(value)?;
            }
            None => {}
        }
        match &self.until {
            Some(value) => {
                path.field("until").timestamp(value)?;
            }
            None => {}
        }
        match &self.step {
            Some(value) => {
                path.field("step").duration(value, 1, 31622400)?;
            }
            None => {}
        }
        {
            let value = &self.max_points;
            path.field("max_points").integer((*value).into(), 0, 10000)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::DeviceHistoryResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.points.iter().enumerate() {
            let parent = path.field("points");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        match &self.step {
            Some(value) => {
                path.field("step").duration(value, 1, 9223372036)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::DevicePoint {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.start {
            Some(value) => {
                path.field("start").timestamp(value)?;
            }
            None => {}
        }
        match &self.duration {
            Some(value) => {
                path.field("duration").duration(value, 1, 9223372036)?;
            }
            None => {}
        }
        match &self.hashrate_hs {
            Some(value) => {
                value.validate_at(&path.field("hashrate_hs"))?;
            }
            None => {}
        }
        match &self.power_w {
            Some(value) => {
                value.validate_at(&path.field("power_w"))?;
            }
            None => {}
        }
        match &self.temperature_c {
            Some(value) => {
                value.validate_at(&path.field("temperature_c"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Spread {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::FleetHistoryRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.since {
            Some(value) => {
                path.field("since").timestamp(value)?;
            }
            None => {}
        }
        match &self.until {
            Some(value) => {
                path.field("until").timestamp(value)?;
            }
            None => {}
        }
        match &self.step {
            Some(value) => {
                path.field("step").duration(value, 1, 31622400)?;
            }
            None => {}
        }
        {
            let value = &self.max_points;
            path.field("max_points").integer((*value).into(), 0, 10000)?;
        }
        {
            let value = &self.agent_id;
            path.field("agent_id").integer((*value).into(), 0, 9007199254740991)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::FleetHistoryResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.points.iter().enumerate() {
            let parent = path.field("points");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        match &self.step {
            Some(value) => {
                path.field("step").duration(value, 1, 9223372036)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::FleetPoint {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.start {
            Some(value) => {
                path.field("start").timestamp(value)?;
            }
            None => {}
        }
        match &self.duration {
            Some(value) => {
                path.field("duration").duration(value, 1, 9223372036)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::SetUpRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.setup_token;
            path.field("setup_token").chars(value, 20, 512)?;
        }
        {
            let value = &self.organization;
            path.field("organization").chars(value, 1, 255)?;
        }
        {
            let value = &self.user_name;
            path.field("user_name").chars(value, 1, 64)?;
        }
        {
            let value = &self.password;
            path.field("password").chars(value, 12, 512)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::SetUpResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::LoginRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.user_name;
            path.field("user_name").chars(value, 1, 64)?;
        }
        {
            let value = &self.password;
            path.field("password").chars(value, 1, 512)?;
        }
        {
            let value = &self.organization;
            path.field("organization").chars(value, 0, 255)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::LoginResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.organization {
            Some(value) => {
                value.validate_at(&path.field("organization"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Organization {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::SelectOrganizationRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.organization;
            path.field("organization").chars(value, 1, 255)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::SelectOrganizationResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.organization {
            Some(value) => {
                value.validate_at(&path.field("organization"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ChangePasswordRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.old_password;
            path.field("old_password").chars(value, 1, 512)?;
        }
        {
            let value = &self.new_password;
            path.field("new_password").chars(value, 12, 512)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ChangePasswordResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::LogoutRequest {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::LogoutResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::WhoAmIRequest {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::WhoAmIResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.organizations.iter().enumerate() {
            let parent = path.field("organizations");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::CreateApiKeyRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.label;
            path.field("label").chars(value, 1, 255)?;
        }
        match &self.ttl {
            Some(value) => {
                path.field("ttl").duration(value, 60, 315576000)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::CreateApiKeyResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.info {
            Some(value) => {
                value.validate_at(&path.field("info"))?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ApiKey {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.created_at {
            Some(value) => {
                path.field("created_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.expires_at {
            Some(value) => {
                path.field("expires_at").timestamp(value)?;
            }
            None => {}
        }
        match &self.last_used_at {
            Some(value) => {
                path.field("last_used_at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListApiKeysRequest {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListApiKeysResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.api_keys.iter().enumerate() {
            let parent = path.field("api_keys");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::RevokeApiKeyRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.digits;
            path.field("digits").chars(value, 8, 8)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::RevokeApiKeyResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListActivityRequest {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        {
            let value = &self.page_size;
            path.field("page_size").integer((*value).into(), 0, 1000)?;
        }
        {
            let value = &self.page_token;
            path.field("page_token").chars(value, 0, 64)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::ListActivityResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for (index, item) in self.activities.iter().enumerate() {
            let parent = path.field("activities");
            let at = parent.index(index);
            item.validate_at(&at)?;
        }
        Ok(())
    }
}
impl Validate for crate::fleet::v1::Activity {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        match &self.at {
            Some(value) => {
                path.field("at").timestamp(value)?;
            }
            None => {}
        }
        Ok(())
    }
}
impl Validate for crate::grpc::health::v1::HealthListRequest {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::grpc::health::v1::HealthListResponse {
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation> {
        for value in self.statuses.values() {
            value.validate_at(&path.field("statuses"))?;
        }
        Ok(())
    }
}
impl Validate for crate::grpc::health::v1::HealthCheckRequest {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
impl Validate for crate::grpc::health::v1::HealthCheckResponse {
    fn validate_at(&self, _: &Path<'_>) -> Result<(), Violation> {
        Ok(())
    }
}
#[cfg(test)]
pub(crate) fn validate_by_name(name: &str, bytes: &[u8]) -> Result<(), Violation> {
    match name {
        "fleet.v1.OrgManifest" => {
            <crate::fleet::v1::OrgManifest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.AgentCertificate" => {
            <crate::fleet::v1::AgentCertificate as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.RegisterRequest" => {
            <crate::agentgateway::v1::RegisterRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.RegisterResponse" => {
            <crate::agentgateway::v1::RegisterResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.BeginAuthHandshakeRequest" => {
            <crate::agentgateway::v1::BeginAuthHandshakeRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.BeginAuthHandshakeResponse" => {
            <crate::agentgateway::v1::BeginAuthHandshakeResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.CompleteAuthHandshakeRequest" => {
            <crate::agentgateway::v1::CompleteAuthHandshakeRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.CompleteAuthHandshakeResponse" => {
            <crate::agentgateway::v1::CompleteAuthHandshakeResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadTelemetryRequest" => {
            <crate::agentgateway::v1::UploadTelemetryRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadTelemetryResponse" => {
            <crate::agentgateway::v1::UploadTelemetryResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadEventsRequest" => {
            <crate::agentgateway::v1::UploadEventsRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadEventsResponse" => {
            <crate::agentgateway::v1::UploadEventsResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadHeartbeatRequest" => {
            <crate::agentgateway::v1::UploadHeartbeatRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.UploadHeartbeatResponse" => {
            <crate::agentgateway::v1::UploadHeartbeatResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlStreamRequest" => {
            <crate::agentgateway::v1::ControlStreamRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlStreamResponse" => {
            <crate::agentgateway::v1::ControlStreamResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlHello" => {
            <crate::agentgateway::v1::ControlHello as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlAccepted" => {
            <crate::agentgateway::v1::ControlAccepted as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlGoaway" => {
            <crate::agentgateway::v1::ControlGoaway as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlCommand" => {
            <crate::agentgateway::v1::ControlCommand as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentgateway.v1.ControlAck" => {
            <crate::agentgateway::v1::ControlAck as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.Agent" => {
            <crate::agentadmin::v1::Agent as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.Enrollment" => {
            <crate::agentadmin::v1::Enrollment as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.CreateEnrollmentCodeRequest" => {
            <crate::agentadmin::v1::CreateEnrollmentCodeRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.CreateEnrollmentCodeResponse" => {
            <crate::agentadmin::v1::CreateEnrollmentCodeResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.CancelEnrollmentRequest" => {
            <crate::agentadmin::v1::CancelEnrollmentRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.CancelEnrollmentResponse" => {
            <crate::agentadmin::v1::CancelEnrollmentResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ListEnrollmentsRequest" => {
            <crate::agentadmin::v1::ListEnrollmentsRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ListEnrollmentsResponse" => {
            <crate::agentadmin::v1::ListEnrollmentsResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ListAgentsRequest" => {
            <crate::agentadmin::v1::ListAgentsRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ListAgentsResponse" => {
            <crate::agentadmin::v1::ListAgentsResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.GetAgentRequest" => {
            <crate::agentadmin::v1::GetAgentRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.GetAgentResponse" => {
            <crate::agentadmin::v1::GetAgentResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ConfirmAgentRequest" => {
            <crate::agentadmin::v1::ConfirmAgentRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.ConfirmAgentResponse" => {
            <crate::agentadmin::v1::ConfirmAgentResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.RevokeAgentRequest" => {
            <crate::agentadmin::v1::RevokeAgentRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "agentadmin.v1.RevokeAgentResponse" => {
            <crate::agentadmin::v1::RevokeAgentResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.AgentCommand" => {
            <crate::fleet::v1::AgentCommand as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.CommandResult" => {
            <crate::fleet::v1::CommandResult as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.TelemetryBatch" => {
            <crate::fleet::v1::TelemetryBatch as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Sample" => {
            <crate::fleet::v1::Sample as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.BoardSample" => {
            <crate::fleet::v1::BoardSample as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.EventBatch" => {
            <crate::fleet::v1::EventBatch as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Event" => {
            <crate::fleet::v1::Event as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.MinerDiscovered" => {
            <crate::fleet::v1::MinerDiscovered as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.MinerStatusChanged" => {
            <crate::fleet::v1::MinerStatusChanged as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Device" => {
            <crate::fleet::v1::Device as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.PairDevicesRequest" => {
            <crate::fleet::v1::PairDevicesRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.PairDevicesResponse" => {
            <crate::fleet::v1::PairDevicesResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.SkippedDevice" => {
            <crate::fleet::v1::SkippedDevice as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.UnpairDevicesRequest" => {
            <crate::fleet::v1::UnpairDevicesRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.UnpairDevicesResponse" => {
            <crate::fleet::v1::UnpairDevicesResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListDevicesRequest" => {
            <crate::fleet::v1::ListDevicesRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListDevicesResponse" => {
            <crate::fleet::v1::ListDevicesResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.GetLatestReadingRequest" => {
            <crate::fleet::v1::GetLatestReadingRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.GetLatestReadingResponse" => {
            <crate::fleet::v1::GetLatestReadingResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListReadingsRequest" => {
            <crate::fleet::v1::ListReadingsRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListReadingsResponse" => {
            <crate::fleet::v1::ListReadingsResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.DeviceHistoryRequest" => {
            <crate::fleet::v1::DeviceHistoryRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.DeviceHistoryResponse" => {
            <crate::fleet::v1::DeviceHistoryResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.DevicePoint" => {
            <crate::fleet::v1::DevicePoint as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Spread" => {
            <crate::fleet::v1::Spread as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.FleetHistoryRequest" => {
            <crate::fleet::v1::FleetHistoryRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.FleetHistoryResponse" => {
            <crate::fleet::v1::FleetHistoryResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.FleetPoint" => {
            <crate::fleet::v1::FleetPoint as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.SetUpRequest" => {
            <crate::fleet::v1::SetUpRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.SetUpResponse" => {
            <crate::fleet::v1::SetUpResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.LoginRequest" => {
            <crate::fleet::v1::LoginRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.LoginResponse" => {
            <crate::fleet::v1::LoginResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Organization" => {
            <crate::fleet::v1::Organization as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.SelectOrganizationRequest" => {
            <crate::fleet::v1::SelectOrganizationRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.SelectOrganizationResponse" => {
            <crate::fleet::v1::SelectOrganizationResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ChangePasswordRequest" => {
            <crate::fleet::v1::ChangePasswordRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ChangePasswordResponse" => {
            <crate::fleet::v1::ChangePasswordResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.LogoutRequest" => {
            <crate::fleet::v1::LogoutRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.LogoutResponse" => {
            <crate::fleet::v1::LogoutResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.WhoAmIRequest" => {
            <crate::fleet::v1::WhoAmIRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.WhoAmIResponse" => {
            <crate::fleet::v1::WhoAmIResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.CreateApiKeyRequest" => {
            <crate::fleet::v1::CreateApiKeyRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.CreateApiKeyResponse" => {
            <crate::fleet::v1::CreateApiKeyResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ApiKey" => {
            <crate::fleet::v1::ApiKey as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListApiKeysRequest" => {
            <crate::fleet::v1::ListApiKeysRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListApiKeysResponse" => {
            <crate::fleet::v1::ListApiKeysResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.RevokeApiKeyRequest" => {
            <crate::fleet::v1::RevokeApiKeyRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.RevokeApiKeyResponse" => {
            <crate::fleet::v1::RevokeApiKeyResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListActivityRequest" => {
            <crate::fleet::v1::ListActivityRequest as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.ListActivityResponse" => {
            <crate::fleet::v1::ListActivityResponse as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "fleet.v1.Activity" => {
            <crate::fleet::v1::Activity as ::prost::Message>::decode(bytes)
                .expect("protobuf")
                .validate()
        }
        "grpc.health.v1.HealthListRequest" => {
            <crate::grpc::health::v1::HealthListRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "grpc.health.v1.HealthListResponse" => {
            <crate::grpc::health::v1::HealthListResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "grpc.health.v1.HealthCheckRequest" => {
            <crate::grpc::health::v1::HealthCheckRequest as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        "grpc.health.v1.HealthCheckResponse" => {
            <crate::grpc::health::v1::HealthCheckResponse as ::prost::Message>::decode(
                    bytes,
                )
                .expect("protobuf")
                .validate()
        }
        other => panic!("no message {other}"),
    }
}
