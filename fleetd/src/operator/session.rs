//! Where the operator's command line keeps its session: `$XDG_CONFIG_HOME/fleetd`, else
//! `~/.config/fleetd`, 0700, one file of 0600.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

const FILE: &str = "session.json";

/// A signed-in operator: which server, and the token for it.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The server's URL.
    pub server: String,
    /// The session token, or an api_key.
    pub token: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The session could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("neither XDG_CONFIG_HOME nor HOME is set: say where with --config-dir")]
    NoHome,
    /// The directory is a symbolic link or another user's.
    #[error("{} is a symbolic link or belongs to another user", path.display())]
    NotOwn {
        /// The directory.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{} is damaged; sign in again with fleetd login", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file system refused.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The directory that holds the session.
#[derive(Debug, Clone)]
pub struct ConfigDir(PathBuf);

impl ConfigDir {
    /// `directory`, else the user's own.
    ///
    /// # Errors
    /// [`SessionError::NoHome`].
    pub fn new(directory: Option<PathBuf>) -> Result<Self, SessionError> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        directory
            .or_else(|| absolute("XDG_CONFIG_HOME").map(|base| base.join("fleetd")))
            .or_else(|| absolute("HOME").map(|home| home.join(".config/fleetd")))
            .map(Self)
            .ok_or(SessionError::NoHome)
    }

    /// The session, `None` if nobody signed in.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn load(&self) -> Result<Option<Session>, SessionError> {
        let path = self.0.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SessionError::Io { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(session) => Ok(Some(session)),
            Err(source) => Err(SessionError::Damaged { path, source }),
        }
    }

    /// Keeps a session in the place of any other.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn save(&self, session: &Session) -> Result<(), SessionError> {
        self.prepare()?;
        let (path, temporary) = (self.0.join(FILE), self.0.join(format!(".{FILE}.new")));
        let io = |source| SessionError::Io { path: path.clone(), source };
        let write = || {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec(session)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(io)
    }

    /// Forgets the session.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn forget(&self) -> Result<(), SessionError> {
        let path = self.0.join(FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SessionError::Io { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn prepare(&self) -> Result<(), SessionError> {
        let path: &Path = &self.0;
        let io = |source| SessionError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let found = fs::symlink_metadata(path).map_err(io)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(SessionError::NotOwn { path: path.to_owned() });
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_session_is_kept_for_its_owner_alone_and_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/fleetd");
        let config = ConfigDir::new(Some(directory.clone())).unwrap();
        assert!(config.load().unwrap().is_none());
        let session = Session { server: "http://127.0.0.1:8420".to_owned(), token: "t".to_owned() };
        config.save(&session).unwrap();
        config.save(&session).unwrap();
        assert_eq!(config.load().unwrap().unwrap().token, "t");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
        config.forget().unwrap();
        config.forget().unwrap();
        assert!(config.load().unwrap().is_none());
    }

    #[test]
    fn debug_shows_no_token() {
        let token = "a-token-to-be-found";
        let session = Session { server: "http://127.0.0.1:8420".to_owned(), token: token.to_owned() };
        assert_snapshot!(Secrets::of([("the token", token)]).unsaid(&session), @r#"Session { server: "http://127.0.0.1:8420", .. }"#);
    }

    #[test]
    fn a_symbolic_link_is_refused_and_loose_modes_are_tightened() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let session = Session { server: String::new(), token: String::new() };
        let refused = ConfigDir::new(Some(link)).unwrap().save(&session);
        assert!(matches!(refused, Err(SessionError::NotOwn { .. })));
        ConfigDir::new(Some(real.clone())).unwrap().save(&session).unwrap();
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(FILE), b"{").unwrap();
        let error = ConfigDir::new(Some(root.path().to_owned())).unwrap().load().unwrap_err();
        assert!(error.to_string().contains("session.json is damaged"), "{error}");
    }
}
