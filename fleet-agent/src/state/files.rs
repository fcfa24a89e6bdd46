//! Reading and replacing one private file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The files of a state directory that are replaced; `miner-credentials.json` has a writer and a
/// lock of its own.
pub(super) const STATE: &str = "state.yaml";
pub(super) const API_KEY: &str = "api-key";
pub(super) const SESSION: &str = "session";
pub(super) const COUNTERS: &str = "counters";
pub(super) const IDENTITY_KEY: &str = "identity.key";
pub(super) const MINER_SIGNING_KEY: &str = "miner-signing.key";
pub(super) const SEALING_KEY: &str = "sealing.key";

const ALL: [&str; 7] = [STATE, API_KEY, SESSION, COUNTERS, IDENTITY_KEY, MINER_SIGNING_KEY, SEALING_KEY];

/// No file of the agent is larger; one that is was not written by it.
const MAX_BYTES: u64 = 1024 * 1024;

/// A file that is written and not yet in its place. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Staged {
    temporary: PathBuf,
    place: PathBuf,
    is_placed: bool,
}

/// Writes a temporary file beside `name`, mode 0600, durable but for its name.
pub(super) fn stage(directory: &Path, name: &str, content: &[u8]) -> io::Result<Staged> {
    let temporary = temporary(directory, name);
    // A leftover may have the wrong mode, or be a link that somebody planted.
    remove_if_there(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let staged = Staged { temporary, place: directory.join(name), is_placed: false };
    file.write_all(content)?;
    file.sync_all()?;
    Ok(staged)
}

impl Staged {
    /// Puts the file in its place. Durable after [`sync`].
    pub(super) fn place(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.place)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_placed {
            // If it stays, the next start removes it.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Makes renames and removals in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Replaces a file: temporary file, fsync, rename, fsync of the directory.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    stage(directory, name, content)?.place()?;
    sync(directory)
}

/// Removes a file, durably. One that is not there is no error.
pub(super) fn remove(directory: &Path, name: &str) -> io::Result<()> {
    remove_if_there(&directory.join(name))?;
    sync(directory)
}

/// Reads a file; `None` if it is not there. One that others can read is tightened: its secret may
/// be out, and refusing to start would not bring it back.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let path = directory.join(name);
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file that the agent wrote"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read a file of the agent; its mode is now 0600");
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    // The whole capacity at once: a vector that grows leaves copies of the secret behind.
    let size = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut content = Zeroizing::new(Vec::with_capacity(size));
    file.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Removes what a crash in the middle of a replacement left behind.
pub(super) fn remove_leftovers(directory: &Path) -> io::Result<()> {
    ALL.iter().try_for_each(|name| remove_if_there(&temporary(directory, name)))
}

fn temporary(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.tmp"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
