//! The server's certificate, read again when its files change: certificates live shorter than servers.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;

/// How often the files are looked at. A change is also taken up at once on SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file holds no certificate or key.
    #[error("{}: no usable PEM", path.display())]
    Pem {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{}: no certificate", path.display())]
    Empty {
        /// The file.
        path: std::path::PathBuf,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("the certificate and its key")]
    Config(#[from] rustls::Error),
}

/// A certificate that can be replaced while connections are made.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    current: RwLock<(Stamp, Arc<CertifiedKey>)>,
}

/// When the two files were changed last; `None` for one that cannot be looked at.
type Stamp = [Option<SystemTime>; 2];

fn stamp(files: &TlsFiles) -> Stamp {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    [changed(&files.certificate), changed(&files.key)]
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&files.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: files.certificate.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

impl Certificate {
    pub(super) fn open(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let stamp = stamp(files);
        let current = RwLock::new((stamp, Arc::new(load(files)?)));
        Ok(Arc::new(Self { files: files.clone(), current }))
    }

    /// A TLS acceptor for h2 and HTTP/1.1 that shows this certificate, TLS 1.2 and 1.3.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes up changed files. Ones that cannot be used leave the certificate as it is; they may be half written.
    pub(super) fn renew(&self) {
        let stamp = stamp(&self.files);
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == stamp {
            return;
        }
        match load(&self.files) {
            Ok(certificate) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    (stamp, Arc::new(certificate));
                tracing::info!("the TLS certificate was read anew");
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the TLS certificate has changed and cannot be used; the old one stays");
            }
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

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}
