// Generated from the .proto files by tests/generate; do not edit.

/// See AgentGatewayService.Register.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.RegisterRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct RegisterRequest {
    /// The enrollment code, 88 lower-case characters.
    #[prost(string, tag = "1")]
    pub enrollment_token: ::prost::alloc::string::String,
    /// 1 to 255 characters, without control and invisible ones.
    #[prost(string, tag = "2")]
    pub name: ::prost::alloc::string::String,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub identity_pubkey: ::prost::bytes::Bytes,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub miner_signing_pubkey: ::prost::bytes::Bytes,
    /// X25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub sealing_pubkey: ::prost::bytes::Bytes,
    /// Ed25519 by the identity key over `fleet/v1/enroll/identity`, 64 bytes.
    #[prost(bytes = "bytes", tag = "6")]
    pub identity_proof: ::prost::bytes::Bytes,
    /// Ed25519 by the miner-signing key over `fleet/v1/enroll/miner-signing`, 64 bytes.
    #[prost(bytes = "bytes", tag = "7")]
    pub miner_signing_proof: ::prost::bytes::Bytes,
}
/// See AgentGatewayService.Register.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.RegisterResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct RegisterResponse {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
    #[prost(enumeration = "EnrollmentStatus", tag = "2")]
    pub enrollment_status: i32,
    /// The fingerprint that the server computed. The agent requires its own.
    #[prost(string, tag = "3")]
    pub identity_fingerprint: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "4")]
    pub org_manifest: ::core::option::Option<super::super::fleet::v1::OrgManifest>,
    /// HPKE enc || ct of the api_key, once confirmed and until the agent's first call under a session.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub sealed_api_key: ::core::option::Option<::prost::bytes::Bytes>,
}
/// See AgentGatewayService.BeginAuthHandshake.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.BeginAuthHandshakeRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct BeginAuthHandshakeRequest {
    #[prost(string, tag = "1")]
    pub api_key: ::prost::alloc::string::String,
    /// The agent's identity key, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub identity_pubkey: ::prost::bytes::Bytes,
    /// 32 random bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub client_nonce: ::prost::bytes::Bytes,
}
/// See AgentGatewayService.BeginAuthHandshake.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.BeginAuthHandshakeResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct BeginAuthHandshakeResponse {
    /// 32 random bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub challenge: ::prost::bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub server_time: ::core::option::Option<::prost_types::Timestamp>,
    /// Ed25519 by the command key over `fleet/v1/auth/server`, 64 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub server_signature: ::prost::bytes::Bytes,
    #[prost(message, optional, tag = "5")]
    pub org_manifest: ::core::option::Option<super::super::fleet::v1::OrgManifest>,
    #[prost(message, optional, tag = "6")]
    pub agent_certificate: ::core::option::Option<
        super::super::fleet::v1::AgentCertificate,
    >,
    /// The highest command sequence issued to the agent, 0 for none.
    #[prost(int64, tag = "7")]
    pub last_sequence: i64,
}
/// See AgentGatewayService.CompleteAuthHandshake.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.CompleteAuthHandshakeRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct CompleteAuthHandshakeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub challenge: ::prost::bytes::Bytes,
    /// Ed25519 by the identity key over `fleet/v1/auth/agent`, 64 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: ::prost::bytes::Bytes,
}
/// See AgentGatewayService.CompleteAuthHandshake.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.CompleteAuthHandshakeResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct CompleteAuthHandshakeResponse {
    /// 43 base64url characters.
    #[prost(string, tag = "1")]
    pub session_token: ::prost::alloc::string::String,
    /// By the server's clock.
    #[prost(message, optional, tag = "2")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
}
/// See AgentGatewayService.UploadTelemetry.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadTelemetryRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct UploadTelemetryRequest {
    /// An encoded fleet.v1.TelemetryBatch, at most 1 MiB.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: ::prost::bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    pub captured_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Strictly increasing, for telemetry alone.
    #[prost(int64, tag = "3")]
    pub sequence: i64,
}
/// See AgentGatewayService.UploadTelemetry.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadTelemetryResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UploadTelemetryResponse {
    /// Messages stored, duplicates not counted.
    #[prost(int64, tag = "1")]
    pub accepted_count: i64,
    /// Every message up to this sequence is dealt with, stored or rejected; 0 for none.
    #[prost(int64, tag = "2")]
    pub durable_sequence: i64,
    /// Messages of which nothing was stored: malformed, or with no sample of a device that is this agent's.
    #[prost(int64, tag = "3")]
    pub rejected_count: i64,
}
/// See AgentGatewayService.UploadEvents.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadEventsRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct UploadEventsRequest {
    /// An encoded fleet.v1.EventBatch, at most 1 MiB.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: ::prost::bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    pub captured_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Strictly increasing, for events alone.
    #[prost(int64, tag = "3")]
    pub sequence: i64,
}
/// See AgentGatewayService.UploadEvents.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadEventsResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UploadEventsResponse {
    /// Messages stored, duplicates not counted.
    #[prost(int64, tag = "1")]
    pub accepted_count: i64,
    /// Every message up to this sequence is dealt with, stored or rejected; 0 for none.
    #[prost(int64, tag = "2")]
    pub durable_sequence: i64,
    /// Messages of which nothing was stored: malformed, or with no event that concerns this agent.
    #[prost(int64, tag = "3")]
    pub rejected_count: i64,
}
/// See AgentGatewayService.UploadHeartbeat.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadHeartbeatRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UploadHeartbeatRequest {
    /// By the agent's clock.
    #[prost(message, optional, tag = "1")]
    pub sent_at: ::core::option::Option<::prost_types::Timestamp>,
    /// For example `0.1.0`.
    #[prost(string, tag = "2")]
    pub agent_version: ::prost::alloc::string::String,
}
/// See AgentGatewayService.UploadHeartbeat.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.UploadHeartbeatResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UploadHeartbeatResponse {
    /// By the server's clock.
    #[prost(message, optional, tag = "1")]
    pub received_at: ::core::option::Option<::prost_types::Timestamp>,
}
/// What an agent sends on the control stream.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlStreamRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ControlStreamRequest {
    #[prost(oneof = "control_stream_request::Kind", tags = "1, 2")]
    pub kind: ::core::option::Option<control_stream_request::Kind>,
}
/// Nested message and enum types in `ControlStreamRequest`.
pub mod control_stream_request {
    #[derive(Clone, PartialEq, Eq, Hash, ::prost::Oneof)]
    pub enum Kind {
        /// The first message, and no other.
        #[prost(message, tag = "1")]
        Hello(super::ControlHello),
        /// How a command ended.
        #[prost(message, tag = "2")]
        Ack(super::ControlAck),
    }
}
/// What the server sends on the control stream.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlStreamResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ControlStreamResponse {
    #[prost(oneof = "control_stream_response::Kind", tags = "1, 2, 3")]
    pub kind: ::core::option::Option<control_stream_response::Kind>,
}
/// Nested message and enum types in `ControlStreamResponse`.
pub mod control_stream_response {
    #[derive(Clone, PartialEq, Eq, Hash, ::prost::Oneof)]
    pub enum Kind {
        /// The answer to `hello`.
        #[prost(message, tag = "1")]
        Accepted(super::ControlAccepted),
        #[prost(message, tag = "2")]
        Command(super::ControlCommand),
        /// The server ends the stream; the agent connects again.
        #[prost(message, tag = "3")]
        Goaway(super::ControlGoaway),
    }
}
/// The first message of a control stream.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlHello",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ControlHello {
    /// For example `0.1.0`.
    #[prost(string, tag = "1")]
    pub agent_version: ::prost::alloc::string::String,
}
/// The stream is registered: commands will come on it.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlAccepted",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ControlAccepted {
    #[prost(message, optional, tag = "1")]
    pub server_time: ::core::option::Option<::prost_types::Timestamp>,
}
/// Why a stream ends.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlGoaway",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ControlGoaway {
    /// For people.
    #[prost(string, tag = "1")]
    pub reason: ::prost::alloc::string::String,
}
/// A command, signed under `fleet/v1/command`.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlCommand",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct ControlCommand {
    #[prost(string, tag = "1")]
    pub command_id: ::prost::alloc::string::String,
    /// An encoded fleet.v1.AgentCommand, at most 1 MiB.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: ::prost::bytes::Bytes,
    /// `user:` and an id, `key:` and 8 hex digits, or `system`.
    #[prost(string, tag = "3")]
    pub actor: ::prost::alloc::string::String,
    /// Above every earlier one of this agent.
    #[prost(int64, tag = "4")]
    pub sequence: i64,
    #[prost(message, optional, tag = "5")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Ed25519 by the command key, 64 bytes.
    #[prost(bytes = "bytes", tag = "6")]
    pub signature: ::prost::bytes::Bytes,
}
/// How a command ended.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentgateway.v1.ControlAck",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct ControlAck {
    #[prost(string, tag = "1")]
    pub command_id: ::prost::alloc::string::String,
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// Cut to 4096 bytes on a character boundary by sender and receiver.
    #[prost(string, tag = "3")]
    pub error_message: ::prost::alloc::string::String,
    #[prost(enumeration = "AckCode", tag = "4")]
    pub code: i32,
    /// An encoded fleet.v1.CommandResult, at most 1 MiB.
    #[prost(bytes = "bytes", tag = "5")]
    pub result: ::prost::bytes::Bytes,
}
/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum EnrollmentStatus {
    Unspecified = 0,
    /// Registered, not confirmed.
    Pending = 1,
    /// Confirmed by fingerprint.
    Confirmed = 2,
    /// Revoked by an operator.
    Revoked = 3,
    /// Its enrollment expired or was cancelled.
    Discarded = 4,
}
impl EnrollmentStatus {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "ENROLLMENT_STATUS_UNSPECIFIED",
            Self::Pending => "ENROLLMENT_STATUS_PENDING",
            Self::Confirmed => "ENROLLMENT_STATUS_CONFIRMED",
            Self::Revoked => "ENROLLMENT_STATUS_REVOKED",
            Self::Discarded => "ENROLLMENT_STATUS_DISCARDED",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ENROLLMENT_STATUS_UNSPECIFIED" => Some(Self::Unspecified),
            "ENROLLMENT_STATUS_PENDING" => Some(Self::Pending),
            "ENROLLMENT_STATUS_CONFIRMED" => Some(Self::Confirmed),
            "ENROLLMENT_STATUS_REVOKED" => Some(Self::Revoked),
            "ENROLLMENT_STATUS_DISCARDED" => Some(Self::Discarded),
            _ => None,
        }
    }
}
/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum AckCode {
    Unspecified = 0,
    /// Done, and read back.
    Ok = 1,
    /// The miner took it; it will happen.
    Accepted = 2,
    /// Sent, and it cannot be told whether it happened.
    Unverified = 3,
    /// Done for some of the targets.
    Partial = 4,
    /// The agent stopped in the middle.
    Interrupted = 5,
    /// The agent refused it.
    Refused = 6,
    /// The agent has too much to do.
    Busy = 7,
    /// The agent or the miner cannot do it.
    Unsupported = 8,
    /// The miner refused the agent's credentials.
    Unauthenticated = 9,
    /// It went wrong.
    Failed = 10,
}
impl AckCode {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "ACK_CODE_UNSPECIFIED",
            Self::Ok => "ACK_CODE_OK",
            Self::Accepted => "ACK_CODE_ACCEPTED",
            Self::Unverified => "ACK_CODE_UNVERIFIED",
            Self::Partial => "ACK_CODE_PARTIAL",
            Self::Interrupted => "ACK_CODE_INTERRUPTED",
            Self::Refused => "ACK_CODE_REFUSED",
            Self::Busy => "ACK_CODE_BUSY",
            Self::Unsupported => "ACK_CODE_UNSUPPORTED",
            Self::Unauthenticated => "ACK_CODE_UNAUTHENTICATED",
            Self::Failed => "ACK_CODE_FAILED",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ACK_CODE_UNSPECIFIED" => Some(Self::Unspecified),
            "ACK_CODE_OK" => Some(Self::Ok),
            "ACK_CODE_ACCEPTED" => Some(Self::Accepted),
            "ACK_CODE_UNVERIFIED" => Some(Self::Unverified),
            "ACK_CODE_PARTIAL" => Some(Self::Partial),
            "ACK_CODE_INTERRUPTED" => Some(Self::Interrupted),
            "ACK_CODE_REFUSED" => Some(Self::Refused),
            "ACK_CODE_BUSY" => Some(Self::Busy),
            "ACK_CODE_UNSUPPORTED" => Some(Self::Unsupported),
            "ACK_CODE_UNAUTHENTICATED" => Some(Self::Unauthenticated),
            "ACK_CODE_FAILED" => Some(Self::Failed),
            _ => None,
        }
    }
}
/// What agents call. Register and the handshake authenticate themselves by what they carry; every other call needs
/// `Authorization: Bearer <session token>`, and the agent's identity is taken from that alone.
#[cfg(feature = "server")]
pub trait AgentGatewayService: Send + Sync + 'static {
    /// Uses an enrollment code, or asks again how the enrollment stands. At most once a second for one agent.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn register(
        &self,
        context: crate::rpc::Context,
        request: RegisterRequest,
    ) -> impl ::core::future::Future<
        Output = Result<RegisterResponse, crate::rpc::Status>,
    > + Send;
    /// Asks for a challenge.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn begin_auth_handshake(
        &self,
        context: crate::rpc::Context,
        request: BeginAuthHandshakeRequest,
    ) -> impl ::core::future::Future<
        Output = Result<BeginAuthHandshakeResponse, crate::rpc::Status>,
    > + Send;
    /// Answers the challenge; it works once. Returns the session token.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn complete_auth_handshake(
        &self,
        context: crate::rpc::Context,
        request: CompleteAuthHandshakeRequest,
    ) -> impl ::core::future::Future<
        Output = Result<CompleteAuthHandshakeResponse, crate::rpc::Status>,
    > + Send;
    /// Readings. One open stream an agent: a newer one ends the older.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn upload_telemetry(
        &self,
        context: crate::rpc::Context,
        request: crate::rpc::Incoming<UploadTelemetryRequest>,
    ) -> impl ::core::future::Future<
        Output = Result<UploadTelemetryResponse, crate::rpc::Status>,
    > + Send;
    /// Discoveries and status changes. One open stream an agent: a newer one ends the older.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn upload_events(
        &self,
        context: crate::rpc::Context,
        request: crate::rpc::Incoming<UploadEventsRequest>,
    ) -> impl ::core::future::Future<
        Output = Result<UploadEventsResponse, crate::rpc::Status>,
    > + Send;
    /// Says that the agent is there.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn upload_heartbeat(
        &self,
        context: crate::rpc::Context,
        request: UploadHeartbeatRequest,
    ) -> impl ::core::future::Future<
        Output = Result<UploadHeartbeatResponse, crate::rpc::Status>,
    > + Send;
    /// Commands to the agent and their acknowledgements. The first message is `hello`.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn control_stream(
        &self,
        context: crate::rpc::Context,
        request: crate::rpc::Incoming<ControlStreamRequest>,
    ) -> impl ::core::future::Future<
        Output = Result<crate::rpc::Outgoing<ControlStreamResponse>, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`AgentGatewayService`].
