// Generated from the .proto files by tests/generate; do not edit.

#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "grpc.health.v1.HealthListRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct HealthListRequest {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "grpc.health.v1.HealthListResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct HealthListResponse {
    /// statuses contains all the services and their respective status.
    #[prost(map = "string, message", tag = "1")]
    pub statuses: ::std::collections::HashMap<
        ::prost::alloc::string::String,
        HealthCheckResponse,
    >,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "grpc.health.v1.HealthCheckRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub service: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "grpc.health.v1.HealthCheckResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct HealthCheckResponse {
    #[prost(enumeration = "health_check_response::ServingStatus", tag = "1")]
    pub status: i32,
}
/// Nested message and enum types in `HealthCheckResponse`.
pub mod health_check_response {
    #[derive(
        Clone,
        Copy,
        Debug,
        PartialEq,
        Eq,
        Hash,
        PartialOrd,
        Ord,
        ::prost::Enumeration
    )]
    #[repr(i32)]
    pub enum ServingStatus {
        Unknown = 0,
        Serving = 1,
        NotServing = 2,
        /// Used only by the Watch method.
        ServiceUnknown = 3,
    }
    impl ServingStatus {
        /// String value of the enum field names used in the ProtoBuf definition.
        ///
        /// The values are not transformed in any way and thus are considered stable
        /// (if the ProtoBuf definition does not change) and safe for programmatic use.
        pub fn as_str_name(&self) -> &'static str {
            match self {
                Self::Unknown => "UNKNOWN",
                Self::Serving => "SERVING",
                Self::NotServing => "NOT_SERVING",
                Self::ServiceUnknown => "SERVICE_UNKNOWN",
            }
        }
        /// Creates an enum from field names used in the ProtoBuf definition.
        pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
            match value {
                "UNKNOWN" => Some(Self::Unknown),
                "SERVING" => Some(Self::Serving),
                "NOT_SERVING" => Some(Self::NotServing),
                "SERVICE_UNKNOWN" => Some(Self::ServiceUnknown),
                _ => None,
            }
        }
    }
}
/// Health is gRPC's mechanism for checking whether a server is able to handle
/// RPCs. Its semantics are documented in
/// https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
#[cfg(feature = "server")]
pub trait Health: Send + Sync + 'static {
    /// Check gets the health of the specified service. If the requested service
    /// is unknown, the call will fail with status NOT_FOUND. If the caller does
    /// not specify a service name, the server should respond with its overall
    /// health status.
    /// Clients should set a deadline when calling Check, and can declare the
    /// server unhealthy if they do not receive a timely response.
    /// Check implementations should be idempotent and side effect free.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn check(
        &self,
        context: crate::rpc::Context,
        request: HealthCheckRequest,
    ) -> impl ::core::future::Future<
        Output = Result<HealthCheckResponse, crate::rpc::Status>,
    > + Send;
    /// Performs a watch for the serving status of the requested service.
    /// The server will immediately send back a message indicating the current
    /// serving status.  It will then subsequently send a new message whenever
    /// the service's serving status changes.
    /// If the requested service is unknown when the call is received, the
    /// server will send a message setting the serving status to
    /// SERVICE_UNKNOWN but will *not* terminate the call.  If at some
    /// future point, the serving status of the service becomes known, the
    /// server will send a new message with the service's serving status.
    /// If the call terminates with status UNIMPLEMENTED, then clients
    /// should assume this method is not supported and should not retry the
    /// call.  If the call terminates with any other status (including OK),
    /// clients should retry the call with appropriate exponential backoff.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn watch(
        &self,
        context: crate::rpc::Context,
        request: HealthCheckRequest,
    ) -> impl ::core::future::Future<
        Output = Result<crate::rpc::Outgoing<HealthCheckResponse>, crate::rpc::Status>,
    > + Send;
    /// List provides a non-atomic snapshot of the health of all the available
    /// services.
    /// The server may respond with a RESOURCE_EXHAUSTED error if too many services
    /// exist.
    /// Clients should set a deadline when calling List, and can declare the server
    /// unhealthy if they do not receive a timely response.
    /// Clients should keep in mind that the list of health services exposed by an
    /// application can change over the lifetime of the process.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list(
        &self,
        context: crate::rpc::Context,
        request: HealthListRequest,
    ) -> impl ::core::future::Future<
        Output = Result<HealthListResponse, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`Health`].
#[cfg(feature = "server")]
pub struct HealthServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: Health> HealthServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for HealthServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("HealthServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: Health> crate::rpc::Service for HealthServer<T> {}
#[cfg(feature = "server")]
impl<T: Health> glue::Dispatcher for HealthServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "grpc.health.v1.Health/Check" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_health::HEALTH_CHECK)
                }
                "grpc.health.v1.Health/Watch" => {
                    glue::MethodDescriptor::server_streaming()
                        .with_spec(spec_health::HEALTH_WATCH)
                }
                "grpc.health.v1.Health/List" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_health::HEALTH_LIST)
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
            "grpc.health.v1.Health/Check" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .check(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "grpc.health.v1.Health/List" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, false)?;
                    let response = service
                        .list(glue::context(context), request)
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
        match path {
            "grpc.health.v1.Health/Watch" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request, format, false)?;
                    let response = service
                        .watch(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode_stream(response, format)
                })
            }
            _ => glue::missing(path),
        }
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
mod spec_health {
    use crate::rpc::glue;
    pub(super) const HEALTH_CHECK: glue::Spec = glue::Spec::server(
            "/grpc.health.v1.Health/Check",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    #[cfg(feature = "server")]
    pub(super) const HEALTH_WATCH: glue::Spec = glue::Spec::server(
            "/grpc.health.v1.Health/Watch",
            glue::StreamType::ServerStream,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const HEALTH_LIST: glue::Spec = glue::Spec::server(
            "/grpc.health.v1.Health/List",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
}
/// Calls `grpc.health.v1.Health`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct HealthClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl HealthClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// Check gets the health of the specified service. If the requested service
    /// is unknown, the call will fail with status NOT_FOUND. If the caller does
    /// not specify a service name, the server should respond with its overall
    /// health status.
    /// Clients should set a deadline when calling Check, and can declare the
    /// server unhealthy if they do not receive a timely response.
    /// Check implementations should be idempotent and side effect free.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn check(
        &self,
        request: HealthCheckRequest,
    ) -> Result<HealthCheckResponse, crate::rpc::Status> {
        self.0.unary(spec_health::HEALTH_CHECK, request).await
    }
    /// List provides a non-atomic snapshot of the health of all the available
    /// services.
    /// The server may respond with a RESOURCE_EXHAUSTED error if too many services
    /// exist.
    /// Clients should set a deadline when calling List, and can declare the server
    /// unhealthy if they do not receive a timely response.
    /// Clients should keep in mind that the list of health services exposed by an
    /// application can change over the lifetime of the process.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list(
        &self,
        request: HealthListRequest,
    ) -> Result<HealthListResponse, crate::rpc::Status> {
        self.0.unary(spec_health::HEALTH_LIST, request).await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const HEALTH_PROCEDURES: [&str; 3] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.health.v1.Health/List",
];
