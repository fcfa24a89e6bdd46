//! Credentials for miners, entered at the agent's own prompt and kept in one file of its state
//! directory.
//!
//! The file is replaced whole (temporary file, fsync, rename, fsync of the directory), mode 0600,
//! so that a running agent sees either the old or the new one. Writers take turns by a lock beside
//! it. A lookup reads the file anew if it was replaced: `fleet-agent miner login` takes effect in a
//! running agent at its next poll.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use fleet_core::endpoint::{Endpoint, EndpointError};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::CertificateFingerprint;

/// The name of the file in the state directory.
pub const FILE_NAME: &str = "miner-credentials.json";

/// The most characters a miner's user name or password may have.
pub const MAX_CHARS: usize = 512;

/// What a miner is logged in to with.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Credentials {
    user: String,
    password: String,
    #[zeroize(skip)]
    certificate: Option<CertificateFingerprint>,
}

/// Whose credentials they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKey {
    /// A device, wherever it answers.
    Device(Endpoint),
    /// Whatever answers at an address: for miners that say nothing about themselves before a
    /// login.
    Address(IpAddr),
}

/// Where a site finds credentials.
///
/// A wrong implementation that answers with another device's credentials hands them to that
/// device.
pub trait CredentialLookup: fmt::Debug + Send + Sync {
    /// The credentials for `key`, `None` if there are none.
    ///
    /// # Errors
    /// [`CredentialError`] if they cannot be read.
    fn lookup(&self, key: &CredentialKey) -> Result<Option<Credentials>, CredentialError>;
}

/// Credentials cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The file or its directory cannot be read or written.
    #[error("cannot use {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The file can be read by others, or is not an ordinary file.
    #[error("{} must be an ordinary file that only its owner can read (mode 0600)", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// The file does not hold what this program writes.
    #[error("{} is damaged", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A user name or password is longer than any miner takes, or the password is empty.
    #[error("a password has 1 to {MAX_CHARS} characters, a user name at most {MAX_CHARS}")]
    Length,
}

/// The text names neither a device nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected mac: and 12 hex digits, sn: and a serial number, or at: and an IP address")]
pub struct CredentialKeyError {
    #[source]
    endpoint: Option<EndpointError>,
}

impl Credentials {
    /// Checks credentials. `user` is empty where the miner knows only a password (Proto rigs).
    ///
    /// # Errors
    /// [`CredentialError::Length`].
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Result<Self, CredentialError> {
        let credentials = Self { user: user.into(), password: password.into(), certificate: None };
        let too_long = |text: &str| text.chars().count() > MAX_CHARS;
        if credentials.password.is_empty() || too_long(&credentials.password) || too_long(&credentials.user) {
            return Err(CredentialError::Length);
        }
        Ok(credentials)
    }

    /// Binds the credentials to the TLS certificate that the miner showed when they were entered:
    /// they are given to no miner that shows another, or none.
    #[must_use]
    pub fn pinned_to(mut self, certificate: Option<CertificateFingerprint>) -> Self {
        self.certificate = certificate;
        self
    }

    /// The user name; empty where there is none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The certificate that the miner must show.
    #[must_use]
    pub const fn certificate(&self) -> Option<CertificateFingerprint> {
        self.certificate
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(endpoint) => endpoint.fmt(f),
            Self::Address(address) => write!(f, "at:{address}"),
        }
    }
}

impl FromStr for CredentialKey {
    type Err = CredentialKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = text.strip_prefix("at:") {
            return address.parse().map(Self::Address).map_err(|_| CredentialKeyError { endpoint: None });
        }
        text.parse().map(Self::Device).map_err(|error| CredentialKeyError { endpoint: Some(error) })
    }
}

/// The credentials file of a state directory.
#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    cache: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    version: FileVersion,
    entries: BTreeMap<CredentialKey, Credentials>,
}

/// Tells one file from the one that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredCredentials {
    user: String,
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<String>,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(StoredCredentials: std::fmt::Debug);

