//! A place that is restored into: nothing may be there before, and all or nothing is there after.

use std::fs;
use std::path::{Path, PathBuf};

use super::description::{KEYS, LOCAL_AGENT};
use super::error::{FileError, RestoreError};
use super::files;
use super::key_set::key_files;
use crate::config::Config;
use crate::server::keys::{plain, prepare};
use crate::server::lock::{DataDirLock, Hold, LOCK, LockError, RESTORING};

/// What SQLite has beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
const MARK: &str = "A restore works here, or was cut off. What is in this directory is not whole.\n";

/// Whether anything is where something is to be put.
///
/// With `keys_stay` the key directory is used as it is, and a local agent that is there stays.
pub(super) fn check_vacant(config: &Config, keys_stay: bool, brings_local: bool) -> Result<(), RestoreError> {
    let data = &config.data_dir;
    if files::is_there(&data.join(RESTORING))? {
        return Err(LockError::Restoring { path: data.clone() }.into());
    }
    let occupied = |path: PathBuf| Err(RestoreError::Occupied { path });
    let own_keys = data.join(KEYS);
    if !keys_stay {
        for directory in [&config.key_dir, &own_keys] {
            if let Some(name) = key_files(directory)?.first() {
                return occupied(directory.join(name));
            }
        }
    }
    let local = data.join(LOCAL_AGENT);
    let held: Vec<String> = files::names(&local)?.into_iter().filter(|name| name != LOCK).collect();
    if !held.is_empty() && (brings_local || !keys_stay) {
        return occupied(local);
    }
    let mut databases = vec![data.join("fleet.db")];
    databases.extend(config.database.file().map(Path::to_owned));
    for database in databases {
        for path in std::iter::once(database.clone()).chain(BESIDE.map(|end| with_end(&database, end))) {
            if files::is_there(&path)? {
                return occupied(path);
            }
        }
    }
    Ok(())
}

/// A path whose name goes on.
pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A place that is being filled. Unless it is finished, what was put there is taken back.
#[derive(Debug)]
pub(super) struct Filling {
    /// What was made, in this order.
    made: Vec<PathBuf>,
    data_dir: PathBuf,
    made_data_dir: bool,
    marked: bool,
    finished: bool,
    _lock: DataDirLock,
}

impl Filling {
    /// Makes the data directory, holds it against servers, and marks it. Nothing is made where something is.
    pub(super) fn begin(config: &Config, keys_stay: bool, brings_local: bool) -> Result<Self, RestoreError> {
        check_vacant(config, keys_stay, brings_local)?;
        let data_dir = plain(&config.data_dir);
        let made_data_dir = !files::is_there(&data_dir)?;
        prepare(&data_dir)?;
        let lock = DataDirLock::take(&data_dir, Hold::Alone)?;
        let mark = data_dir.join(RESTORING);
        let mut this =
            Self { made: Vec::new(), data_dir, made_data_dir, marked: false, finished: false, _lock: lock };
        // Somebody may have been here before the lock was ours.
        check_vacant(config, keys_stay, brings_local)?;
        files::write_new(&mark, MARK.as_bytes()).inspect_err(|_| drop(fs::remove_file(&mark)))?;
        this.marked = true;
        files::sync(&this.data_dir)?;
        Ok(this)
    }

    /// Makes a directory, or sees that the one that is there is this user's alone.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), RestoreError> {
        let is_new = !files::is_there(&plain(path))?;
        prepare(path)?;
        if is_new {
            self.made.push(path.to_owned());
        }
        Ok(())
    }

    /// What is made here, or by somebody else, with what may lie beside a database.
    pub(super) fn made(&mut self, path: &Path) {
        self.made.push(path.to_owned());
    }

    /// A database that somebody else fills.
    pub(super) fn made_database(&mut self, path: &Path) {
        self.made.push(path.to_owned());
        self.made.extend(BESIDE.map(|end| with_end(path, end)));
    }

    /// As [`Filling::finish`], where what was put there is in use already: it stays, whatever comes.
    pub(super) fn finish_in_use(mut self) -> Result<(), RestoreError> {
        self.made.clear();
        self.made_data_dir = false;
        let path = self.data_dir.join(RESTORING);
        self.finish().map_err(|source| RestoreError::Mark { path, source })
    }

    /// Keeps what was put there.
    pub(super) fn finish(mut self) -> Result<(), FileError> {
        let mark = self.data_dir.join(RESTORING);
        let removed = fs::remove_file(&mark).map_err(|source| FileError::Io { path: mark, source });
        self.marked = removed.is_err();
        removed?;
        self.finished = true;
        files::sync(&self.data_dir)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for path in self.made.iter().rev() {
            // Some of it may not have come to be.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
        if self.marked {
            // Last: what is there while it stands is not served.
            let _ = fs::remove_file(self.data_dir.join(RESTORING));
        }
        if self.made_data_dir {
            let _ = fs::remove_file(self.data_dir.join(LOCK));
            let _ = fs::remove_dir(&self.data_dir);
        }
    }
}
