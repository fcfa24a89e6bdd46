//! Backup and restore of a whole installation, on its host: database, keys, and the local agent.
//!
//! A backup is a directory, 0700, made under another name, made durable, and renamed; a directory of the right name
//! is whole.
//!
//! | in it | |
//! | --- | --- |
//! | `backup.json` | what it is of, and the size and SHA-256 of every other file. No secret |
//! | `fleet.db`, or `fleet.dump` | SQLite's file, or PostgreSQL's custom format, of one moment |
//! | `keys/` | every `*.key` of the key directory |
//! | `local-agent/` | combined mode: the local half's keys, and the passwords of its miners |
//!
//! # What is copied first
//! The database, then the keys, then the local agent. A key is written before the row that needs it, and keys never
//! change: so each organization of the copied database has its key in a copy that is made later. The other way round,
//! an organization that is made in between would be there without its root. A key without an organization does no harm.
//!
//! # What a restore leaves
//! Nothing, or everything: while it works a mark stands in the data directory, and in a PostgreSQL database, at which
//! a server refuses to start. What goes wrong takes back all that was written; a crash leaves the mark.
//!
//! What agents and operators held is judged anew: sessions and challenges are those of the backup's time and are
//! deleted, and each organization gets a manifest of a later epoch than any agent has seen (protocol section 5 step 1).

mod description;
mod error;
mod files;
mod key_set;
mod make;
mod manifest;
mod place;
mod postgres;
mod restore;

pub use description::{Described, Description, DescriptionError};
pub use error::{BackupError, FileError, KeySetError, RestoreError, ToolError};
pub use make::make;
pub use manifest::{IssueError, Issued, issue};
pub use restore::{KnownAgent, KnownOrganization, Outcome, Restore, restore};
