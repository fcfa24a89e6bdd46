//! Opening a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::LevelFilter;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};

use crate::error::is_busy;
use crate::migration::{Migrator, check_known, migrate};
use crate::restore::is_unfinished;
use crate::store::{Inner, Store, begin_write};
use crate::url::{DatabaseUrl, DatabaseUrlError, PostgresTarget, Target};

/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_STEP: Duration = Duration::from_millis(20);
/// How long a caller waits for a connection of the pool, and [`Store::open`] for a server that
/// refuses connections because it is still starting.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement that takes longer is something to look at.
const SLOW: Duration = Duration::from_secs(1);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
/// Held while migrating, so that servers that start together do not migrate twice.
const MIGRATION_LOCK: i64 = 0x666c_6565_7464;

/// A database was not opened. No variant shows a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] DatabaseUrlError),
    /// The database file could not be made.
    #[error("the database file {} cannot be made private", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no connection to the database.
    #[error("cannot connect to {url}")]
    Connect {
        /// The URL, shown without its password.
        url: DatabaseUrl,
        /// Why.
        #[source]
        source: Box<DbErr>,
    },
    /// The schema could not be brought up to date; it is as it was.
    #[error("the database schema cannot be migrated")]
    Migrate {
        /// Why.
        #[source]
        source: Box<DbErr>,
    },
    /// There is no such file.
    #[error("there is no database at {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing of a server in it.
    #[error("the database holds no installation")]
    NoInstallation {
        /// Why.
        #[source]
        source: Box<DbErr>,
    },
    /// The database lacks a step of this version's schema.
    #[error("the database is older than this version: start the server once, which brings it up to date")]
    OlderSchema,
    /// What was restored into the database is not to be used.
    #[error(
        "a restore into this database was not finished: drop the database, create it anew, and restore again"
    )]
    Unfinished,
    /// A newer version of this program has migrated the database.
    #[error("the database was migrated by a newer version: this one does not know its step {step}")]
    NewerSchema {
        /// The step that is not known.
        step: String,
    },
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Serve,
    Existing,
    Copy,
    Restore,
    /// As it was after so many steps.
    #[cfg(feature = "fault-injection")]
    Old {
        steps: u32,
    },
}

impl Store {
    /// Opens a database by its URL and brings its schema up to date: `sqlite:///path/to/file.db`
    /// (made if it is missing, mode 0600), `sqlite::memory:`, or
    /// `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// [`OpenError`]; a database that a newer version migrated is refused.
    ///
    /// # Cancel safety
    /// Dropped, what was opened is closed. A file that was made stays, and a step of the schema has happened
    /// whole or not at all. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_url(&DatabaseUrl::parse(url)?).await
    }

    /// As [`Store::open`], with a URL that was checked before.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// As [`Store::open`]. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn open_url(url: &DatabaseUrl) -> Result<Self, OpenError> {
        Self::open_how(url, How::Serve).await
    }

    /// Opens a database that is there and leaves its schema as it is: for whoever works beside a
    /// server, which may be of another version. Of an older schema [`Store::contents`],
    /// [`Store::backup_to`] and [`Store::export_snapshot`] work, and
    /// [`Store::require_current_schema`] tells.
    ///
    /// # Errors
    /// [`OpenError`]; a database that a newer version migrated is refused.
    ///
    /// # Cancel safety
    /// Dropped, what was opened is closed. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn open_existing(url: &DatabaseUrl) -> Result<Self, OpenError> {
        Self::open_how(url, How::Existing).await
    }

    /// Opens a SQLite file that nobody else uses, for looking into it: it is not changed, and no
    /// file is made beside it.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn open_copy(path: &Path) -> Result<Self, OpenError> {
        Self::open_how(&DatabaseUrl::sqlite_file(path), How::Copy).await
    }

    /// Opens a database that was restored into, before [`Store::restored`].
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// As [`Store::open`]. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn open_restoring(url: &DatabaseUrl) -> Result<Self, OpenError> {
        Self::open_how(url, How::Restore).await
    }

    /// Refuses a database of an older schema.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn require_current_schema(&self) -> Result<(), OpenError> {
        let pending = Migrator::pending(&self.inner.reader).await?;
        if pending { Err(OpenError::OlderSchema) } else { Ok(()) }
    }

    /// Makes an empty database as it was after the first `steps` of the schema's history, for tests of what comes
    /// after them. Feature `fault-injection`.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// As [`Store::open`]. The future is `Send`; it panics only outside of a tokio runtime.
    #[cfg(feature = "fault-injection")]
    pub async fn make_old(url: &str, steps: u32) -> Result<(), OpenError> {
        Self::open_how(&DatabaseUrl::parse(url)?, How::Old { steps }).await?.close().await;
        Ok(())
    }

    async fn open_how(url: &DatabaseUrl, how: How) -> Result<Self, OpenError> {
        let failed = |source: DbErr| OpenError::Connect { url: url.clone(), source: Box::new(source) };
        let (backend, writer, reader) = match url.target() {
            Target::SqliteMemory => {
                let only = connect_memory().await.map_err(failed)?;
                (DbBackend::Sqlite, only.clone(), only)
            }
            Target::SqliteFile(path) if how == How::Copy => {
                let only = connect_copy(path).await.map_err(failed)?;
                (DbBackend::Sqlite, only.clone(), only)
            }
            Target::SqliteFile(path) if how == How::Existing && !path.exists() => {
                return Err(OpenError::Missing { path: path.clone() });
            }
            Target::SqliteFile(path) => {
                make_private(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
                let writer = connect_file(path, 1, false).await.map_err(failed)?;
                let reader = connect_file(path, SQLITE_READERS, true).await.map_err(failed)?;
                (DbBackend::Sqlite, writer, reader)
            }
            Target::Postgres(target) => {
                let pool = connect_postgres(target).await.map_err(failed)?;
                (DbBackend::Postgres, pool.clone(), pool)
            }
        };
        let inner = Inner {
            backend,
            writer,
            reader,
            #[cfg(feature = "fault-injection")]
            faults: None,
        };
        let store = Self { inner: Arc::new(inner), devices_per_agent: u32::MAX };
        let checked = match how {
            How::Serve => store.bring_up_to_date(true, None).await,
            How::Restore => store.bring_up_to_date(false, None).await,
            #[cfg(feature = "fault-injection")]
            How::Old { steps } => store.bring_up_to_date(true, Some(steps)).await,
            How::Existing | How::Copy => store.check_schema().await,
        };
        if let Err(error) = checked {
            store.close().await;
            return Err(error);
        }
        Ok(store)
    }

    async fn check_schema(&self) -> Result<(), OpenError> {
        let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
        if is_unfinished(&self.inner.reader).await.map_err(failed)? {
            return Err(OpenError::Unfinished);
        }
        check_known(&self.inner.reader).await
    }

    async fn bring_up_to_date(&self, to_serve: bool, steps: Option<u32>) -> Result<(), OpenError> {
        let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
        if to_serve && is_unfinished(&self.inner.reader).await.map_err(failed)? {
            return Err(OpenError::Unfinished);
        }
        let tx = begin_write(&self.inner.writer).await.map_err(failed)?;
        if self.inner.backend == DbBackend::Postgres {
            let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
            tx.execute_unprepared(&lock).await.map_err(failed)?;
        }
        migrate(&tx, steps).await?;
        tx.commit().await.map_err(failed)
    }
}

