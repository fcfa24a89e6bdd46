//! Everything that connectrpc and buffa need to be told about the messages of this crate.

pub use connectrpc::{IdempotencyLevel, Spec, StreamType};
#[cfg(feature = "client")]
pub(crate) use connectrpc::{
    SpecOrigin,
    client::{CallOptions, ClientConfig, Http2Connection, SharedHttp2Connection},
};
#[cfg(feature = "server")]
pub use server::*;

use connectrpc::ConnectError;
use connectrpc::ErrorCode;
use core::time::Duration;

use super::{Code, Status};

/// A message of this crate.
pub trait Message:
    prost::Message + prost_reflect::ReflectMessage + crate::validate::Validate + Default + 'static
{
}

impl<M> Message for M where
    M: prost::Message + prost_reflect::ReflectMessage + crate::validate::Validate + Default + 'static
{
}

const CODES: [(Code, ErrorCode); 16] = [
    (Code::Canceled, ErrorCode::Canceled),
    (Code::Unknown, ErrorCode::Unknown),
    (Code::InvalidArgument, ErrorCode::InvalidArgument),
    (Code::DeadlineExceeded, ErrorCode::DeadlineExceeded),
    (Code::NotFound, ErrorCode::NotFound),
    (Code::AlreadyExists, ErrorCode::AlreadyExists),
    (Code::PermissionDenied, ErrorCode::PermissionDenied),
    (Code::ResourceExhausted, ErrorCode::ResourceExhausted),
    (Code::FailedPrecondition, ErrorCode::FailedPrecondition),
    (Code::Aborted, ErrorCode::Aborted),
    (Code::OutOfRange, ErrorCode::OutOfRange),
    (Code::Unimplemented, ErrorCode::Unimplemented),
    (Code::Internal, ErrorCode::Internal),
    (Code::Unavailable, ErrorCode::Unavailable),
    (Code::DataLoss, ErrorCode::DataLoss),
    (Code::Unauthenticated, ErrorCode::Unauthenticated),
];

/// How the Connect protocol writes details.
const DETAIL_BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD_NO_PAD;

const RETRY_AFTER: http::HeaderName = http::header::RETRY_AFTER;

/// A status as connectrpc sends it.
pub fn error(status: Status) -> ConnectError {
    let code =
        CODES.iter().find(|(ours, _)| *ours == status.code).map_or(ErrorCode::Unknown, |(_, code)| *code);
    let mut error = ConnectError::new(code, status.message);
    if let Some(wait) = status.retry_after {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        error.response_headers_mut().insert(RETRY_AFTER, seconds.into());
        error.details.push(retry_info(wait));
    }
    error
}

/// google.rpc.RetryInfo, which clients of gRPC know.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

const RETRY_INFO: &str = "google.rpc.RetryInfo";

fn retry_info(wait: Duration) -> connectrpc::ErrorDetail {
    let retry_delay = prost_types::Duration::try_from(wait).ok();
    let bytes = prost::Message::encode_to_vec(&RetryInfo { retry_delay });
    connectrpc::ErrorDetail {
        type_url: RETRY_INFO.to_owned(),
        value: Some(base64::Engine::encode(&DETAIL_BASE64, bytes)),
        debug: None,
    }
}

