//! The server's key directory: `command.key`, `root.key` of the first organization and a `root-ID.key` of each other,
//! 0600, each a seed of 64 hex digits and a newline.
//!
//! Keys are never in the database. All servers of one installation are given the same files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_core::id::OrgId;
use fleet_core::keys::{CommandSecretKey, RootSecretKey, Signer};
use fleet_core::random::{RandomError, SecureRandom};
use zeroize::Zeroizing;

pub(crate) const ROOT: &str = "root.key";
pub(crate) const COMMAND: &str = "command.key";
/// What the names of our files and directories begin with.
const OURS: [&str; 9] = [
    "root.",
    "root-",
    "command.",
    ".key-",
    "keys",
    "fleet.db",
    "local-agent",
    super::lock::LOCK,
    super::lock::RESTORING,
];

/// The keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDirError {
    /// A file or the directory cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A symbolic link, or another user's.
    #[error("{} is a symbolic link or belongs to another user", path.display())]
    NotOwn {
        /// Which.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} may be read by others: chmod 600", path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
    },
    /// A directory that others use too, by the look of it.
    #[error(
        "{} may be entered by others and holds other things; name a directory of its own, or chmod 700 it if it is one",
        path.display()
    )]
    Shared {
        /// Which.
        path: PathBuf,
    },
    /// It is no key.
    #[error("{} is not a key: 64 hex digits and a newline", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// A key is missing, and the database has an organization that was made with it.
    #[error(
        "{} is missing, and the organization in this database was made with it; give the key directory that belongs to \
         the database, or restore the key from a backup",
        path.display()
    )]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The keys that an installation is made with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Keys {
    /// The root of the first organization.
    pub root: Arc<dyn Signer>,
    /// The server's own.
    pub command: Arc<dyn Signer>,
}

/// Whether keys may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is nothing between the two")]
pub enum Missing {
    /// There is no organization yet: what is missing is made.
    Make,
    /// There is one, signed with keys that exist somewhere.
    Refuse,
}

/// Reads the keys, and makes what is missing if that may be.
///
/// # Errors
/// [`KeyDirError`].
pub fn open(directory: &Path, missing: Missing, random: &dyn SecureRandom) -> Result<Keys, KeyDirError> {
    let directory = &plain(directory);
    if missing == Missing::Make {
        prepare(directory)?;
    }
    let key = |name: &str| {
        let path = directory.join(name);
        match (path.symlink_metadata().is_ok(), missing) {
            (true, _) => read(&path),
            // Several servers of one installation may start at once: what is there in the end is read.
            (false, Missing::Make) => make(&path, random).and_then(|()| read(&path)),
            (false, Missing::Refuse) => Err(KeyDirError::Missing { path }),
        }
    };
    let (root, command) = (key(ROOT)?, key(COMMAND)?);
    if missing == Missing::Make {
        sync(directory)?;
    }
    Ok(Keys {
        root: Arc::new(RootSecretKey::from_seed(&root)),
        command: Arc::new(CommandSecretKey::from_seed(&command)),
    })
}

/// The file of the first organization's root.
pub(crate) fn first_root_file(directory: &Path) -> PathBuf {
    plain(directory).join(ROOT)
}

/// The file of the server's own key.
pub(crate) fn command_file(directory: &Path) -> PathBuf {
    plain(directory).join(COMMAND)
}

/// The file of the root of an organization that is not the first.
pub(crate) fn root_file(directory: &Path, org: OrgId) -> PathBuf {
    plain(directory).join(format!("root-{org}.key"))
}

/// Reads the root of an organization.
pub(crate) fn read_root(path: &Path) -> Result<RootSecretKey, KeyDirError> {
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(KeyDirError::Missing { path: path.to_owned() });
    }
    read(path).map(|seed| RootSecretKey::from_seed(&seed))
}

/// Makes the root of a new organization, durably. Nothing is there under this name yet.
pub(crate) fn make_root(path: &Path, random: &dyn SecureRandom) -> Result<(), KeyDirError> {
    make(path, random)?;
    sync(path.parent().unwrap_or(path))
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> KeyDirError + '_ {
    |source| KeyDirError::Io { path: path.to_owned(), source }
}

/// The path without a slash or dot at its end, by which a symbolic link would be followed.
pub(crate) fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Makes the directory, or sees that it is ours and nobody else's.
pub(crate) fn prepare(directory: &Path) -> Result<(), KeyDirError> {
    let directory = &plain(directory);
    match directory.symlink_metadata() {
        Ok(found) => {
            let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            if !own {
                return Err(KeyDirError::NotOwn { path: directory.to_owned() });
            }
            if found.permissions().mode() & 0o077 != 0 {
                // Nobody's /etc is to be closed because of a typing error.
                for entry in fs::read_dir(directory).map_err(io_at(directory))? {
                    let name = entry.map_err(io_at(directory))?.file_name();
                    if !OURS.iter().any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes())) {
                        return Err(KeyDirError::Shared { path: directory.to_owned() });
                    }
                }
                fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
                    .map_err(io_at(directory))?;
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_at(directory))
        }
        Err(error) => Err(io_at(directory)(error)),
    }
}

