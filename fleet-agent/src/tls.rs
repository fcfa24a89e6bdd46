//! TLS to the server: rustls with the ring provider, certificates always verified.

use std::{fs, io, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The CA file cannot be read.
    #[error("cannot read the CA file {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The CA file is not PEM.
    #[error("the CA file {} is not in PEM form", .path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The CA file has no certificate.
    #[error("the CA file {} holds no certificate", .path.display())]
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

/// The configuration for connections to the server, which speak HTTP/2.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(anchors: &TrustAnchors) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match anchors {
        TrustAnchors::System => system_roots()?,
        TrustAnchors::File(path) => roots_of(path)?,
    };
    // The provider is named: another one is linked as well, and neither is the process's default.
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots)
        .with_no_client_auth();
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

fn roots_of(path: &PathBuf) -> Result<RootCertStore, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::Io { path: path.clone(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|source| TlsError::Pem { path: path.clone(), source })?;
        roots.add(certificate).map_err(|source| TlsError::Certificate { path: path.clone(), source })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate { path: path.clone() });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ca.pem");
        let config = || client_config(&TrustAnchors::File(path.clone()));
        assert!(matches!(config(), Err(TlsError::Io { .. })));
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(config(), Err(TlsError::NoCertificate { .. })));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let error = config().unwrap_err();
        assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
        assert!(error.to_string().contains("ca.pem"));
    }
}
