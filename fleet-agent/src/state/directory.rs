use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat},
    io::Errno,
};

use super::{FileAgentStore, FileKeyStore, PublicState, StateFileError, files, store};

const LOCK: &str = "lock";
const LOCK_TRIES: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const OTHERS: u32 = 0o077;

/// What a process wants with a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller chooses one")]
pub enum Access {
    /// To change the agent's state: made if it is not there, and locked against other processes.
    Exclusive,
    /// To change what has a lock of its own (the miners' credentials): made if it is not there.
    Shared,
    /// To look, also while another process holds the lock.
    ReadOnly,
}

/// Who holds a state directory's lock, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockHolder {
    /// The process with this pid.
    Process(u32),
    /// A process that has not written its pid yet.
    Unknown,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

/// A state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// A directory that others use too, by the look of it.
    #[error(
        "{} may be entered by others and holds other things; name a directory of its own, or chmod 700 it if it is one",
        path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// Neither `XDG_STATE_HOME` nor `HOME` says where it is.
    #[error("neither XDG_STATE_HOME nor HOME is set to an absolute path: pass --state-dir")]
    NoHome,
    /// It is not there.
    #[error("{} does not exist: this agent is not enrolled", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is a symbolic link: whoever can change the link can change the agent.
    #[error("{} is a symbolic link; the state directory must be a directory of its own", .path.display())]
    Symlink {
        /// The directory.
        path: PathBuf,
    },
    /// It is not a directory.
    #[error("{} is not a directory", .path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, and this process runs as user {user}", .path.display())]
    OtherOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// This process's effective uid.
        user: u32,
    },
    /// Another process works on it.
    #[error("{holder} is using {}; stop it first, or use another --state-dir", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds the lock.
        holder: LockHolder,
    },
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// An agent's state directory, checked: mode 0700, this user's, no symbolic link.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
    /// Held for as long as anything of the directory is in use; the kernel lets go of it when the
    /// process dies, however it dies.
    lock: Option<Arc<File>>,
}

/// What the names of our files begin with.
const OURS: [&str; 9] = [
    LOCK,
    "state.yaml",
    "identity.key",
    "miner-signing.key",
    "sealing.key",
    "api-key",
    "session",
    "counters",
    "miner-",
];