/// Statements are logged at DEBUG, slow ones at WARN, both as `sqlx::query`: their text, which holds no value. What is
/// stored and sought is bound, and bound values are never logged.
fn speaking(options: &mut ConnectOptions) -> &mut ConnectOptions {
    options
        .sqlx_logging(true)
        .sqlx_logging_level(LevelFilter::Debug)
        .sqlx_slow_statements_logging_settings(LevelFilter::Warn, SLOW)
}

async fn connect_memory() -> Result<DatabaseConnection, DbErr> {
    // The database lives as long as its one connection.
    let mut options = ConnectOptions::new("sqlite::memory:");
    speaking(&mut options)
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(|options| options.foreign_keys(true));
    Database::connect(options).await
}

async fn connect_copy(path: &Path) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite:");
    let path = path.to_owned();
    options.sqlx_logging(false).max_connections(1).min_connections(1).test_before_acquire(false);
    options.map_sqlx_sqlite_opts(move |options| {
        options.filename(&path).in_memory(false).create_if_missing(false).read_only(true).immutable(true)
    });
    Database::connect(options).await
}

pub(crate) async fn connect_file(
    path: &Path,
    connections: u32,
    only_reads: bool,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite:");
    let path = path.to_owned();
    speaking(&mut options)
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .filename(&path)
                .in_memory(false)
                .shared_cache(false)
                .create_if_missing(false)
                .foreign_keys(true)
                .busy_timeout(BUSY_TIMEOUT)
                .pragma("synchronous", "FULL");
            if only_reads {
                options.pragma("query_only", "ON")
            } else {
                // Kept in the file: readers, which connect later, find it so.
                options.pragma("journal_mode", "WAL")
            }
        });
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match Database::connect(options.clone()).await {
            // A change of the journal mode does not wait for other processes by itself.
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(BUSY_STEP).await;
            }
            result => return result,
        }
    }
}

pub(crate) async fn connect_postgres(target: &PostgresTarget) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(&target.url);
    speaking(&mut options).max_connections(POSTGRES_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
    if let Some(password) = target.password.clone() {
        // Not in the URL: the layers below may log that.
        options.map_sqlx_postgres_opts(move |options| options.password(&password));
    }
    Database::connect(options).await
}

/// Makes the file before SQLite does, readable by its owner only, or tightens its mode; SQLite
/// gives the files beside it (`-wal`, `-shm`) the mode of the database.
///
/// A file that is there is not opened: closing it would release the locks that another store of
/// this process holds on it.
fn make_private(path: &Path) -> std::io::Result<()> {
    match create_private(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        Ok(_) | Err(_) => {}
    }
    #[cfg(unix)]
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        tighten(Path::new(&file))?;
    }
    Ok(())
}

/// Makes an empty file, readable by its owner only, where there is none.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

#[cfg(unix)]
fn tighten(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::Permissions::from_mode(0o600);
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => std::fs::set_permissions(path, private),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
