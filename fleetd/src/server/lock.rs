//! Who works on a data directory: servers, and whoever restores into it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// The lock's file.
pub(crate) const LOCK: &str = "lock";
/// Stands in the data directory while a restore is under way, and after one that was cut off.
pub(crate) const RESTORING: &str = "restoring";

/// A data directory cannot be used now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works on it.
    #[error("{} is using {}; stop it first", holder(*pid), path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, if it says.
        pid: Option<u32>,
    },
    /// A restore into it was not finished.
    #[error(
        "a restore into {} was not finished, and what is there is not whole: empty the data directory and the key \
         directory of it, and restore again",
        path.display()
    )]
    Restoring {
        /// The directory.
        path: PathBuf,
    },
    /// The lock's file cannot be used.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// How a data directory is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Alone: a server with SQLite, and whoever restores.
    Alone,
    /// With other servers, on PostgreSQL.
    Shared,
}

/// Holds a data directory. The kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct DataDirLock(#[allow(dead_code, reason = "held for its lock")] File);

impl DataDirLock {
    /// Takes the lock, without waiting.
    pub(crate) fn take(directory: &Path, hold: Hold) -> Result<Self, LockError> {
        let path = directory.join(LOCK);
        let io = |source: io::Error| LockError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(io)?;
        let operation = match hold {
            Hold::Alone => FlockOperation::NonBlockingLockExclusive,
            Hold::Shared => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = (&file).take(32).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::InUse { path: directory.to_owned(), pid });
            }
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self(file))
    }
}

/// Refuses a directory that a restore was cut off in.
pub(crate) fn check_whole(directory: &Path) -> Result<(), LockError> {
    match directory.join(RESTORING).symlink_metadata() {
        Ok(_) => Err(LockError::Restoring { path: directory.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(LockError::Io { path: directory.join(RESTORING), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_alone_or_several_together() {
        let directory = tempfile::tempdir().unwrap();
        let take = |hold| DataDirLock::take(directory.path(), hold);
        let alone = take(Hold::Alone).unwrap();
        for hold in [Hold::Alone, Hold::Shared] {
            let me = Some(std::process::id());
            assert!(matches!(take(hold), Err(LockError::InUse { pid, .. }) if pid == me));
        }
        drop(alone);
        let shared = [take(Hold::Shared).unwrap(), take(Hold::Shared).unwrap()];
        assert!(matches!(take(Hold::Alone), Err(LockError::InUse { .. })));
        drop(shared);
        take(Hold::Alone).unwrap();
    }

    #[test]
    fn what_a_restore_left_is_not_served() {
        let directory = tempfile::tempdir().unwrap();
        check_whole(directory.path()).unwrap();
        // Whatever it is.
        std::os::unix::fs::symlink("nowhere", directory.path().join(RESTORING)).unwrap();
        assert!(matches!(check_whole(directory.path()), Err(LockError::Restoring { .. })));
    }
}