#[cfg(feature = "server")]
pub struct AgentGatewayServiceServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: AgentGatewayService> AgentGatewayServiceServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for AgentGatewayServiceServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("AgentGatewayServiceServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: AgentGatewayService> crate::rpc::Service for AgentGatewayServiceServer<T> {}
#[cfg(feature = "server")]
impl<T: AgentGatewayService> glue::Dispatcher for AgentGatewayServiceServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "agentgateway.v1.AgentGatewayService/Register" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_REGISTER,
                        )
                }
                "agentgateway.v1.AgentGatewayService/BeginAuthHandshake" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_BEGIN_AUTH_HANDSHAKE,
                        )
                }
                "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_COMPLETE_AUTH_HANDSHAKE,
                        )
                }
                "agentgateway.v1.AgentGatewayService/UploadTelemetry" => {
                    glue::MethodDescriptor::client_streaming()
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_TELEMETRY,
                        )
                }
                "agentgateway.v1.AgentGatewayService/UploadEvents" => {
                    glue::MethodDescriptor::client_streaming()
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_EVENTS,
                        )
                }
                "agentgateway.v1.AgentGatewayService/UploadHeartbeat" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_HEARTBEAT,
                        )
                }
                "agentgateway.v1.AgentGatewayService/ControlStream" => {
                    glue::MethodDescriptor::bidi_streaming()
                        .with_spec(
                            spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_CONTROL_STREAM,
                        )
                }
                _ => return None,
            },
        )
    }
    fn call_unary(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::Payload,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        match path {
            "agentgateway.v1.AgentGatewayService/Register" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .register(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentgateway.v1.AgentGatewayService/BeginAuthHandshake" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .begin_auth_handshake(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .complete_auth_handshake(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentgateway.v1.AgentGatewayService/UploadHeartbeat" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .upload_heartbeat(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
    fn call_server_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: ::bytes::Bytes,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_client_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        match path {
            "agentgateway.v1.AgentGatewayService/UploadTelemetry" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode_stream(request, format, false);
                    let response = service
                        .upload_telemetry(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentgateway.v1.AgentGatewayService/UploadEvents" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode_stream(request, format, false);
                    let response = service
                        .upload_events(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        match path {
            "agentgateway.v1.AgentGatewayService/ControlStream" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode_stream(request, format, false);
                    let response = service
                        .control_stream(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode_stream(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
}
#[cfg(any(feature = "client", feature = "server"))]
mod spec_agent_gateway_service {
    use crate::rpc::glue;
    pub(super) const AGENT_GATEWAY_SERVICE_REGISTER: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/Register",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_BEGIN_AUTH_HANDSHAKE: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_COMPLETE_AUTH_HANDSHAKE: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_UPLOAD_TELEMETRY: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/UploadTelemetry",
            glue::StreamType::ClientStream,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_UPLOAD_EVENTS: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/UploadEvents",
            glue::StreamType::ClientStream,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_UPLOAD_HEARTBEAT: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/UploadHeartbeat",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_GATEWAY_SERVICE_CONTROL_STREAM: glue::Spec = glue::Spec::server(
            "/agentgateway.v1.AgentGatewayService/ControlStream",
            glue::StreamType::BidiStream,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
}
/// Calls `agentgateway.v1.AgentGatewayService`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct AgentGatewayServiceClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl AgentGatewayServiceClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// Uses an enrollment code, or asks again how the enrollment stands. At most once a second for one agent.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn register(
        &self,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, crate::rpc::Status> {
        self.0
            .unary(spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_REGISTER, request)
            .await
    }
    /// Asks for a challenge.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn begin_auth_handshake(
        &self,
        request: BeginAuthHandshakeRequest,
    ) -> Result<BeginAuthHandshakeResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_BEGIN_AUTH_HANDSHAKE,
                request,
            )
            .await
    }
    /// Answers the challenge; it works once. Returns the session token.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn complete_auth_handshake(
        &self,
        request: CompleteAuthHandshakeRequest,
    ) -> Result<CompleteAuthHandshakeResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_COMPLETE_AUTH_HANDSHAKE,
                request,
            )
            .await
    }
    /// Readings. One open stream an agent: a newer one ends the older.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn upload_telemetry(
        &self,
        requests: impl ::futures::Stream<Item = UploadTelemetryRequest> + Send + 'static,
    ) -> Result<UploadTelemetryResponse, crate::rpc::Status> {
        self.0
            .client_stream(
                spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_TELEMETRY,
                requests,
            )
            .await
    }
    /// Discoveries and status changes. One open stream an agent: a newer one ends the older.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn upload_events(
        &self,
        requests: impl ::futures::Stream<Item = UploadEventsRequest> + Send + 'static,
    ) -> Result<UploadEventsResponse, crate::rpc::Status> {
        self.0
            .client_stream(
                spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_EVENTS,
                requests,
            )
            .await
    }
    /// Says that the agent is there.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn upload_heartbeat(
        &self,
        request: UploadHeartbeatRequest,
    ) -> Result<UploadHeartbeatResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_UPLOAD_HEARTBEAT,
                request,
            )
            .await
    }
    /// Commands to the agent and their acknowledgements. The first message is `hello`.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn control_stream(
        &self,
    ) -> Result<
        crate::rpc::Bidi<ControlStreamRequest, ControlStreamResponse>,
        crate::rpc::Status,
    > {
        self.0
            .bidi(spec_agent_gateway_service::AGENT_GATEWAY_SERVICE_CONTROL_STREAM)
            .await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const AGENT_GATEWAY_SERVICE_PROCEDURES: [&str; 7] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
    "agentgateway.v1.AgentGatewayService/UploadTelemetry",
    "agentgateway.v1.AgentGatewayService/UploadEvents",
    "agentgateway.v1.AgentGatewayService/UploadHeartbeat",
    "agentgateway.v1.AgentGatewayService/ControlStream",
];
impl ::core::fmt::Debug for RegisterRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("RegisterRequest")
            .field("name", &self.name)
            .field("identity_pubkey", &self.identity_pubkey)
            .field("miner_signing_pubkey", &self.miner_signing_pubkey)
            .field("sealing_pubkey", &self.sealing_pubkey)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for RegisterResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("RegisterResponse")
            .field("agent_id", &self.agent_id)
            .field("enrollment_status", &self.enrollment_status)
            .field("identity_fingerprint", &self.identity_fingerprint)
            .field("org_manifest", &self.org_manifest)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for BeginAuthHandshakeRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("BeginAuthHandshakeRequest")
            .field("identity_pubkey", &self.identity_pubkey)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for BeginAuthHandshakeResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("BeginAuthHandshakeResponse")
            .field("expires_at", &self.expires_at)
            .field("server_time", &self.server_time)
            .field("org_manifest", &self.org_manifest)
            .field("agent_certificate", &self.agent_certificate)
            .field("last_sequence", &self.last_sequence)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for CompleteAuthHandshakeRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CompleteAuthHandshakeRequest").finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for CompleteAuthHandshakeResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CompleteAuthHandshakeResponse")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for UploadTelemetryRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("UploadTelemetryRequest")
            .field("captured_at", &self.captured_at)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for UploadEventsRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("UploadEventsRequest")
            .field("captured_at", &self.captured_at)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for ControlCommand {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("ControlCommand")
            .field("command_id", &self.command_id)
            .field("actor", &self.actor)
            .field("sequence", &self.sequence)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for ControlAck {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("ControlAck")
            .field("command_id", &self.command_id)
            .field("succeeded", &self.succeeded)
            .field("error_message", &self.error_message)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}
