//! TLS to the server: rustls with the ring provider, certificates always verified.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::ring,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use crate::keeper::chain;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM, or has no key where there must be one.
    #[error("{} is not what it should be in PEM form", .path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("{} holds no certificate", .path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate of the CA file cannot be used.
    #[error("the CA file {} holds a certificate that cannot be used", .path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The key may be read by others.
    #[error("the key {} may be read by others: its mode is {mode:o} and must be 600", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("the certificate in {} and the key in {}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The system has no certificates to verify a server by.
    #[error("the system has no CA certificates; install them or pass --ca-file")]
    NoSystemRoots,
    /// The provider lacks what TLS needs.
    #[error("TLS cannot be set up")]
    Protocol(#[source] rustls::Error),
}

/// Whose certificates a server's is verified by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TrustAnchors {
    /// Those of the system.
    #[default]
    System,
    /// Those of one PEM file, and no others.
    File(PathBuf),
}

impl From<Option<PathBuf>> for TrustAnchors {
    fn from(ca_file: Option<PathBuf>) -> Self {
        ca_file.map_or(Self::System, Self::File)
    }
}

/// A certificate to show to a server that asks for one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a certificate and its key")]
pub struct ClientFiles {
    /// PEM, the own certificate first.
    pub certificate: PathBuf,
    /// PEM, to be read by its owner alone.
    pub key: PathBuf,
}

/// How TLS is spoken to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "whom to believe, and who one is")]
pub struct TlsOptions {
    /// Whose certificates the server's is verified by.
    pub anchors: TrustAnchors,
    /// What is shown to a server that asks for a certificate.
    pub client: Option<ClientFiles>,
}

impl From<&TrustAnchors> for TlsOptions {
    fn from(anchors: &TrustAnchors) -> Self {
        Self { anchors: anchors.clone(), client: None }
    }
}

impl From<&Self> for TlsOptions {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}

/// The configuration for connections to the server, which speak HTTP/2.
///
/// A client certificate is read again for each connection, so that a renewed one is used.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &options.anchors {
        TrustAnchors::System => system_roots()?,
        TrustAnchors::File(path) => roots_of(path)?,
    };
    // The provider is named: another one is linked as well, and neither is the process's default.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots);
    let mut config = match &options.client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let mut config = builder.with_client_cert_resolver(Arc::new(Shown::open(files)?));
            // A session that is resumed is that of the certificate it began with.
            config.resumption = Resumption::disabled();
            config
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's CA certificates cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(roots)
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Certificate { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::Io { path: path.to_owned(), source })?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

/// Certificate and key, if they are a pair and the key is its owner's alone.
fn pair(files: &ClientFiles) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate)?;
    let path = &files.key;
    let io = |source| TlsError::Io { path: path.clone(), source };
    // The mode of the very file that is read.
    let mut file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Exposed { path: path.clone(), mode });
    }
    let mut pem = Zeroizing::new(Vec::new());
    file.read_to_end(&mut pem).map_err(io)?;
    let key =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|source| TlsError::Pem { path: path.clone(), source })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: path.clone(),
        source,
    })
}

/// The certificate that is shown: what its files hold, or what they held when they could last be used.
#[derive(Debug)]
struct Shown {
    files: ClientFiles,
    last: RwLock<Arc<CertifiedKey>>,
}

impl Shown {
    fn open(files: &ClientFiles) -> Result<Self, TlsError> {
        Ok(Self { last: RwLock::new(Arc::new(pair(files)?)), files: files.clone() })
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match pair(&self.files) {
            Ok(pair) => *self.last.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair),
            // A renewal may be half done.
            Err(error) => {
                tracing::warn!(
                    problem = chain(&error),
                    "the client certificate cannot be read; showing the last one"
                );
            }
        }
        Some(Arc::clone(&self.last.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ca.pem");
        let config = || client_config(&(&TrustAnchors::File(path.clone())).into());
        assert!(matches!(config(), Err(TlsError::Io { .. })));
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(config(), Err(TlsError::NoCertificate { .. })));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let error = config().unwrap_err();
        assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
        assert!(error.to_string().contains("ca.pem"));
    }
}
