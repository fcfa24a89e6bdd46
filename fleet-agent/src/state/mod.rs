//! What an agent keeps on disk (protocol section 11).
//!
//! | file | holds | mode |
//! | --- | --- | --- |
//! | `state.yaml` | what `status` may show: server, name, id, organization, manifest, public keys | 0600 |
//! | `api-key` | the api_key | 0600 |
//! | `session` | the newest session | 0600 |
//! | `counters` | the counters that must survive a restart | 0600 |
//! | `identity.key`, `miner-signing.key`, `sealing.key` | one secret key each, so that no one file gives all | 0600 |
//! | `lock` | the pid of the process that runs on this directory | 0600 |
//!
//! Every file is replaced by a temporary file, fsync, rename and fsync of the directory: a reader
//! sees the old one or the new one. One process at a time changes them, by [`Access::Exclusive`].

mod directory;
mod document;
mod files;
mod keys;
mod store;

pub use directory::{Access, LockHolder, StateDir, StateDirError};
pub use document::{Damage, EnrollmentStage, PublicState, StateFileError};
pub use keys::FileKeyStore;
pub use store::FileAgentStore;
