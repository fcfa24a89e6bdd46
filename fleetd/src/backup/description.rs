//! `backup.json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use fleet_core::time::UnixMillis;
use fleet_proto::convert::{millis, timestamp};
use fleet_store::{OrganizationContents, Store};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::FileError;
use super::files::{self, Digest};

/// Its name.
pub(super) const NAME: &str = "backup.json";
/// The only format there is.
const FORMAT: u32 = 1;
/// Far more than any needs.
const MAX_BYTES: u64 = 16 << 20;
/// Directories that a backup may have.
pub(super) const KEYS: &str = "keys";
pub(super) const LOCAL_AGENT: &str = "local-agent";
pub(super) const SQLITE: &str = "fleet.db";
pub(super) const DUMP: &str = "fleet.dump";

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::exhaustive_enums, reason = "the two databases that there are")]
pub enum Described {
    /// A file.
    Sqlite,
    /// A dump in PostgreSQL's custom format.
    Postgresql,
}

impl Described {
    /// The file that holds it.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Sqlite => SQLITE,
            Self::Postgresql => DUMP,
        }
    }
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
        })
    }
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The version of this form.
    pub format: u32,
    /// When the copy of the database was begun, RFC 3339.
    pub made_at: String,
    /// The version of the program that made it.
    pub fleetd: String,
    /// The kind of database.
    pub database: Described,
    /// The newest step of its schema.
    pub schema: String,
    /// Whether the keys are in it.
    pub keys: bool,
    /// Whether the local agent's keys and its miners' passwords are in it.
    pub local_agent: bool,
    /// The organizations.
    pub organizations: Vec<Organization>,
    /// Every other file.
    pub files: Vec<Entry>,
}

/// An organization of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: i64,
    /// The epoch of its manifest.
    pub epoch: i64,
    /// The public key that signs its manifests, hex.
    pub root_pubkey: String,
    /// The public key of its servers, hex.
    pub command_pubkey: String,
    /// Whether the server held the root's secret half. Without it the root is offline.
    pub managed_root: bool,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the backup.
    pub path: String,
    /// How many bytes it has.
    pub size: u64,
    /// Their SHA-256, hex.
    pub sha256: String,
}

/// `backup.json` is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what this program writes.
    #[error("{} is damaged, or not of a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A newer version wrote it.
    #[error(
        "the backup has format {found}, and this version knows format {FORMAT}: use the version that made it"
    )]
    Newer {
        /// Its format.
        found: u64,
    },
    /// A newer version migrated the database.
    #[error(
        "the backup was made by fleetd {fleetd}, whose schema {schema} this version does not know: use that version"
    )]
    NewerSchema {
        /// The version that made it.
        fleetd: String,
        /// The step that is not known.
        schema: String,
    },
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl Description {
    pub(super) fn new(made_at: UnixMillis, database: Described, schema: String) -> Self {
        Self {
            format: FORMAT,
            made_at: timestamp(made_at).to_string(),
            fleetd: crate::server::VERSION.to_owned(),
            database,
            schema,
            keys: false,
            local_agent: false,
            organizations: Vec::new(),
            files: Vec::new(),
        }
    }

    /// When the backup was made.
    #[must_use]
    pub fn time(&self) -> Option<UnixMillis> {
        Timestamp::from_str(&self.made_at).ok().and_then(|time| millis(&time).ok())
    }

    pub(super) fn add(&mut self, path: &str, digest: &Digest) {
        self.files.push(Entry {
            path: path.to_owned(),
            size: digest.size,
            sha256: hex::encode(digest.sha256),
        });
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), FileError> {
        let path = directory.join(NAME);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| FileError::Io { path: path.clone(), source: error.into() })?;
        text.push(b'\n');
        files::write_new(&path, &text)
    }

    /// Reads the description of a backup and judges it by itself.
    pub(super) fn read(directory: &Path) -> Result<Self, DescriptionError> {
        let path = directory.join(NAME);
        let text = files::read_small(&path, MAX_BYTES)?;
        let damaged = |source| DescriptionError::Damaged { path: path.clone(), source };
        let FormatOnly { format } = serde_json::from_slice(&text).map_err(|error| damaged(Some(error)))?;
        match format {
            0 => return Err(damaged(None)),
            found if found > u64::from(FORMAT) => return Err(DescriptionError::Newer { found }),
            _ => {}
        }
        let this: Self = serde_json::from_slice(&text).map_err(|error| damaged(Some(error)))?;
        if this.time().is_none() || !this.has_sound_files() {
            return Err(damaged(None));
        }
        if !Store::knows_schema(&this.schema) {
            return Err(DescriptionError::NewerSchema { fleetd: this.fleetd, schema: this.schema });
        }
        Ok(this)
    }

    /// Whether the list of files is one that this program makes: no path leads anywhere else.
    fn has_sound_files(&self) -> bool {
        let mut seen = BTreeSet::new();
        let sound = |entry: &Entry| {
            let plain = match entry.path.split_once('/') {
                None => entry.path == self.database.file(),
                Some((KEYS, name)) => self.keys && is_plain(name) && name.ends_with(".key"),
                Some((LOCAL_AGENT, name)) => self.local_agent && is_plain(name),
                Some(_) => false,
            };
            let is_hash = entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| b.is_ascii_hexdigit());
            plain && is_hash && seen.insert(entry.path.clone())
        };
        self.files.iter().all(sound) && self.files.iter().any(|entry| entry.path == self.database.file())
    }

    /// The files of one of the directories, by name.
    pub(super) fn within<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let prefix = format!("{directory}/");
        self.files.iter().filter_map(move |entry| Some((entry.path.strip_prefix(&prefix)?, entry)))
    }

    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.path == path)
    }
}