impl StateDir {
    /// `$XDG_STATE_HOME/fleet-agent`, else `$HOME/.local/state/fleet-agent`.
    ///
    /// # Errors
    /// [`StateDirError::NoHome`].
    pub fn default_path() -> Result<PathBuf, StateDirError> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("fleet-agent"))
            .ok_or(StateDirError::NoHome)
    }

    /// Opens a state directory. It does not wait for another process: a lock that one holds is an
    /// error that names it, within 50 ms.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn open(path: &Path, access: Access) -> Result<Self, StateDirError> {
        // Without a slash or dot at its end, by which a symbolic link would be followed.
        let path: &Path = &path.components().collect::<PathBuf>();
        let io = |source: io::Error| StateDirError::Io { path: path.to_owned(), source };
        match access {
            Access::Exclusive | Access::Shared => make(path).map_err(io)?,
            Access::ReadOnly => {}
        }
        // Checked and tightened through one open file: what is checked is what is used.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => StateDirError::Missing { path: path.to_owned() },
            // Linux says NOTDIR of a link with DIRECTORY and NOFOLLOW.
            Errno::LOOP | Errno::NOTDIR if path.is_symlink() => {
                StateDirError::Symlink { path: path.to_owned() }
            }
            Errno::NOTDIR => StateDirError::NotADirectory { path: path.to_owned() },
            other => io(other.into()),
        })?;
        let stat = fstat(&directory).map_err(|error| io(error.into()))?;
        let user = rustix::process::geteuid().as_raw();
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(StateDirError::NotADirectory { path: path.to_owned() });
        }
        if stat.st_uid != user {
            return Err(StateDirError::OtherOwner { path: path.to_owned(), owner: stat.st_uid, user });
        }
        if stat.st_mode & OTHERS != 0 {
            // Nobody's /etc is to be closed because of a typing error.
            for entry in std::fs::read_dir(path).map_err(io)? {
                let name = entry.map_err(io)?.file_name();
                if !OURS.iter().any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes())) {
                    return Err(StateDirError::Shared { path: path.to_owned() });
                }
            }
            tracing::warn!(path = %path.display(), "others could enter the state directory; its mode is now 0700");
            fchmod(&directory, Mode::RWXU).map_err(|error| io(error.into()))?;
        }
        let lock = match access {
            Access::Exclusive => Some(Arc::new(take_lock(path)?)),
            Access::Shared | Access::ReadOnly => None,
        };
        if lock.is_some() {
            files::remove_leftovers(path).map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this process holds the lock.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        self.lock.is_some()
    }

    /// Who holds the lock at this moment, if anybody does.
    #[must_use]
    pub fn holder(&self) -> Option<LockHolder> {
        let mut file = OpenOptions::new().read(true).open(self.path.join(LOCK)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => Some(read_holder(&mut file)),
        }
    }

    /// The agent's state.
    #[must_use]
    pub fn store(&self) -> FileAgentStore {
        FileAgentStore::new(self.clone())
    }

    /// The agent's secret keys.
    #[must_use]
    pub fn keys(&self) -> FileKeyStore {
        FileKeyStore::new(self.clone())
    }

    /// What `status` may show; `None` if no enrollment was begun. Needs no lock.
    ///
    /// # Errors
    /// [`StateFileError`] names the file.
    pub fn public_state(&self) -> Result<Option<PublicState>, StateFileError> {
        store::read_public(&self.path)
    }
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn take_lock(directory: &Path) -> Result<File, StateDirError> {
    let path = directory.join(LOCK);
    let io = |source: io::Error| StateDirError::Io { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(io)?;
    let mut tries = 1_u32;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            // `status` holds it for a moment, to see whether anybody does.
            Err(Errno::WOULDBLOCK) if tries < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let holder = read_holder(&mut file);
                return Err(StateDirError::Locked { path: directory.to_owned(), holder });
            }
            Err(error) => return Err(io(error.into())),
        }
        tries = tries.saturating_add(1);
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

fn read_holder(file: &mut File) -> LockHolder {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().map_or(LockHolder::Unknown, LockHolder::Process),
        Err(_) => LockHolder::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_made_private_and_tightened_if_it_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/fleet-agent");
        drop(StateDir::open(&path, Access::Exclusive).unwrap());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::open(&path, Access::ReadOnly).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_symbolic_link_or_a_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let (real, link, file) =
            (home.path().join("real"), home.path().join("link"), home.path().join("file"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        fs::write(&file, "").unwrap();
        for access in [Access::Exclusive, Access::ReadOnly] {
            assert!(matches!(StateDir::open(&link, access), Err(StateDirError::Symlink { .. })));
            assert!(matches!(StateDir::open(&file, access), Err(StateDirError::NotADirectory { .. })));
        }
        let missing = home.path().join("missing");
        assert!(matches!(StateDir::open(&missing, Access::ReadOnly), Err(StateDirError::Missing { .. })));
        assert!(!missing.exists());
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_lock_and_does_not_wait() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        let held = StateDir::open(&path, Access::Exclusive).unwrap();
        let error = StateDir::open(&path, Access::Exclusive).unwrap_err();
        let me = LockHolder::Process(std::process::id());
        assert!(matches!(&error, StateDirError::Locked { holder, .. } if *holder == me), "{error:?}");
        assert!(error.to_string().starts_with(&format!("process {} is using ", std::process::id())));
        assert_eq!(StateDir::open(&path, Access::ReadOnly).unwrap().holder(), Some(me));
        let store = held.store();
        drop(held);
        assert!(StateDir::open(&path, Access::Exclusive).is_err(), "a store in use holds the lock");
        drop(store);
        assert_eq!(StateDir::open(&path, Access::ReadOnly).unwrap().holder(), None);
        StateDir::open(&path, Access::Exclusive).unwrap();
    }
}
