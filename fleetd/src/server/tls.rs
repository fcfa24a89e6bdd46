//! TLS at the listeners: certificate, key and the authorities of clients, read again when their files change, because
//! certificates live shorter than servers.
//!
//! What is in use is one configuration, made of files that were read together and fit. A renewal that has replaced the
//! certificate and not yet its key leaves the old one in place. Whether files have changed is told by what they hold:
//! times and inodes say too little where a link is turned to another directory, or a file is written twice in a tick.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use fleet_core::time::{Clock, UnixMillis};
use prometheus_client::metrics::gauge::Gauge;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::config::{ClientAuth, TlsFiles};

/// How often the files are looked at. A change is also taken up at once on SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A certificate that ends within this time is warned of. Those that are renewed by a program have a month left.
const WARN_WITHIN: Duration = Duration::from_secs(14 * DAY);
/// How often it is warned of.
const WARN_EVERY: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 3600;

/// The TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no certificate or key.
    #[error("{}: no usable PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{}: no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("the certificate in {} and the key in {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// A certificate of the authorities of clients cannot be used.
    #[error("{}: a certificate that cannot be an authority's", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The authorities of clients cannot be used.
    #[error("{}: clients cannot be verified by this", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: VerifierBuilderError,
    },
    /// The provider lacks what TLS needs.
    #[error("TLS cannot be set up")]
    Protocol(#[from] rustls::Error),
}

/// The configuration of TLS, which can be replaced while connections are made.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Current>,
    looked: Mutex<Looked>,
    clock: Arc<dyn Clock>,
    end: Gauge,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The end of the life of the first certificate of the chain to end.
    not_after: Option<UnixMillis>,
}

#[derive(Debug)]
struct Looked {
    /// What the files held, whether that could be used or not.
    at: Option<Fingerprint>,
    /// When it was last warned of a certificate that ends.
    warned_at: Option<UnixMillis>,
}

/// Tells apart what the files hold.
type Fingerprint = [u8; 32];

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Option<Vec<u8>>,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(Contents: std::fmt::Debug);

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read =
            |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?.into(),
            authorities: files.clients.as_ref().map(|clients| read(&clients.authorities)).transpose()?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let authorities = self.authorities.as_deref().unwrap_or_default();
        for part in [self.certificate.as_slice(), self.key.as_slice(), authorities] {
            hash.update(Sha256::digest(part));
        }
        hash.finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<Current, TlsError> {
        let chain = certificates(&files.certificate, &self.certificate)?;
        let not_after = chain.iter().filter_map(not_after).min();
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| TlsError::Pem { path: files.key.clone(), source })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
        let verifier = self.verifier(files)?;
        let verifies = verifier.is_some();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if verifies {
            // Who resumes a session shows no certificate, and could go on with one that has ended since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Current { config: Arc::new(config), not_after })
    }

    fn verifier(&self, files: &TlsFiles) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Some(clients), Some(pem)) = (&files.clients, &self.authorities) else { return Ok(None) };
        let path = &clients.authorities;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path, pem)? {
            roots.add(certificate).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match clients.auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build();
        verifier.map(Some).map_err(|source| TlsError::Authorities { path: path.clone(), source })
    }
}

/// The certificates of a PEM text, at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(found)
}

/// When a certificate ends, if that can be read.
fn not_after(certificate: &CertificateDer<'_>) -> Option<UnixMillis> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = parsed.tbs_certificate().validity().not_after.to_unix_duration();
    UnixMillis::new(i64::try_from(end.as_millis()).ok()?).ok()
}

impl Tls {
    pub(super) fn open(files: &TlsFiles, clock: Arc<dyn Clock>, end: Gauge) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(files)?;
        let tls = Self {
            files: files.clone(),
            current: RwLock::new(contents.config(files)?),
            looked: Mutex::new(Looked { at: Some(contents.fingerprint()), warned_at: None }),
            clock,
            end,
        };
        tls.warn_of_its_end(&mut tls.looked());
        Ok(Arc::new(tls))
    }

    /// For the next connection: h2 and HTTP/1.1, TLS 1.2 and 1.3, with the certificate of now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.config))
    }

    fn not_after(&self) -> Option<UnixMillis> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up changed files. Ones that cannot be used leave everything as it is; they may be half written.
    pub(super) fn renew(&self) {
        let mut looked = self.looked();
        let (at, renewed) = match Contents::read(&self.files) {
            Ok(contents) => {
                let at = contents.fingerprint();
                if looked.at == Some(at) {
                    return self.warn_of_its_end(&mut looked);
                }
                (Some(at), contents.config(&self.files))
            }
            // Said once, until it can be read again.
            Err(_) if looked.at.is_none() => return self.warn_of_its_end(&mut looked),
            Err(error) => (None, Err(error)),
        };
        looked.at = at;
        match renewed {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                looked.warned_at = None;
                tracing::info!("the TLS certificate was read anew");
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the TLS files have changed and cannot be used; what was read before stays");
            }
        }
        self.warn_of_its_end(&mut looked);
    }

    fn warn_of_its_end(&self, looked: &mut Looked) {
        let Some(not_after) = self.not_after() else { return };
        self.end.set(not_after.value().div_euclid(1000));
        let now = self.clock.now();
        let left = not_after.since(now);
        let is_due = looked.warned_at.is_none_or(|at| now < at || now.since(at) >= WARN_EVERY);
        if left > WARN_WITHIN || !is_due {
            return;
        }
        looked.warned_at = Some(now);
        let file = self.files.certificate.display();
        if left.is_zero() {
            tracing::warn!(%file, "the TLS certificate has ended: no client takes it; renew it");
        } else {
            let days = left.as_secs() / DAY;
            let hours = left.as_secs() % DAY / 3600;
            tracing::warn!(%file, "the TLS certificate ends in {days} d {hours} h; renew it");
        }
    }

    /// Looks at the files from time to time.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) -> bool {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.renew();
        }
        true
    }
}