/// The wait that a detail asks for, in whole seconds, rounded up.
fn retry_delay(detail: &connectrpc::ErrorDetail) -> Option<u64> {
    let name = detail.type_url.rsplit('/').next()?;
    let value = detail.value.as_deref().filter(|_| name == RETRY_INFO)?;
    let bytes = base64::Engine::decode(&DETAIL_BASE64, value.trim_end_matches('=')).ok()?;
    let info: RetryInfo = prost::Message::decode(bytes.as_slice()).ok()?;
    let wait = Duration::try_from(info.retry_delay?).ok()?;
    Some(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
}

/// What connectrpc received, as a status.
pub(crate) fn status(error: &ConnectError) -> Status {
    let code = CODES.iter().find(|(_, code)| *code == error.code).map_or(Code::Unknown, |(ours, _)| *ours);
    let wait = error.response_headers().get(RETRY_AFTER).or_else(|| error.trailers().get(RETRY_AFTER));
    let seconds = wait.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    // A proxy may have taken the header away.
    let seconds = seconds.or_else(|| error.details.iter().find_map(retry_delay));
    let message = error.message.as_deref().unwrap_or_else(|| error.code.as_str());
    Status {
        code,
        message: shown(&with_causes(message, error)),
        retry_after: seconds.map(Duration::from_secs),
        // What went wrong on this side has a cause, what came over the wire has none.
        from_peer: error.source_arc().is_none(),
    }
}

/// What went wrong on this side, with what there is behind it: "connection error" alone helps nobody.
fn with_causes(message: &str, error: &ConnectError) -> String {
    let mut text = message.to_owned();
    let mut source = core::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors show their cause already.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The most characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 512;

/// A message as it may be shown: nothing in it moves a cursor, breaks the line, or cannot be seen.
fn shown(message: &str) -> String {
    let visible = |c: char| if fleet_core::name::is_forbidden(c) { '\u{fffd}' } else { c };
    message.chars().take(MAX_MESSAGE_CHARS).map(visible).collect()
}

#[cfg(feature = "server")]
mod server {
    use bytes::Bytes;
    pub use connectrpc::{
        CodecFormat, Dispatcher, MethodDescriptor, Payload, RequestContext,
        dispatcher::{RequestStream, StreamingResult, UnaryResult},
    };
    use connectrpc::{ConnectError, EncodedResponse, EncodedStream, Response};
    use futures::{FutureExt, StreamExt};
    use prost_reflect::{DeserializeOptions, DynamicMessage};

    use super::{Message, error, status};
    use crate::rpc::{Broken, Context, Incoming, Outgoing, Status};

    /// Decodes and checks a request. `strict` refuses JSON fields that are not known.
    pub fn decode<M: Message>(bytes: &Bytes, format: CodecFormat, strict: bool) -> Result<M, ConnectError> {
        let message = parse::<M>(bytes, format, strict).map_err(error)?;
        message.validate().map_err(|violation| error(Status::invalid(violation)))?;
        Ok(message)
    }

    fn parse<M: Message>(bytes: &Bytes, format: CodecFormat, strict: bool) -> Result<M, Status> {
        if matches!(format, CodecFormat::Proto) {
            return M::decode(bytes.clone()).map_err(|error| {
                Status::invalid(format_args!("the message is not valid protobuf: {error}"))
            });
        }
        let bad = |error| Status::invalid(format_args!("the message is not valid JSON: {error}"));
        let options = DeserializeOptions::new().deny_unknown_fields(strict);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let descriptor = M::default().descriptor();
        let message =
            DynamicMessage::deserialize_with_options(descriptor, &mut json, &options).map_err(bad)?;
        json.end().map_err(bad)?;
        message
            .transcode_to()
            .map_err(|error| Status::invalid(format_args!("the message is malformed: {error}")))
    }

    fn bytes<M: Message>(message: &M, format: CodecFormat) -> Result<Bytes, ConnectError> {
        match format {
            CodecFormat::Proto => Ok(message.encode_to_vec().into()),
            CodecFormat::Json | _ => connectrpc::codec::encode_json(&message.transcode_to_dynamic()),
        }
    }

    /// Encodes an answer.
    pub fn encode<M: Message>(message: M, format: CodecFormat) -> Result<EncodedResponse, ConnectError> {
        Ok(Response::new(bytes(&message, format)?.into()))
    }

    /// Decodes and checks a stream of requests. A message that breaks a rule does not end the stream: its service
    /// decides.
    pub fn decode_stream<M: Message>(
        stream: RequestStream,
        format: CodecFormat,
        strict: bool,
    ) -> Incoming<M> {
        Box::pin(stream.map(move |item| match item {
            Ok(bytes) => decode(&bytes, format, strict).map_err(|error| Broken::Message(status(&error))),
            Err(error) => Err(Broken::Stream(status(&error))),
        }))
    }

    /// Encodes a stream of answers.
    pub fn encode_stream<M: Message>(
        stream: Outgoing<M>,
        format: CodecFormat,
    ) -> Result<Response<EncodedStream>, ConnectError> {
        let encoded = stream.map(move |item| {
            let message = item.map_err(error)?;
            bytes(&message, format).map(Into::into)
        });
        Ok(Response::new(Box::pin(encoded)))
    }

    /// The answer to a call of a method that does not exist.
    pub fn missing<T: Send + 'static>(
        path: &str,
    ) -> futures::future::BoxFuture<'static, Result<T, ConnectError>> {
        let error = ConnectError::unimplemented(format!("there is no method {path}"));
        Box::pin(async move { Err(error) })
    }

    /// What a service sees of its caller.
    pub fn context(context: RequestContext) -> Context {
        Context { extensions: context.extensions().clone() }
    }

    /// Several services as one.
    pub(crate) struct Registry {
        pub(crate) services: Vec<Box<dyn Dispatcher>>,
        /// Procedures with limits of their own.
        pub(crate) small: (&'static [&'static str], connectrpc::Limits),
    }

    impl Registry {
        fn of(&self, path: &str) -> Option<&dyn Dispatcher> {
            self.services.iter().map(AsRef::as_ref).find(|service| service.lookup(path).is_some())
        }
    }

    impl Dispatcher for Registry {
        fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
            let found = self.services.iter().find_map(|service| service.lookup(path))?;
            let (small, limits) = self.small;
            Some(if small.contains(&path) { found.with_limits(limits) } else { found })
        }

        fn call_unary(
            &self,
            path: &str,
            context: RequestContext,
            request: Payload,
            format: CodecFormat,
        ) -> UnaryResult {
            match self.of(path) {
                Some(service) => service.call_unary(path, context, request, format),
                None => missing(path),
            }
        }

        fn call_server_streaming(
            &self,
            path: &str,
            context: RequestContext,
            request: Bytes,
            format: CodecFormat,
        ) -> StreamingResult {
            match self.of(path) {
                Some(service) => service.call_server_streaming(path, context, request, format),
                None => missing(path),
            }
        }

        fn call_client_streaming(
            &self,
            path: &str,
            context: RequestContext,
            requests: RequestStream,
            format: CodecFormat,
        ) -> UnaryResult {
            match self.of(path) {
                Some(service) => service.call_client_streaming(path, context, requests, format),
                None => missing(path),
            }
        }

        fn call_bidi_streaming(
            &self,
            path: &str,
            context: RequestContext,
            requests: RequestStream,
            format: CodecFormat,
        ) -> StreamingResult {
            match self.of(path) {
                Some(service) => service.call_bidi_streaming(path, context, requests, format),
                None => missing(path),
            }
        }
    }

    impl Registry {
        /// Whether a method's answers are a stream, which may last, to callers who have shown who they are.
        pub(crate) fn lasts(&self, path: &str) -> bool {
            let kinds = [connectrpc::MethodKind::ServerStreaming, connectrpc::MethodKind::BidiStreaming];
            let method = self.lookup(path);
            !self.small.0.contains(&path) && method.is_some_and(|method| kinds.contains(&method.kind))
        }
    }

    /// Turns a panic of a handler into `internal`: one bad call must not end the others of its connection. A stream that
    /// a handler returns is polled outside; what it runs in a task of its own cannot panic into the connection.
    pub(crate) struct PanicGuard;

    fn panicked<T>(_: Box<dyn core::any::Any + Send>) -> Result<T, ConnectError> {
        tracing::error!("a handler panicked");
        Err(error(Status::internal()))
    }

    #[connectrpc::async_trait]
    impl connectrpc::Interceptor for PanicGuard {
        async fn intercept_unary(
            &self,
            request: connectrpc::interceptor::UnaryRequest,
            next: connectrpc::Next<'_>,
        ) -> Result<connectrpc::interceptor::UnaryResponse, ConnectError> {
            core::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(panicked)
        }

        async fn intercept_streaming(
            &self,
            request: connectrpc::interceptor::StreamRequest,
            inbound: connectrpc::PayloadStream,
            next: connectrpc::NextStream<'_>,
        ) -> Result<connectrpc::interceptor::StreamResponse, ConnectError> {
            core::panic::AssertUnwindSafe(next.run(request, inbound))
                .catch_unwind()
                .await
                .unwrap_or_else(panicked)
        }
    }
}

