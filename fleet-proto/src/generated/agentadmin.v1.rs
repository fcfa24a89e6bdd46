// Generated from the .proto files by tests/generate; do not edit.

/// An agent.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.Agent",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Agent {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
    #[prost(string, tag = "2")]
    pub name: ::prost::alloc::string::String,
    #[prost(enumeration = "AgentKind", tag = "3")]
    pub kind: i32,
    #[prost(enumeration = "super::super::agentgateway::v1::EnrollmentStatus", tag = "4")]
    pub status: i32,
    /// Of its three public keys; empty until the agent is confirmed, so that it can only be read from the agent.
    #[prost(string, tag = "5")]
    pub identity_fingerprint: ::prost::alloc::string::String,
    /// The enrollment to confirm, while the agent is PENDING; 0 otherwise.
    #[prost(int64, tag = "6")]
    pub pending_enrollment_id: i64,
    #[prost(message, optional, tag = "7")]
    pub created_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "8")]
    pub confirmed_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "9")]
    pub revoked_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "10")]
    pub last_heartbeat_at: ::core::option::Option<::prost_types::Timestamp>,
    /// As its last heartbeat said.
    #[prost(string, tag = "11")]
    pub agent_version: ::prost::alloc::string::String,
    /// Its session is alive and it was heard of within the last minute.
    #[prost(bool, tag = "12")]
    pub online: bool,
    /// Devices paired with it.
    #[prost(int64, tag = "13")]
    pub device_count: i64,
    /// How often somebody tried to use its code again with other keys or another name. Above 0 look closely.
    #[prost(int64, tag = "14")]
    pub second_uses: i64,
}
/// One code and what became of it.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.Enrollment",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Enrollment {
    #[prost(int64, tag = "1")]
    pub pending_enrollment_id: i64,
    #[prost(enumeration = "EnrollmentState", tag = "2")]
    pub state: i32,
    #[prost(message, optional, tag = "3")]
    pub created_at: ::core::option::Option<::prost_types::Timestamp>,
    /// The code's end while PENDING, then the confirmation's.
    #[prost(message, optional, tag = "4")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    /// The agent that registered; 0 for none.
    #[prost(int64, tag = "5")]
    pub agent_id: i64,
    /// Its name.
    #[prost(string, tag = "6")]
    pub agent_name: ::prost::alloc::string::String,
    /// See Agent.second_uses.
    #[prost(int64, tag = "7")]
    pub second_uses: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.CreateEnrollmentCodeRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct CreateEnrollmentCodeRequest {
    /// How long the code is good for: 1 minute to 7 days, 1 hour if absent.
    #[prost(message, optional, tag = "1")]
    pub ttl: ::core::option::Option<::prost_types::Duration>,
    /// The SHA-256 of a code that the operator's tool made, with an offline root. 32 bytes.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub code_sha256: ::core::option::Option<::prost::bytes::Bytes>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.CreateEnrollmentCodeResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct CreateEnrollmentCodeResponse {
    /// 88 characters, shown once; empty if the operator's tool made it.
    #[prost(string, tag = "1")]
    pub code: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(int64, tag = "3")]
    pub pending_enrollment_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.CancelEnrollmentRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CancelEnrollmentRequest {
    #[prost(int64, tag = "1")]
    pub pending_enrollment_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.CancelEnrollmentResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CancelEnrollmentResponse {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ListEnrollmentsRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListEnrollmentsRequest {
    /// 100 if 0, at most 1000.
    #[prost(int32, tag = "1")]
    pub page_size: i32,
    /// From the answer before.
    #[prost(string, tag = "2")]
    pub page_token: ::prost::alloc::string::String,
    /// Ended ones as well.
    #[prost(bool, tag = "3")]
    pub include_ended: bool,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ListEnrollmentsResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListEnrollmentsResponse {
    #[prost(message, repeated, tag = "1")]
    pub enrollments: ::prost::alloc::vec::Vec<Enrollment>,
    /// Empty on the last page.
    #[prost(string, tag = "2")]
    pub next_page_token: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ListAgentsRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListAgentsRequest {
    /// 100 if 0, at most 1000.
    #[prost(int32, tag = "1")]
    pub page_size: i32,
    /// From the answer before.
    #[prost(string, tag = "2")]
    pub page_token: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ListAgentsResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListAgentsResponse {
    #[prost(message, repeated, tag = "1")]
    pub agents: ::prost::alloc::vec::Vec<Agent>,
    /// Empty on the last page.
    #[prost(string, tag = "2")]
    pub next_page_token: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.GetAgentRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct GetAgentRequest {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.GetAgentResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct GetAgentResponse {
    #[prost(message, optional, tag = "1")]
    pub agent: ::core::option::Option<Agent>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ConfirmAgentRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfirmAgentRequest {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
    #[prost(int64, tag = "2")]
    pub pending_enrollment_id: i64,
    /// As the agent shows it: 25 digits, with or without dashes and blanks.
    #[prost(string, tag = "3")]
    pub fingerprint: ::prost::alloc::string::String,
    /// With an offline root only: the certificate that the operator's tool signed.
    #[prost(message, optional, tag = "4")]
    pub agent_certificate: ::core::option::Option<
        super::super::fleet::v1::AgentCertificate,
    >,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.ConfirmAgentResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct ConfirmAgentResponse {
    /// Shown once, for pasting at the agent; it is delivered sealed as well.
    #[prost(string, tag = "1")]
    pub api_key: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.RevokeAgentRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RevokeAgentRequest {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "agentadmin.v1.RevokeAgentResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RevokeAgentResponse {}
/// Where an agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum AgentKind {
    Unspecified = 0,
    /// In its own process; enrolled with a code.
    Remote = 1,
    /// The half of a combined server that owns miner I/O.
    Local = 2,
}
impl AgentKind {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "AGENT_KIND_UNSPECIFIED",
            Self::Remote => "AGENT_KIND_REMOTE",
            Self::Local => "AGENT_KIND_LOCAL",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "AGENT_KIND_UNSPECIFIED" => Some(Self::Unspecified),
            "AGENT_KIND_REMOTE" => Some(Self::Remote),
            "AGENT_KIND_LOCAL" => Some(Self::Local),
            _ => None,
        }
    }
}
/// Where an enrollment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum EnrollmentState {
    Unspecified = 0,
    /// The code was made and not used.
    Pending = 1,
    /// An agent registered; an operator must confirm it.
    AwaitingConfirmation = 2,
    Confirmed = 3,
    Expired = 4,
    Cancelled = 5,
}
impl EnrollmentState {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "ENROLLMENT_STATE_UNSPECIFIED",
            Self::Pending => "ENROLLMENT_STATE_PENDING",
            Self::AwaitingConfirmation => "ENROLLMENT_STATE_AWAITING_CONFIRMATION",
            Self::Confirmed => "ENROLLMENT_STATE_CONFIRMED",
            Self::Expired => "ENROLLMENT_STATE_EXPIRED",
            Self::Cancelled => "ENROLLMENT_STATE_CANCELLED",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ENROLLMENT_STATE_UNSPECIFIED" => Some(Self::Unspecified),
            "ENROLLMENT_STATE_PENDING" => Some(Self::Pending),
            "ENROLLMENT_STATE_AWAITING_CONFIRMATION" => Some(Self::AwaitingConfirmation),
            "ENROLLMENT_STATE_CONFIRMED" => Some(Self::Confirmed),
            "ENROLLMENT_STATE_EXPIRED" => Some(Self::Expired),
            "ENROLLMENT_STATE_CANCELLED" => Some(Self::Cancelled),
            _ => None,
        }
    }
}
/// What operators call to enroll and end agents. Every call needs `Authorization: Bearer` with the token of a login
/// or an operator's api_key.
#[cfg(feature = "server")]
pub trait AgentAdminService: Send + Sync + 'static {
    /// Makes an enrollment code. It is shown once.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn create_enrollment_code(
        &self,
        context: crate::rpc::Context,
        request: CreateEnrollmentCodeRequest,
    ) -> impl ::core::future::Future<
        Output = Result<CreateEnrollmentCodeResponse, crate::rpc::Status>,
    > + Send;
    /// Cancels an enrollment that is not confirmed; its agent, if it has one, is discarded.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn cancel_enrollment(
        &self,
        context: crate::rpc::Context,
        request: CancelEnrollmentRequest,
    ) -> impl ::core::future::Future<
        Output = Result<CancelEnrollmentResponse, crate::rpc::Status>,
    > + Send;
    /// Enrollments, oldest first.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_enrollments(
        &self,
        context: crate::rpc::Context,
        request: ListEnrollmentsRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListEnrollmentsResponse, crate::rpc::Status>,
    > + Send;
    /// Agents, by id.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_agents(
        &self,
        context: crate::rpc::Context,
        request: ListAgentsRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListAgentsResponse, crate::rpc::Status>,
    > + Send;
    /// See the .proto file.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn get_agent(
        &self,
        context: crate::rpc::Context,
        request: GetAgentRequest,
    ) -> impl ::core::future::Future<
        Output = Result<GetAgentResponse, crate::rpc::Status>,
    > + Send;
    /// Confirms an agent by the fingerprint that the agent itself shows.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn confirm_agent(
        &self,
        context: crate::rpc::Context,
        request: ConfirmAgentRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ConfirmAgentResponse, crate::rpc::Status>,
    > + Send;
    /// Revokes a confirmed agent for good: its credentials end, its devices are unpaired.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn revoke_agent(
        &self,
        context: crate::rpc::Context,
        request: RevokeAgentRequest,
    ) -> impl ::core::future::Future<
        Output = Result<RevokeAgentResponse, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`AgentAdminService`].