impl CredentialFile {
    /// The credentials of a state directory. Nothing is read or made yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME), cache: Mutex::new(None) }
    }

    /// Keeps credentials, in place of any that were there.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn put(&self, key: CredentialKey, credentials: Credentials) -> Result<(), CredentialError> {
        self.change(|entries| {
            entries.insert(key, credentials);
        })
    }

    /// Forgets credentials. Forgetting what is not there is no error.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn remove(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.change(|entries| {
            entries.remove(key);
        })
    }

    /// Whose credentials there are.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        Ok(self.read()?.map(|cached| cached.entries.into_keys().collect()).unwrap_or_default())
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<CredentialKey, Credentials>),
    ) -> Result<(), CredentialError> {
        let lock_path = self.path.with_extension("lock");
        let lock = private().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(|source| CredentialError::Io { path: lock_path.clone(), source })?;
        // Held until the end of this function; the kernel lets go of it if the process dies.
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| CredentialError::Io { path: lock_path, source: error.into() })?;

        let mut entries = self.read()?.map(|cached| cached.entries).unwrap_or_default();
        change(&mut entries);
        self.write(&entries)
    }

    fn read(&self) -> Result<Option<Cached>, CredentialError> {
        let mut file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        let metadata = file.metadata().map_err(|source| self.io(source))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
            return Err(CredentialError::Exposed { path: self.path.clone() });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0)));
        io::Read::read_to_end(&mut file, &mut text).map_err(|source| self.io(source))?;
        let stored: BTreeMap<String, StoredCredentials> =
            serde_json::from_slice(&text).map_err(|source| self.damaged(source))?;
        let mut entries = BTreeMap::new();
        for (key, stored) in &stored {
            let key = key.parse().map_err(|error| self.damaged(serde::de::Error::custom(error)))?;
            let certificate = stored
                .certificate_sha256
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(|error| self.damaged(serde::de::Error::custom(error)))?;
            let credentials = Credentials::new(stored.user.as_str(), stored.password.as_str())?;
            entries.insert(key, credentials.pinned_to(certificate));
        }
        Ok(Some(Cached { version: FileVersion::of(&metadata), entries }))
    }

    fn write(&self, entries: &BTreeMap<CredentialKey, Credentials>) -> Result<(), CredentialError> {
        let stored: BTreeMap<String, StoredCredentials> = entries
            .iter()
            .map(|(key, credentials)| {
                let stored = StoredCredentials {
                    user: credentials.user.clone(),
                    password: credentials.password.clone(),
                    certificate_sha256: credentials.certificate.map(|pin| pin.to_string()),
                };
                (key.to_string(), stored)
            })
            .collect();
        let text = Zeroizing::new(serde_json::to_vec_pretty(&stored).map_err(|source| self.damaged(source))?);

        let temporary = self.path.with_extension("json.tmp");
        // A leftover of a crash may have the wrong mode or be a link that somebody planted.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file =
            private().write(true).create_new(true).open(&temporary).map_err(|source| self.io(source))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|source| self.io(source))?;
        fs::rename(&temporary, &self.path).map_err(|source| self.io(source))?;
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> CredentialError {
        CredentialError::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, source: serde_json::Error) -> CredentialError {
        CredentialError::Damaged { path: self.path.clone(), source }
    }
}

impl CredentialLookup for CredentialFile {
    fn lookup(&self, key: &CredentialKey) -> Result<Option<Credentials>, CredentialError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let version = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => FileVersion::of(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *cache = None;
                return Ok(None);
            }
            Err(source) => return Err(self.io(source)),
        };
        if cache.as_ref().is_none_or(|cached| cached.version != version) {
            *cache = None;
            *cache = self.read()?;
        }
        Ok(cache.as_ref().and_then(|cached| cached.entries.get(key).cloned()))
    }
}

impl FileVersion {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(no_follow());
    options
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    fn key(text: &str) -> CredentialKey {
        text.parse().unwrap()
    }

    #[test]
    fn what_one_process_writes_another_finds() {
        let directory = tempfile::tempdir().unwrap();
        let reader = CredentialFile::in_directory(directory.path());
        let writer = CredentialFile::in_directory(directory.path());
        assert!(reader.lookup(&key("sn:A")).unwrap().is_none());

        let pin = CertificateFingerprint::of(b"certificate");
        writer.put(key("sn:A"), Credentials::new("", "first").unwrap().pinned_to(Some(pin))).unwrap();
        writer.put(key("at:10.0.0.9"), Credentials::new("root", "second").unwrap()).unwrap();
        let found = reader.lookup(&key("sn:A")).unwrap().unwrap();
        assert_eq!((found.user(), found.password(), found.certificate()), ("", "first", Some(pin)));
        assert_eq!(reader.lookup(&key("at:10.0.0.9")).unwrap().unwrap().user(), "root");

        writer.put(key("sn:A"), Credentials::new("", "third").unwrap()).unwrap();
        assert_eq!(reader.lookup(&key("sn:A")).unwrap().unwrap().password(), "third");
        writer.remove(&key("sn:A")).unwrap();
        assert!(reader.lookup(&key("sn:A")).unwrap().is_none());
        assert_eq!(writer.keys().unwrap(), [key("at:10.0.0.9")]);
    }

    #[test]
    fn the_file_is_private_and_a_loose_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = CredentialFile::in_directory(directory.path());
        store.put(key("sn:A"), Credentials::new("", "secret").unwrap()).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let fresh = CredentialFile::in_directory(directory.path());
        assert!(matches!(fresh.lookup(&key("sn:A")), Err(CredentialError::Exposed { .. })));
    }

    #[test]
    fn a_damaged_file_is_said_to_be_and_its_text_is_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let store = CredentialFile::in_directory(directory.path());
        let path = directory.path().join(FILE_NAME);
        let text = br#"{"sn:A":{"user":"","password":"hunter2","typo":1}}"#;
        private().write(true).create(true).truncate(true).open(&path).unwrap().write_all(text).unwrap();
        let error = store.lookup(&key("sn:A")).unwrap_err();
        assert!(matches!(error, CredentialError::Damaged { .. }));
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn debug_shows_no_password() {
        let password = "a-password-to-be-found";
        let credentials = Credentials::new("root", password).unwrap();
        let secrets = Secrets::of([("the password", password)]);
        assert_snapshot!(secrets.unsaid(&credentials), @r#"Credentials { user: "root", .. }"#);
    }

    #[test]
    fn lengths_are_checked() {
        assert!(Credentials::new("", "x".repeat(512)).is_ok());
        for (user, password) in [("", String::new()), ("", "x".repeat(513))] {
            assert!(matches!(Credentials::new(user, password), Err(CredentialError::Length)));
        }
    }

    #[test]
    fn keys_round_trip() {
        for text in ["mac:aabbccddeeff", "sn:PROTO-1", "at:10.0.0.9"] {
            assert_eq!(key(text).to_string(), text);
        }
        assert!("10.0.0.9".parse::<CredentialKey>().is_err());
        assert!("at:miner".parse::<CredentialKey>().is_err());
    }
}
