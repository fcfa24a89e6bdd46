//! A copy of the database while it is in use.

use std::path::{Path, PathBuf};

use fleet_core::store::StoreError;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::error::backend;
use crate::open::{connect_file, create_private};
use crate::store::Store;

/// A backup was not made; there is no file of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database is not SQLite.
    #[error("this is for SQLite only: PostgreSQL has pg_dump")]
    NotSqlite,
    /// There is something of this name, which is not overwritten.
    #[error("{} exists and is not overwritten", path.display())]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// A file could not be made.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies a SQLite database, as it is at one moment, to a new file that its owner alone can
    /// read. Others read and write meanwhile. The file is there once it is whole and durable;
    /// until then it is called `<path>.partial`, which a crash may leave behind.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is ever overwritten.
    ///
    /// # Cancel safety
    /// Dropped, the copy is removed, unless it was whole: then the last step goes on by itself, and the file
    /// is there. SQLite may go on writing the copy for a while, and it is removed when that is over or left
    /// as `<path>.partial`. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn backup_to(&self, path: &Path) -> Result<(), BackupError> {
        if self.inner.backend != DbBackend::Sqlite {
            return Err(BackupError::NotSqlite);
        }
        // Before the work as well as after it.
        vacant(path)?;
        let partial = Partial::new(path)?;
        match self.file().await? {
            Some(file) => {
                // A connection of its own: readers may not write any file, and the writer has other things to do.
                let own = connect_file(&file, 1, false).await.map_err(backend)?;
                let copied = copy(&own, &partial.0).await;
                if let Err(error) = own.close().await {
                    tracing::debug!(%error, "the connection of a backup did not close");
                }
                copied?;
            }
            None => copy(&self.inner.writer, &partial.0).await?,
        }
        let path = path.to_owned();
        let finish = tokio::task::spawn_blocking(move || partial.finish(&path));
        finish.await.map_err(|stopped| StoreError(Box::new(stopped)))?
    }

    /// The database's file; `None` for one in memory.
    async fn file(&self) -> Result<Option<PathBuf>, StoreError> {
        let list = self.sql("SELECT file FROM pragma_database_list WHERE name = 'main'", []);
        let row = self.inner.reader.query_one_raw(list).await.map_err(backend)?;
        let file = row.map(|row| row.try_get::<Option<String>>("", "file")).transpose().map_err(backend)?;
        Ok(file.flatten().filter(|file| !file.is_empty()).map(PathBuf::from))
    }
}

async fn copy(from: &DatabaseConnection, to: &Path) -> Result<(), BackupError> {
    let unspeakable = || std::io::Error::new(std::io::ErrorKind::InvalidFilename, "not UTF-8");
    let name = to.to_str().ok_or_else(|| failed(to)(unspeakable()))?;
    let vacuum = Statement::from_sql_and_values(from.get_database_backend(), "VACUUM INTO $1", [name.into()]);
    from.execute_raw(vacuum).await.map_err(backend)?;
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| {
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            BackupError::Exists { path }
        } else {
            BackupError::File { path, source }
        }
    }
}

/// Nothing is there, not even a link that leads nowhere.
fn vacant(path: &Path) -> Result<(), BackupError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(BackupError::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path)(error)),
    }
}

/// A copy that is not whole yet; removed when dropped.
#[derive(Debug)]
struct Partial(PathBuf);

impl Partial {
    /// SQLite writes into an empty file that it finds.
    fn new(path: &Path) -> Result<Self, BackupError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        create_private(&partial).map_err(failed(&partial))?;
        Ok(Self(partial))
    }

    fn finish(self, path: &Path) -> Result<(), BackupError> {
        let copy = std::fs::File::open(&self.0).map_err(failed(&self.0))?;
        copy.sync_all().map_err(failed(&self.0))?;
        // Claims the name, which whoever else wants it then finds taken.
        create_private(path).map_err(failed(path))?;
        let moved = std::fs::rename(&self.0, path);
        if moved.is_err() {
            let _ = std::fs::remove_file(path);
        }
        moved.map_err(failed(path))?;
        sync_directory(path).map_err(failed(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone if it was finished.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
fn sync_directory(of: &Path) -> std::io::Result<()> {
    let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_of: &Path) -> std::io::Result<()> {
    Ok(())
}