fn sync(directory: &Path) -> Result<(), KeyDirError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(io_at(directory))
}

/// A key that must be there.
pub(crate) fn read_named(directory: &Path, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyDirError> {
    let path = plain(directory).join(name);
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(KeyDirError::Missing { path });
    }
    read(&path)
}

fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyDirError> {
    let options = rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(options.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_at(path))?;
    let found = file.metadata().map_err(io_at(path))?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(KeyDirError::NotOwn { path: path.to_owned() });
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(KeyDirError::TooOpen { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::with_capacity(80));
    file.take(80).read_to_string(&mut text).map_err(io_at(path))?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_end(), &mut *seed)
        .map_err(|_| KeyDirError::NotAKey { path: path.to_owned() })?;
    Ok(seed)
}

/// Makes a key, unless there is one by then.
fn make(path: &Path, random: &dyn SecureRandom) -> Result<(), KeyDirError> {
    let mut seed = Zeroizing::new([0; 32]);
    random.fill(&mut *seed)?;
    let write = || {
        // Whole or not there: a crash must not leave half a key. Mode 0600.
        let directory = path.parent().unwrap_or(path);
        let mut file = tempfile::Builder::new().prefix(".key-").suffix(".tmp").tempfile_in(directory)?;
        let mut text = Zeroizing::new(hex::encode(*seed));
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            Ok(_) | Err(_) => Ok(()),
        }
    };
    write().map_err(io_at(path))
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::SeededRandom;

    use super::*;

    #[test]
    fn keys_are_made_once_private_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let first = open(&path, Missing::Make, &SeededRandom::new(1)).unwrap();
        let second = open(&path, Missing::Refuse, &SeededRandom::new(2)).unwrap();
        assert_eq!(first.command.public_key(), second.command.public_key());
        assert_eq!(first.root.public_key(), second.root.public_key());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for name in [ROOT, COMMAND] {
            assert_eq!(path.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn servers_that_start_at_once_use_the_same_keys() {
        for round in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let barrier = std::sync::Barrier::new(4);
            let opened: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..4)
                    .map(|seed| {
                        let (directory, barrier) = (directory.path(), &barrier);
                        scope.spawn(move || {
                            let random = SeededRandom::new(round * 4 + seed);
                            barrier.wait();
                            open(directory, Missing::Make, &random).unwrap()
                        })
                    })
                    .collect();
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            let on_disk = open(directory.path(), Missing::Refuse, &SeededRandom::new(0)).unwrap();
            for keys in opened {
                assert_eq!(keys.command.public_key(), on_disk.command.public_key());
                assert_eq!(keys.root.public_key(), on_disk.root.public_key());
            }
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let random = SeededRandom::new(1);
        open(&path, Missing::Make, &random).unwrap();

        fs::set_permissions(path.join(ROOT), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open(&path, Missing::Refuse, &random), Err(KeyDirError::TooOpen { .. })));
        fs::set_permissions(path.join(ROOT), fs::Permissions::from_mode(0o600)).unwrap();

        let seed = fs::read_to_string(path.join(COMMAND)).unwrap();
        fs::write(path.join(COMMAND), &seed[..40]).unwrap();
        let error = open(&path, Missing::Refuse, &random).unwrap_err();
        assert!(matches!(error, KeyDirError::NotAKey { .. }));
        assert!(!format!("{error} {error:?}").contains(&seed[..8]));

        fs::remove_file(path.join(COMMAND)).unwrap();
        assert!(matches!(open(&path, Missing::Refuse, &random), Err(KeyDirError::Missing { .. })));
        // A crash between the two, before there was an organization: what is missing is made.
        open(&path, Missing::Make, &random).unwrap();
        fs::remove_file(path.join(COMMAND)).unwrap();

        fs::remove_file(path.join(ROOT)).unwrap();
        std::os::unix::fs::symlink("/dev/null", path.join(ROOT)).unwrap();
        std::os::unix::fs::symlink("/dev/null", path.join(COMMAND)).unwrap();
        assert!(open(&path, Missing::Refuse, &random).is_err());
    }

    #[test]
    fn a_directory_that_others_use_is_left_alone_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let shared = directory.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(shared.join("passwd"), "").unwrap();
        assert!(matches!(prepare(&shared), Err(KeyDirError::Shared { .. })));
        assert_eq!(shared.metadata().unwrap().permissions().mode() & 0o777, 0o755);

        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        for ending in ["", "/", "/."] {
            let path = PathBuf::from(format!("{}{ending}", link.display()));
            assert!(matches!(prepare(&path), Err(KeyDirError::NotOwn { .. })), "{ending}");
        }
    }
}