#[cfg(feature = "server")]
pub struct AgentAdminServiceServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: AgentAdminService> AgentAdminServiceServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for AgentAdminServiceServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("AgentAdminServiceServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: AgentAdminService> crate::rpc::Service for AgentAdminServiceServer<T> {}
#[cfg(feature = "server")]
impl<T: AgentAdminService> glue::Dispatcher for AgentAdminServiceServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "agentadmin.v1.AgentAdminService/CreateEnrollmentCode" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_CREATE_ENROLLMENT_CODE,
                        )
                }
                "agentadmin.v1.AgentAdminService/CancelEnrollment" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_CANCEL_ENROLLMENT,
                        )
                }
                "agentadmin.v1.AgentAdminService/ListEnrollments" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_LIST_ENROLLMENTS,
                        )
                }
                "agentadmin.v1.AgentAdminService/ListAgents" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_LIST_AGENTS,
                        )
                }
                "agentadmin.v1.AgentAdminService/GetAgent" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_GET_AGENT,
                        )
                }
                "agentadmin.v1.AgentAdminService/ConfirmAgent" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_CONFIRM_AGENT,
                        )
                }
                "agentadmin.v1.AgentAdminService/RevokeAgent" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_agent_admin_service::AGENT_ADMIN_SERVICE_REVOKE_AGENT,
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
            "agentadmin.v1.AgentAdminService/CreateEnrollmentCode" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .create_enrollment_code(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/CancelEnrollment" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .cancel_enrollment(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/ListEnrollments" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_enrollments(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/ListAgents" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_agents(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/GetAgent" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .get_agent(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/ConfirmAgent" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .confirm_agent(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "agentadmin.v1.AgentAdminService/RevokeAgent" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .revoke_agent(glue::context(context), request)
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
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
}
#[cfg(any(feature = "client", feature = "server"))]
mod spec_agent_admin_service {
    use crate::rpc::glue;
    pub(super) const AGENT_ADMIN_SERVICE_CREATE_ENROLLMENT_CODE: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/CreateEnrollmentCode",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_ADMIN_SERVICE_CANCEL_ENROLLMENT: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/CancelEnrollment",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_ADMIN_SERVICE_LIST_ENROLLMENTS: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/ListEnrollments",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const AGENT_ADMIN_SERVICE_LIST_AGENTS: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/ListAgents",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const AGENT_ADMIN_SERVICE_GET_AGENT: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/GetAgent",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const AGENT_ADMIN_SERVICE_CONFIRM_AGENT: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/ConfirmAgent",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const AGENT_ADMIN_SERVICE_REVOKE_AGENT: glue::Spec = glue::Spec::server(
            "/agentadmin.v1.AgentAdminService/RevokeAgent",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
}
/// Calls `agentadmin.v1.AgentAdminService`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct AgentAdminServiceClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl AgentAdminServiceClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// Makes an enrollment code. It is shown once.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn create_enrollment_code(
        &self,
        request: CreateEnrollmentCodeRequest,
    ) -> Result<CreateEnrollmentCodeResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_admin_service::AGENT_ADMIN_SERVICE_CREATE_ENROLLMENT_CODE,
                request,
            )
            .await
    }
    /// Cancels an enrollment that is not confirmed; its agent, if it has one, is discarded.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn cancel_enrollment(
        &self,
        request: CancelEnrollmentRequest,
    ) -> Result<CancelEnrollmentResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_admin_service::AGENT_ADMIN_SERVICE_CANCEL_ENROLLMENT,
                request,
            )
            .await
    }
    /// Enrollments, oldest first.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_enrollments(
        &self,
        request: ListEnrollmentsRequest,
    ) -> Result<ListEnrollmentsResponse, crate::rpc::Status> {
        self.0
            .unary(
                spec_agent_admin_service::AGENT_ADMIN_SERVICE_LIST_ENROLLMENTS,
                request,
            )
            .await
    }
    /// Agents, by id.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_agents(
        &self,
        request: ListAgentsRequest,
    ) -> Result<ListAgentsResponse, crate::rpc::Status> {
        self.0
            .unary(spec_agent_admin_service::AGENT_ADMIN_SERVICE_LIST_AGENTS, request)
            .await
    }
    /// See the .proto file.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn get_agent(
        &self,
        request: GetAgentRequest,
    ) -> Result<GetAgentResponse, crate::rpc::Status> {
        self.0
            .unary(spec_agent_admin_service::AGENT_ADMIN_SERVICE_GET_AGENT, request)
            .await
    }
    /// Confirms an agent by the fingerprint that the agent itself shows.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn confirm_agent(
        &self,
        request: ConfirmAgentRequest,
    ) -> Result<ConfirmAgentResponse, crate::rpc::Status> {
        self.0
            .unary(spec_agent_admin_service::AGENT_ADMIN_SERVICE_CONFIRM_AGENT, request)
            .await
    }
    /// Revokes a confirmed agent for good: its credentials end, its devices are unpaired.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn revoke_agent(
        &self,
        request: RevokeAgentRequest,
    ) -> Result<RevokeAgentResponse, crate::rpc::Status> {
        self.0
            .unary(spec_agent_admin_service::AGENT_ADMIN_SERVICE_REVOKE_AGENT, request)
            .await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const AGENT_ADMIN_SERVICE_PROCEDURES: [&str; 7] = [
    "agentadmin.v1.AgentAdminService/CreateEnrollmentCode",
    "agentadmin.v1.AgentAdminService/CancelEnrollment",
    "agentadmin.v1.AgentAdminService/ListEnrollments",
    "agentadmin.v1.AgentAdminService/ListAgents",
    "agentadmin.v1.AgentAdminService/GetAgent",
    "agentadmin.v1.AgentAdminService/ConfirmAgent",
    "agentadmin.v1.AgentAdminService/RevokeAgent",
];
impl ::core::fmt::Debug for CreateEnrollmentCodeRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CreateEnrollmentCodeRequest")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for CreateEnrollmentCodeResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CreateEnrollmentCodeResponse")
            .field("expires_at", &self.expires_at)
            .field("pending_enrollment_id", &self.pending_enrollment_id)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for ConfirmAgentResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("ConfirmAgentResponse").finish_non_exhaustive()
    }
}
