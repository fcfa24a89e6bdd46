use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::Service as _;

use super::glue::{self, Dispatcher, PanicGuard, Registry};
use super::{MAX_MESSAGE_BYTES, Status};

/// The body of an answer.
pub type ResponseBody = UnsyncBoxBody<Bytes, core::convert::Infallible>;

/// What a peer streams to a service.
pub type Incoming<M> = BoxStream<'static, Result<M, Broken>>;

/// What a service streams to a peer.
pub type Outgoing<M> = BoxStream<'static, Result<M, Status>>;

/// One item of [`Incoming`] is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(clippy::exhaustive_enums, reason = "a service must decide in both cases")]
pub enum Broken {
    /// This message breaks a rule; the stream goes on.
    #[error("{0}")]
    Message(Status),
    /// The stream itself is over.
    #[error("{0}")]
    Stream(Status),
}

impl Broken {
    /// The status, whichever it is.
    #[must_use]
    pub fn into_status(self) -> Status {
        match self {
            Self::Message(status) | Self::Stream(status) => status,
        }
    }
}

/// What a service knows of a call besides its message: what layers in front put into the HTTP request's extensions,
/// above all who the caller is.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub(crate) extensions: http::Extensions,
}

impl Context {
    /// A context for calling a service directly.
    #[must_use]
    pub const fn new(extensions: http::Extensions) -> Self {
        Self { extensions }
    }

    /// What a layer in front put there.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }
}

/// A generated server, for example `AgentGatewayServiceServer`.
pub trait Service: Dispatcher {}

/// Bounds of what a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// One message, and the whole body of a call with one message, in bytes: [`MAX_MESSAGE_BYTES`].
    pub message_bytes: usize,
    /// How long a call with one message may take: 30 s.
    pub call_timeout: Duration,
    /// The longest message of the procedures in `small`, in bytes: 16 KiB.
    pub small_message_bytes: usize,
    /// Procedures, as `package.Service/Method`, whose messages are short and that anybody may call.
    pub small: &'static [&'static str],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MAX_MESSAGE_BYTES,
            call_timeout: Duration::from_secs(30),
            small_message_bytes: 16 * 1024,
            small: &[],
        }
    }
}

/// Services behind one listener. Answers Connect, gRPC and gRPC-Web, in protobuf and JSON, and describes itself by
/// gRPC server reflection. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    inner: connectrpc::ConnectRpcService<Registry>,
}

/// Puts services behind one listener.
///
/// # Errors
/// [`ReflectionError`] if the descriptors are damaged, which a test excludes.
pub fn serve(services: Vec<Box<dyn Service>>, limits: Limits) -> Result<Services, ReflectionError> {
    let reflector = connectrpc_reflection::Reflector::from_descriptor_set_bytes(crate::DESCRIPTOR_SET)
        .map_err(|error| ReflectionError(Box::new(error)))?;
    let mut all: Vec<Box<dyn Dispatcher>> = Vec::with_capacity(services.len().saturating_add(1));
    for service in services {
        all.push(service);
    }
    all.push(Box::new(connectrpc_reflection::install(connectrpc::Router::new(), reflector)));
    let bounds = connectrpc::Limits::default()
        .with_max_message_size(limits.message_bytes)
        .with_max_request_body_size(limits.message_bytes);
    let deadlines = connectrpc::DeadlinePolicy::new()
        .with_default_timeout(limits.call_timeout)
        .with_max(limits.call_timeout)
        .with_enforce_on_streams(false);
    let small = connectrpc::Limits::default()
        .with_max_message_size(limits.small_message_bytes)
        .with_max_request_body_size(limits.small_message_bytes);
    let inner = connectrpc::ConnectRpcService::new(Registry { services: all, small: (limits.small, small) })
        .with_limits(bounds)
        .with_deadline_policy(deadlines)
        .with_interceptor(PanicGuard);
    Ok(Services { inner })
}

/// The descriptors cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors are damaged")]
pub struct ReflectionError(#[source] Box<dyn core::error::Error + Send + Sync>);

impl Services {
    /// Answers one HTTP request.
    ///
    /// # Cancel safety
    /// Dropped, the call has ended as if its caller had gone away: a service's future is dropped with it, but
    /// for what that has spawned. The future is `Send` if the body is; a panic of a service is answered as
    /// `internal`.
    pub async fn call<B>(&self, request: http::Request<B>) -> http::Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: core::error::Error + Send + Sync + 'static,
    {
        let mut service = self.inner.clone();
        if self.inner.dispatcher().lasts(request.uri().path().trim_start_matches('/')) {
            // No limit of ours: a control stream stays open for as long as its session. The caller's own is kept.
            let deadline = connectrpc::DeadlinePolicy::new().with_enforce_on_streams(true);
            service = service.with_deadline_policy(deadline);
        }
        match service.call(request).await {
            Ok(response) => response.map(boxed),
            Err(never) => match never {},
        }
    }

    /// Whether `path`, as `/package.Service/Method`, is a method that is served.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.inner.dispatcher().lookup(path.trim_start_matches('/')).is_some()
    }
}

impl Status {
    /// The status as the answer to a request with these headers, in the protocol that they ask for.
    #[must_use]
    pub fn into_http_response(self, request_headers: &http::HeaderMap) -> http::Response<ResponseBody> {
        glue::error(self).into_http_response(request_headers).map(boxed)
    }
}

fn boxed(body: connectrpc::ConnectRpcBody) -> ResponseBody {
    match body {
        // As itself it has a length, which HTTP/1.1 then sends instead of chunks.
        connectrpc::ConnectRpcBody::Full(body) => body.boxed_unsync(),
        body @ (connectrpc::ConnectRpcBody::GrpcUnary(_) | connectrpc::ConnectRpcBody::Streaming(_) | _) => {
            body.boxed_unsync()
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
