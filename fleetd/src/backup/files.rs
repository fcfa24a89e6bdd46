//! Files that are copied, and whose bytes are vouched for.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::error::FileError;

const BLOCK: usize = 64 * 1024;

/// What a file's bytes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

/// What is asked of a file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// It is this user's, and nobody else may read it.
    Private,
    /// Nobody but this user and root could have written it: what a restore reads is believed.
    Trusted,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    |source| FileError::Io { path: path.to_owned(), source }
}

/// Opens a file, not through a link.
pub(super) fn open(path: &Path, demand: Demand) -> Result<File, FileError> {
    let found = path.symlink_metadata().map_err(at(path))?;
    if !found.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at(path))?;
    // Of what is open now, whatever the name leads to by then.
    let found = file.metadata().map_err(at(path))?;
    if !found.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    match demand {
        Demand::Private if found.uid() != rustix::process::geteuid().as_raw() => {
            Err(FileError::NotOwn { path: path.to_owned() })
        }
        Demand::Private if found.mode() & 0o077 != 0 => Err(FileError::TooOpen { path: path.to_owned() }),
        Demand::Private => Ok(file),
        Demand::Trusted => trusted(path, &found).map(|()| file),
    }
}

/// Refuses what others can write, or have written.
pub(super) fn trusted(path: &Path, found: &Metadata) -> Result<(), FileError> {
    if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
        return Err(FileError::NotOwn { path: path.to_owned() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(FileError::Writable { path: path.to_owned() });
    }
    Ok(())
}

/// Reads a file of at most so many bytes.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path, Demand::Trusted)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(at(path))?;
    Ok(bytes)
}

/// Writes a new file, 0600, and makes it durable.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at(path))
}

/// Makes an empty file, 0600.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a directory, 0700, in one that is there.
pub(super) fn make_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().mode(0o700).create(path).map_err(at(path))
}

/// Reads a file to its end.
pub(super) fn digest(path: &Path, demand: Demand) -> Result<Digest, FileError> {
    read_through(&mut open(path, demand)?, |_| Ok(())).map_err(at(path))
}

/// The same of one that is open.
pub(super) fn digest_of(file: &mut File, path: &Path) -> Result<Digest, FileError> {
    read_through(file, |_| Ok(())).map_err(at(path))
}

/// Copies a file to a new one, 0600, and makes that durable. A copy that is cut off is removed.
pub(super) fn copy(from: &Path, to: &Path, demand: Demand) -> Result<Digest, FileError> {
    let mut source = open(from, demand)?;
    let mut copy = create(to).map_err(at(to))?;
    let mut failed_to_write = false;
    let copied =
        read_through(&mut source, |block| copy.write_all(block).inspect_err(|_| failed_to_write = true));
    let copied = copied.map_err(|source| {
        let path = if failed_to_write { to } else { from };
        FileError::Io { path: path.to_owned(), source }
    });
    let copied = copied.and_then(|digest| copy.sync_all().map(|()| digest).map_err(at(to)));
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

fn read_through(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digest> {
    // Keys go through here too.
    let mut block = Zeroizing::new(vec![0; BLOCK]);
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    loop {
        let read = match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = block.get(..read).unwrap_or_default();
        hash.update(read);
        each(read)?;
        size = size.saturating_add(u64::try_from(read.len()).unwrap_or(u64::MAX));
    }
    Ok(Digest { size, sha256: hash.finalize().into() })
}

/// Makes a directory's entries durable.
pub(super) fn sync(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

/// Renames, unless there is something of the new name.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<(), FileError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Not every file system can: then an empty thing claims the name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let claim = || {
                if from.is_dir() { DirBuilder::new().mode(0o700).create(to) } else { create(to).map(drop) }
            };
            claim().map_err(at(to))?;
            let renamed = fs::rename(from, to);
            if renamed.is_err() {
                let _ = if from.is_dir() { fs::remove_dir(to) } else { fs::remove_file(to) };
            }
            renamed.map_err(at(to))
        }
        Err(error) => Err(at(to)(error.into())),
    }
}

/// The names in a directory, in order; none if it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(at(directory))?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether there is anything of this name, be it a link that leads nowhere.
pub(super) fn is_there(path: &Path) -> Result<bool, FileError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}
