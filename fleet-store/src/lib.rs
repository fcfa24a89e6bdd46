//! The fleet server's storage, on SQLite (embedded) and PostgreSQL: the same code for both.
//!
//! A [`Store`] is the server's [`ServerStore`](fleet_core::store::ServerStore), for enrollment and
//! handshakes, and keeps what the server knows besides: operators and their credentials, devices
//! and who owns them, telemetry, and the activity log.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use fleet_store::Store;
//!
//! let store = Store::open("sqlite::memory:").await?;
//! assert!(store.organization().await?.is_none(), "not set up yet");
//! store.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//! * A write is one transaction, and durable when its future is done: after a crash or a power cut
//!   it is there whole, or not at all.
//! * What is stored in an agent's name is stored in a transaction that has read again that the
//!   agent is confirmed and its session alive ([`Guard`]).
//! * A device has one owner, in its own organization, by the database's own constraints; so have
//!   names and keys.
//! * A session and an api_key of an operator act for one organization, and end with its owner's
//!   membership, by the database's own constraints.
//! * No secret is stored: of codes, keys and tokens there are hashes.
//! * Five minutes of a device are rolled up in the transaction that stores the samples, so a history
//!   that is read from roll-ups is that of the samples.
//! * The database's file is readable by its owner only.
//!
//! # Features
//! `fault-injection`, off by default and for tests only: `Store::with_faults` makes a chosen step of
//! a transaction fail or hang.
//!
//! # The two databases
//! | | SQLite | PostgreSQL |
//! | --- | --- | --- |
//! | for | one server, no administration | several servers on one database |
//! | writers | one connection, `BEGIN IMMEDIATE` | row locks, agent before enrollment before device |
//! | reads | snapshots beside the writer (WAL) | `REPEATABLE READ` |
//! | backup | [`Store::backup_to`] | `pg_dump`, of [`Store::export_snapshot`] |

mod activity;
mod agents;
mod api_keys;
mod backup;
mod contents;
mod decode;
mod devices;
mod entity;
mod error;
mod expire;
#[cfg(feature = "fault-injection")]
mod faults;
mod guard;
mod history;
mod members;
mod migration;
mod open;
mod organizations;
mod restore;
mod retention;
mod sample;
mod server;
mod setup;
mod store;
mod telemetry;
mod text;
mod transaction;
mod uploads;
mod url;
mod user_sessions;
mod users;

pub use activity::{ActivityLine, LogEntry, LogKind};
pub use agents::{AgentFilter, AgentListing};
pub use api_keys::{CreateApiKeyError, MAX_USER_API_KEYS, UserApiKeyRecord};
pub use backup::BackupError;
pub use contents::{Contents, ExportedSnapshot, OrganizationContents};
pub use devices::{DeviceFilter, DeviceListing, DeviceRecord, PairError, Paired, Selection, SkipReason};
pub use error::{DecodeError, UnsupportedValue};
#[cfg(feature = "fault-injection")]
pub use faults::{Fault, Faults};
pub use guard::{Guard, GuardError};
pub use history::{DevicePoint, FleetPoint, HistorySource, MAX_STEPS, ROLL_UP, Spread, Steps, StepsError};
pub use members::{Account, AddMemberError, Membership};
pub use open::OpenError;
pub use organizations::CreateOrganizationError;
pub use restore::{BeginRestoreError, Restored, Restoring};
pub use setup::SetUpError;
pub use store::Store;
pub use telemetry::StatusChange;
pub use uploads::{Stored, Upload, UploadKind, UploadOutcome};
pub use url::{DatabaseUrl, DatabaseUrlError, PostgresAddress};
pub use user_sessions::{CreateSessionError, UserSessionRecord};
pub use users::UserRecord;