/// Whether a name is one that this program gives to a file.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.bytes().all(allowed)
}

impl Organization {
    pub(super) fn new(found: &OrganizationContents, managed_root: bool) -> Self {
        Self {
            id: found.id.value(),
            epoch: found.epoch,
            root_pubkey: hex::encode(&found.root),
            command_pubkey: hex::encode(&found.command),
            managed_root,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Description {
        let at = UnixMillis::new(1_700_000_000_123).unwrap();
        let mut this = Description::new(at, Described::Sqlite, "m0001_initial".to_owned());
        this.keys = true;
        let digest = Digest { size: 1, sha256: [7; 32] };
        this.add("fleet.db", &digest);
        this.add("keys/root.key", &digest);
        this
    }

    fn read(text: &[u8]) -> Result<Description, DescriptionError> {
        let directory = tempfile::tempdir().unwrap();
        files::write_new(&directory.path().join(NAME), text).unwrap();
        Description::read(directory.path())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let this = sound();
        this.write(directory.path()).unwrap();
        assert_eq!(Description::read(directory.path()).unwrap(), this);
        assert_eq!(this.time().unwrap().value(), 1_700_000_000_123);
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = serde_json::to_vec_pretty(&sound()).unwrap();
        for end in 0..text.len() {
            assert!(matches!(read(&text[..end]), Err(DescriptionError::Damaged { .. })), "{end} bytes");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let dangerous = [
            "../x",
            "/etc/passwd",
            "keys/../../x.key",
            "keys/a/b.key",
            "keys/.key",
            "keys/root",
            "local-agent/x",
            "fleet.dump",
            "fleet.db",
            "other",
            "",
        ];
        for path in dangerous {
            let mut this = sound();
            this.add(path, &Digest { size: 1, sha256: [7; 32] });
            let text = serde_json::to_vec(&this).unwrap();
            assert!(matches!(read(&text), Err(DescriptionError::Damaged { .. })), "{path}");
        }
        let mut this = sound();
        this.files.remove(0);
        assert!(matches!(read(&serde_json::to_vec(&this).unwrap()), Err(DescriptionError::Damaged { .. })));
    }

    #[test]
    fn what_is_newer_is_named() {
        let newer = read(br#"{"format": 2, "what": "ever"}"#);
        assert!(matches!(newer, Err(DescriptionError::Newer { found: 2 })), "{newer:?}");
        let mut this = sound();
        this.schema = "m9999_later".to_owned();
        let newer = read(&serde_json::to_vec(&this).unwrap());
        assert!(matches!(newer, Err(DescriptionError::NewerSchema { .. })), "{newer:?}");
    }
}
