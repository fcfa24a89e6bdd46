//! What can be wrong.

use std::io;
use std::path::PathBuf;

use fleet_core::id::OrgId;
use fleet_core::store::{CommitError, StoreError};
use fleet_store::{BeginRestoreError, OpenError};

use super::description::{Described, DescriptionError};
use super::manifest::IssueError;
use crate::server::keys::KeyDirError;
use crate::server::lock::LockError;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a link, a directory, or something else.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// It is another user's.
    #[error("{} belongs to another user", path.display())]
    NotOwn {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} may be read by others: chmod 600", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
    },
    /// Others may write it, and so decide what is restored.
    #[error("{} may be written by others, who could decide what is restored: chmod go-w", path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
    },
}

/// Keys do not belong to the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// A key cannot be read.
    #[error(transparent)]
    File(#[from] KeyDirError),
    /// A file cannot be read.
    #[error(transparent)]
    Other(#[from] FileError),
    /// The command key is another.
    #[error("the command key in {} is not that of organization {organization} in the database", path.display())]
    Command {
        /// The key directory.
        path: PathBuf,
        /// The organization.
        organization: OrgId,
    },
    /// No root key is the organization's.
    #[error(
        "no root key in {} is that of organization {organization} in the database: root-{organization}.key, or root.key \
         of the first organization, is missing or another's",
        path.display()
    )]
    Root {
        /// The key directory.
        path: PathBuf,
        /// The organization.
        organization: OrgId,
    },
}

/// A tool of PostgreSQL did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// There is none.
    #[error(
        "{tool} is neither in PATH nor in /usr/lib/postgresql/*/bin: install PostgreSQL's client programs"
    )]
    Missing {
        /// Its name.
        tool: &'static str,
    },
    /// It could not be run.
    #[error("{} cannot be run", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("{} failed: {said}", path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// The password cannot be given to it.
    #[error("the file that gives {tool} the database's password cannot be made")]
    Passfile {
        /// Its name.
        tool: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// No backup was made; there is no directory of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Something of this name is there.
    #[error("{} exists and is not overwritten", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// There is no installation.
    #[error("there is no installation at {}", path.display())]
    NoInstallation {
        /// The data directory.
        path: PathBuf,
    },
    /// It is another user's.
    #[error(
        "{} belongs to another user: make backups as the user that the server runs as", path.display()
    )]
    NotOwn {
        /// The data directory.
        path: PathBuf,
    },
    /// A restore was not finished.
    #[error(transparent)]
    Unfinished(#[from] LockError),
    /// The database is gone with the process that holds it.
    #[error("a database in memory cannot be backed up")]
    InMemory,
    /// There is nothing worth a backup.
    #[error("the server at {} is not set up yet: there is nothing to back up", path.display())]
    NotSetUp {
        /// The data directory.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database cannot be opened.
    #[error("the database")]
    Open(#[from] OpenError),
    /// The database cannot be copied.
    #[error("the database")]
    Copy(#[from] fleet_store::BackupError),
    /// The database cannot be read.
    #[error("the database")]
    Store(#[from] StoreError),
    /// PostgreSQL's tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The keys do not belong to the database.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// Nothing was restored, and all is as it was, but for [`RestoreError::Mark`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup does not say what it is.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// It is of the other kind of database.
    #[error("the backup is of {backup}, and this installation is configured for {configured}")]
    OtherDatabase {
        /// The backup's.
        backup: Described,
        /// The installation's.
        configured: Described,
    },
    /// A database in memory is gone with this process.
    #[error("nothing can be restored into a database in memory")]
    InMemory,
    /// The clock stands before the backup was made.
    #[error(
        "the clock of this host stands before {made_at}, when the backup was made: set it, or agents refuse what it \
         counts"
    )]
    Clock {
        /// When the backup was made.
        made_at: String,
    },
    /// A file is missing, or is not what was backed up.
    #[error("{} is not what was backed up: its size or checksum is another", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Something is there that is not of the backup.
    #[error("{} is not of the backup", path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
    },
    /// The backup has no keys.
    #[error("the backup was made without keys: name the directory that has them by --keys")]
    NoKeys,
    /// The keys do not belong to the database.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// There is something in the way.
    #[error("{} is there already: a restore wants a place where nothing is", path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// Another process works there, or a restore was cut off.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] KeyDirError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// PostgreSQL's database cannot be restored into.
    #[error("the database")]
    Begin(#[from] BeginRestoreError),
    /// PostgreSQL's tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The database cannot be opened.
    #[error("the database")]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("the database")]
    Store(#[from] StoreError),
    /// The database cannot be written.
    #[error("the database")]
    Commit(#[from] CommitError),
    /// A manifest cannot be issued.
    #[error(transparent)]
    Manifest(#[from] IssueError),
    /// The database holds no organization.
    #[error("the backup holds no organization")]
    NotSetUp,
    /// All was restored, but the data directory still says that it was not.
    #[error(
        "all is restored, but {} could not be removed, without which no server starts: remove it by hand",
        path.display()
    )]
    Mark {
        /// What is to be removed.
        path: PathBuf,
        /// Why it was not.
        source: FileError,
    },
}
