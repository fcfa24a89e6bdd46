use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::sync::Arc;

use futures::Stream;

use super::connector::{LastAlert, TlsConnect, of_the_certificate};
use super::glue::{self, CallOptions, ClientConfig, Http2Connection, Message, SharedHttp2Connection, call};
use super::{MAX_MESSAGE_BYTES, Status};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is gone is noticed after both: about 15 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a server, made when it is first needed and again when it is lost. Cheap to clone.
///
/// HTTP/2, in clear for `http`, over TLS for `https`. Redirects are never followed, calls never repeated.
#[derive(Clone)]
pub struct Channel {
    connection: SharedHttp2Connection,
    config: ClientConfig,
    timeout: Duration,
    last: LastAlert,
}

impl Channel {
    /// A channel to `server`, for example `https://fleet.example`. `tls` says what is trusted; it must be given for
    /// `https` and offer `h2` by ALPN. To be called within a tokio runtime.
    #[must_use]
    pub fn new(server: http::Uri, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let builder = Http2Connection::builder()
            .establishment_timeout(CONNECT_TIMEOUT)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let last = LastAlert::default();
        let connection = match tls {
            Some(tls) => builder.lazy_with_connector(TlsConnect::new(tls, last.clone()), server.clone()),
            None => builder.lazy_plaintext(server.clone()),
        };
        let config = ClientConfig::new(server).with_default_max_message_size(MAX_MESSAGE_BYTES);
        Self { connection: connection.shared(64), config, timeout: DEFAULT_TIMEOUT, last }
    }

    /// The same connection, with `Authorization: Bearer` and this token on every call.
    #[must_use]
    pub fn with_bearer(&self, token: &str) -> Self {
        let mut headers = http::HeaderMap::new();
        // A token of our own forms is always a header value; without it the server says unauthenticated.
        if let Ok(mut value) = http::HeaderValue::try_from(format!("Bearer {token}")) {
            value.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, value);
        }
        Self { config: self.config.clone().with_default_headers(headers), ..self.clone() }
    }

    /// The same connection, with another limit for how long a call may take: 10 s by default. It does not apply to
    /// streams in both directions.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    pub(crate) async fn unary<I: Message, O: Message>(
        &self,
        spec: glue::Spec,
        request: I,
    ) -> Result<O, Status> {
        let options = CallOptions::default().with_timeout(self.timeout);
        let answer = call::unary(&self.connection, &self.config, spec, request, options).await;
        answer.map_err(|status| self.explained(status))
    }

    pub(crate) async fn client_stream<I: Message, O: Message>(
        &self,
        spec: glue::Spec,
        requests: impl Stream<Item = I> + Send + 'static,
    ) -> Result<O, Status> {
        let options = CallOptions::default().with_timeout(self.timeout);
        let answer = call::client_stream(&self.connection, &self.config, spec, requests, options).await;
        answer.map_err(|status| self.explained(status))
    }

    pub(crate) async fn bidi<I: Message, O: Message>(&self, spec: glue::Spec) -> Result<Bidi<I, O>, Status> {
        let stream = call::bidi(&self.connection, &self.config, spec, CallOptions::default()).await;
        let stream = stream.map_err(|status| self.explained(status))?;
        Ok(Bidi { stream, messages: PhantomData })
    }

    /// Adds what the server has said of this side's certificate to a call that did not get through.
    fn explained(&self, mut status: Status) -> Status {
        let reason = self.last.get().and_then(of_the_certificate);
        if let Some(reason) = reason.filter(|_| !status.from_peer) {
            status.message = format!("{reason} ({})", status.message);
        }
        status
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("server", self.config.base_uri()).finish_non_exhaustive()
    }
}

/// A stream in both directions. Dropping it ends the call.
pub struct Bidi<I, O> {
    stream: call::RawStream,
    messages: PhantomData<fn(I) -> O>,
}

impl<I: Message, O: Message> Bidi<I, O> {
    /// Sends a message. It waits while the peer takes none.
    ///
    /// # Errors
    /// [`Status`] if the stream is over.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the message was not sent, and is gone. The future is `Send`; it does not panic.
    pub async fn send(&mut self, message: I) -> Result<(), Status> {
        self.stream.send(message).await
    }

    /// The next message of the peer; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Status`]: the stream is over.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: no message is lost. The future is `Send`; it does not
    /// panic.
    pub async fn message(&mut self) -> Result<Option<O>, Status> {
        self.stream.message().await
    }

    /// Says that nothing more will be sent.
    pub fn close_send(&mut self) {
        self.stream.close_send();
    }
}

impl<I, O> fmt::Debug for Bidi<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bidi").finish_non_exhaustive()
    }
}
