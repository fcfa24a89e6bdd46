//! Connections over TLS that remember why they ended.
//!
//! In TLS 1.3 a client is done before the server has judged its certificate. What the server thinks of it comes as an
//! alert when HTTP/2 reads for the first time, and a call that is made just then only hears that the connection is
//! closed. So the alert is kept where the call can find it.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The alert by which the peer ended the last connection, if it did.
#[derive(Debug, Clone, Default)]
pub(super) struct LastAlert(Arc<Mutex<Option<AlertDescription>>>);

impl LastAlert {
    pub(super) fn get(&self) -> Option<AlertDescription> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, alert: Option<AlertDescription>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = alert;
    }

    fn note(&self, error: &io::Error) {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = cause {
            self.set(Some(*alert));
        }
    }
}

/// Connects over TLS, for HTTP/2.
#[derive(Debug, Clone)]
pub(super) struct TlsConnect {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    last: LastAlert,
}

impl TlsConnect {
    pub(super) fn new(tls: Arc<ClientConfig>, last: LastAlert) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, tls, last }
    }
}

impl tower::Service<Uri> for TlsConnect {
    type Response = Noting;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Noting, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        tower::Service::<Uri>::poll_ready(&mut self.tcp, cx).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let host = server.host().unwrap_or_default();
        // An address of IPv6 stands in brackets in a URL.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned());
        let tcp = self.tcp.call(server);
        let (tls, last) = (Arc::clone(&self.tls), self.last.clone());
        Box::pin(async move {
            let stream = tcp.await?.into_inner();
            let connected = TlsConnector::from(tls).connect(name?, stream).await;
            let stream = connected.inspect_err(|error| last.note(error))?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err("the server does not speak HTTP/2 over TLS".into());
            }
            last.set(None);
            Ok(Noting { stream: TokioIo::new(stream), last })
        })
    }
}

/// A connection that notes the alert by which it ends.
#[derive(Debug)]
pub(super) struct Noting {
    stream: TokioIo<TlsStream<TcpStream>>,
    last: LastAlert,
}

impl Read for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read {
            self.last.note(error);
        }
        read
    }
}

impl Write for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What an alert says of this side's certificate, if it does.
pub(super) fn of_the_certificate(alert: AlertDescription) -> Option<String> {
    let refused = [
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ];
    if alert == AlertDescription::CertificateRequired {
        return Some("the server requires a client certificate".to_owned());
    }
    let text = || format!("the server does not accept this client certificate: {alert:?}");
    refused.contains(&alert).then(text)
}
