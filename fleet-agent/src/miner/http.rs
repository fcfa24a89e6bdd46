//! A small HTTP/1.1 client for miners: answers are bounded, redirects are answers like any other,
//! and TLS certificates are pinned by their fingerprint instead of verified by name, as miners
//! have certificates of their own making.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{CertificateFingerprint, MAX_RESPONSE_BYTES, MinerError, ProtocolViolation, connect};

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Plain HTTP.
    Plain,
    /// TLS with whatever certificate the miner shows; the caller looks at
    /// [`Connection::certificate`].
    AnyCertificate,
    /// TLS with this certificate and no other.
    Pinned(CertificateFingerprint),
}

/// One connection to one miner. Requests go over it one after the other; when the miner closes
/// it, the next request opens it anew.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    security: Security,
    certificate: Option<CertificateFingerprint>,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
    // Dropping the set ends the task that drives the connection.
    driver: JoinSet<()>,
}

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    #[cfg(feature = "asic-rs")]
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A login is answered with a token.
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, MinerError> {
        serde_json::from_slice(&self.body).map_err(|error| ProtocolViolation::from(error).into())
    }
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr, security: Security) -> Result<Self, MinerError> {
        let mut connection =
            Self { address, security, certificate: None, sender: None, driver: JoinSet::new() };
        connection.connect().await?;
        Ok(connection)
    }

    /// The certificate that the miner showed, if the connection is over TLS.
    pub(super) const fn certificate(&self) -> Option<CertificateFingerprint> {
        self.certificate
    }

    /// GET `path`, with a Bearer token if there is one.
    pub(super) async fn get(&mut self, path: &str, bearer: Option<&str>) -> Result<Answer, MinerError> {
        let authorization = bearer.map(|bearer| Zeroizing::new(format!("Bearer {bearer}")));
        self.send(Method::GET, path, authorization, Bytes::new()).await
    }

    /// GET `path`, logging in by digest authentication if the miner asks for it.
    #[cfg(feature = "asic-rs")]
    pub(super) async fn get_with_digest(
        &mut self,
        path: &str,
        credentials: &super::credentials::Credentials,
    ) -> Result<Answer, MinerError> {
        use fleet_core::random::{OsRandom, SecureRandom};

        let answer = self.get(path, None).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = answer
            .headers
            .get(header::WWW_AUTHENTICATE)
            .and_then(|value| super::digest::Challenge::parse(value.to_str().ok()?))
            .ok_or(MinerError::Unsupported)?;
        let random: &dyn SecureRandom = &OsRandom;
        let client_nonce = random.array::<8>().map_err(|_| MinerError::Unsupported)?;
        let authorization = challenge
            .answer(
                credentials.user(),
                credentials.password(),
                Method::GET.as_str(),
                path,
                &hex::encode(client_nonce),
            )
            .ok_or(MinerError::AuthFailed)?;
        self.send(Method::GET, path, Some(Zeroizing::new(authorization)), Bytes::new()).await
    }

    /// POST a JSON body to `path`.
    pub(super) async fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer, MinerError> {
        self.send(Method::POST, path, None, Bytes::copy_from_slice(body)).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        authorization: Option<Zeroizing<String>>,
        body: Bytes,
    ) -> Result<Answer, MinerError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::ACCEPT, "*/*");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = authorization {
            let mut value = http::HeaderValue::from_str(&authorization)
                .map_err(|error| ProtocolViolation::Request(error.into()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(ProtocolViolation::Request)?;

        let answer = self.sender().await?.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(unreadable)?;
        Ok(Answer {
            status: head.status,
            #[cfg(feature = "asic-rs")]
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// A sender that is ready, on a new connection if the miner closed the last.
    async fn sender(&mut self) -> Result<&mut http1::SendRequest<Full<Bytes>>, MinerError> {
        let ready = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            self.connect().await?;
        }
        self.sender.as_mut().ok_or_else(|| MinerError::Unreachable(std::io::ErrorKind::NotConnected.into()))
    }

    async fn connect(&mut self) -> Result<(), MinerError> {
        self.sender = None;
        self.driver = JoinSet::new();
        let stream = connect(self.address).await?;
        let pinned = match self.security {
            Security::Plain => return self.start(stream).await,
            Security::AnyCertificate => None,
            Security::Pinned(fingerprint) => Some(fingerprint),
        };
        let config = tls_config().map_err(|error| ProtocolViolation::Tls(std::io::Error::other(error)))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(ProtocolViolation::Tls)?;
        let shown = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|certificate| CertificateFingerprint::of(certificate));
        if let Some(expected) = pinned
            && shown != Some(expected)
        {
            return Err(MinerError::CertificateMismatch { expected, got: shown });
        }
        self.certificate = shown;
        self.start(stream).await
    }

    async fn start(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(), MinerError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        self.driver.spawn(async move {
            // How it ended is what the pending request reports.
            let _ = connection.await;
        });
        self.sender = Some(sender);
        Ok(())
    }
}

/// A connection that breaks is a miner that is gone; bytes that are no HTTP are its mistake.
fn broken(error: hyper::Error) -> MinerError {
    if error.is_parse() {
        return ProtocolViolation::Http(error).into();
    }
    MinerError::Unreachable(std::io::Error::other(error))
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> MinerError {
    match error.downcast::<hyper::Error>() {
        Ok(error) => broken(*error),
        Err(error) if error.is::<LengthLimitError>() => {
            ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES }.into()
        }
        Err(error) => MinerError::Unreachable(std::io::Error::other(error)),
    }
}

fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(SelfMade { provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts any certificate, and proves that the miner holds its key. Which certificate it was is
/// compared by [`Connection::connect`], before a byte of HTTP is sent.
#[derive(Debug)]
struct SelfMade {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SelfMade {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn debug_of_an_answer_shows_no_token() {
        let token = "a-token-to-be-found";
        let answer = Answer {
            status: StatusCode::OK,
            #[cfg(feature = "asic-rs")]
            headers: [(header::SET_COOKIE, token.parse().unwrap())].into_iter().collect(),
            body: format!(r#"{{"access_token":"{token}"}}"#).into(),
        };
        assert_snapshot!(Secrets::of([("the token", token)]).unsaid(&answer), @"Answer { status: 200, bytes: 38, .. }");
    }
}