/// An encoded message that satisfies buffa's traits, which connectrpc's client asks for.
#[cfg(feature = "client")]
pub(crate) mod raw {
    use core::fmt;

    use buffa::view::{HasMessageView, MessageView, OwnedView};
    use bytes::Bytes;

    #[derive(Clone, PartialEq, Default)]
    pub(crate) struct Raw(pub(crate) Bytes);

    // What is in them is not known here: how much it is must do.
    impl fmt::Debug for Raw {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "Raw({} bytes)", self.0.len())
        }
    }

    impl buffa::DefaultInstance for Raw {
        fn default_instance() -> &'static Self {
            static EMPTY: Raw = Raw(Bytes::new());
            &EMPTY
        }
    }

    impl buffa::Message for Raw {
        fn compute_size(&self, _: &mut buffa::SizeCache) -> u32 {
            u32::try_from(self.0.len()).unwrap_or(u32::MAX)
        }

        fn write_to(&self, _: &mut buffa::SizeCache, sink: &mut impl buffa::EncodeSink) {
            sink.put_slice(&self.0);
        }

        fn merge_field(
            &mut self,
            _: buffa::encoding::Tag,
            _: &mut impl buffa::bytes::Buf,
            _: buffa::DecodeContext<'_>,
        ) -> Result<(), buffa::DecodeError> {
            Err(buffa::DecodeError::UnexpectedEof)
        }

        fn clear(&mut self) {
            self.0.clear();
        }
    }

    impl serde::Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("this client speaks protobuf only"))
        }
    }

    impl<'de> serde::Deserialize<'de> for Raw {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("this client speaks protobuf only"))
        }
    }

    pub(crate) struct RawView<'a>(&'a [u8]);

    impl fmt::Debug for RawView<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "RawView({} bytes)", self.0.len())
        }
    }

    impl<'a> MessageView<'a> for RawView<'a> {
        type Owned = Raw;

        fn decode_view(bytes: &'a [u8]) -> Result<Self, buffa::DecodeError> {
            Ok(RawView(bytes))
        }

        fn merge_view_field(
            &mut self,
            _: buffa::encoding::Tag,
            _: &'a [u8],
            _: &'a [u8],
            _: buffa::DecodeContext<'_>,
        ) -> Result<&'a [u8], buffa::DecodeError> {
            Err(buffa::DecodeError::UnexpectedEof)
        }

        fn to_owned_message(&self) -> Result<Raw, buffa::DecodeError> {
            Ok(Raw(Bytes::copy_from_slice(self.0)))
        }
    }

    #[derive(Debug)]
    pub(crate) struct Handle(OwnedView<RawView<'static>>);

    impl From<OwnedView<RawView<'static>>> for Handle {
        fn from(view: OwnedView<RawView<'static>>) -> Self {
            Self(view)
        }
    }

    impl AsRef<OwnedView<RawView<'static>>> for Handle {
        fn as_ref(&self) -> &OwnedView<RawView<'static>> {
            &self.0
        }
    }

    impl HasMessageView for Raw {
        type View<'a> = RawView<'a>;
        type ViewHandle = Handle;
    }

    #[cfg(test)]
    mod tests {
        use fleet_core::testing::Secrets;
        use insta::assert_snapshot;

        use super::*;

        #[test]
        fn debug_shows_nothing_of_a_message() {
            let message = "a-message-to-be-found";
            let secrets = Secrets::of([("the message", message)]);
            assert_snapshot!(secrets.unsaid(&Raw(message.into())), @"Raw(21 bytes)");
            assert_snapshot!(secrets.unsaid(&RawView(message.as_bytes())), @"RawView(21 bytes)");
        }
    }
}

#[cfg(feature = "client")]
pub(crate) mod call {
    use bytes::Bytes;
    use connectrpc::client::{BidiStream, call_bidi_stream, call_client_stream, call_unary};
    use futures::{Stream, StreamExt};

    use super::raw::{Raw, RawView};
    use super::{CallOptions, ClientConfig, Message, SharedHttp2Connection, Spec, SpecOrigin, status};
    use crate::rpc::{Code, Status};

    pub(crate) struct RawStream(BidiStream<hyper::body::Incoming, Raw, RawView<'static>>);

    fn decode<M: Message>(bytes: Bytes) -> Result<M, Status> {
        let malformed = |error: &dyn core::fmt::Display| {
            Status::new(Code::DataLoss, format!("the server's answer is malformed: {error}"))
        };
        let message = M::decode(bytes).map_err(|error| malformed(&error))?;
        message.validate().map_err(|violation| malformed(&violation))?;
        Ok(message)
    }

    pub(crate) async fn unary<I: Message, O: Message>(
        connection: &SharedHttp2Connection,
        config: &ClientConfig,
        spec: Spec,
        request: I,
        options: CallOptions,
    ) -> Result<O, Status> {
        let spec = spec.with_origin(SpecOrigin::Client);
        let request = Raw(request.encode_to_vec().into());
        let answer = call_unary::<_, Raw, RawView<'static>>(connection, config, spec, request, options).await;
        decode(answer.map_err(|error| status(&error))?.into_view().into_bytes())
    }

    pub(crate) async fn client_stream<I: Message, O: Message>(
        connection: &SharedHttp2Connection,
        config: &ClientConfig,
        spec: Spec,
        requests: impl Stream<Item = I> + Send + 'static,
        options: CallOptions,
    ) -> Result<O, Status> {
        let spec = spec.with_origin(SpecOrigin::Client);
        let requests = requests.map(|request| Raw(request.encode_to_vec().into()));
        let answer =
            call_client_stream::<_, Raw, RawView<'static>>(connection, config, spec, requests, options).await;
        decode(answer.map_err(|error| status(&error))?.into_view().into_bytes())
    }

    pub(crate) async fn bidi(
        connection: &SharedHttp2Connection,
        config: &ClientConfig,
        spec: Spec,
        options: CallOptions,
    ) -> Result<RawStream, Status> {
        let spec = spec.with_origin(SpecOrigin::Client);
        let stream = call_bidi_stream::<_, Raw, RawView<'static>>(connection, config, spec, options).await;
        stream.map(RawStream).map_err(|error| status(&error))
    }

    impl RawStream {
        pub(crate) async fn send<I: Message>(&mut self, message: I) -> Result<(), Status> {
            self.0.send(Raw(message.encode_to_vec().into())).await.map_err(|error| status(&error))
        }

        pub(crate) async fn message<O: Message>(&mut self) -> Result<Option<O>, Status> {
            let message = self.0.message::<Raw>().await.map_err(|error| status(&error))?;
            message.map(|message| decode(message.bytes().clone())).transpose()
        }

        pub(crate) fn close_send(&mut self) {
            self.0.close_send();
        }
    }
}
