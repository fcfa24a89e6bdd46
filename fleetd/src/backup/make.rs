//! Making a backup.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fleet_core::time::UnixMillis;
use fleet_store::{Contents, DatabaseUrl, PostgresAddress, Store};

use super::description::{self, Described, Description, KEYS, LOCAL_AGENT, Organization};
use super::error::{BackupError, FileError, KeySetError};
use super::files::{self, Demand};
use super::key_set::{KeySet, key_files};
use super::postgres;
use crate::config::Config;
use crate::server::keys::plain;
use crate::server::lock::{self, check_whole};

/// Copies the installation to a new directory, while its server runs or not.
///
/// # Errors
/// [`BackupError`]; there is no directory then.
///
/// # Cancel safety
/// Dropped, what was copied is removed; `pg_dump` is killed. The future is `Send`; it panics only outside of
/// a tokio runtime.
pub async fn make(
    config: &Config,
    to: &Path,
    with_keys: bool,
    now: UnixMillis,
) -> Result<Description, BackupError> {
    let to = plain(&std::path::absolute(to).map_err(|source| FileError::Io { path: to.to_owned(), source })?);
    // Before the work as well as after it.
    if files::is_there(&to)? {
        return Err(BackupError::Exists { path: to });
    }
    let data = &config.data_dir;
    let Ok(found) = data.metadata() else { return Err(BackupError::NoInstallation { path: data.clone() }) };
    if found.uid() != rustix::process::geteuid().as_raw() {
        // Another user would leave files beside the database that the server cannot use.
        return Err(BackupError::NotOwn { path: data.clone() });
    }
    check_whole(data)?;
    let partial = Partial::new(&to)?;

    let (kind, contents) = database(&config.database, partial.path()).await?;
    if contents.organizations.is_empty() {
        return Err(BackupError::NotSetUp { path: data.clone() });
    }
    let mut made = Description::new(now, kind, contents.schema.clone());
    let file = partial.path().join(kind.file());
    made.add(kind.file(), &files::digest(&file, Demand::Private)?);

    // After the database: see the page of this module.
    let set = KeySet::read(&config.key_dir)?;
    for found in &contents.organizations {
        // A backup with keys is all that a restore needs, or none. Without, a root that is not here is told.
        set.check(found.id, (&found.root, &found.command), !with_keys)?;
        made.organizations.push(Organization::new(found, set.root(&found.root).is_some()));
    }
    if with_keys {
        let names = key_files(&config.key_dir)?;
        copy_all(&mut made, &config.key_dir, partial.path(), KEYS, &names)?;
        made.keys = true;
        let local = data.join(LOCAL_AGENT);
        let names = local_files(&local)?;
        if !names.is_empty() {
            copy_all(&mut made, &local, partial.path(), LOCAL_AGENT, &names)?;
            made.local_agent = true;
        }
    }
    made.write(partial.path())?;
    partial.finish(&to)?;
    Ok(made)
}

/// Copies the database, and says what is in the copy.
async fn database(url: &DatabaseUrl, to: &Path) -> Result<(Described, Contents), BackupError> {
    if let Some(address) = url.postgres() {
        let store = Store::open_existing(url).await?;
        let dumped = dump(&store, address, &to.join(Described::Postgresql.file())).await;
        store.close().await;
        return Ok((Described::Postgresql, dumped?));
    }
    if url.file().is_none() {
        return Err(BackupError::InMemory);
    }
    let store = Store::open_existing(url).await?;
    let copy = to.join(Described::Sqlite.file());
    let copied = store.backup_to(&copy).await;
    store.close().await;
    copied?;
    let store = Store::open_copy(&copy).await?;
    let contents = store.contents().await;
    store.close().await;
    Ok((Described::Sqlite, contents?))
}

async fn dump(store: &Store, address: PostgresAddress<'_>, to: &Path) -> Result<Contents, BackupError> {
    // Dumped is the very moment that is described.
    let snapshot = store.export_snapshot().await?.ok_or(BackupError::InMemory)?;
    postgres::dump(address, &snapshot.id, to).await?;
    Ok(snapshot.contents)
}

/// What a local agent keeps: not its lock, nor what is being written.
fn local_files(directory: &Path) -> Result<Vec<String>, FileError> {
    let names = files::names(directory)?;
    let is_kept =
        |name: &String| description::is_plain(name) && *name != lock::LOCK && !name.ends_with(".tmp");
    Ok(names.into_iter().filter(is_kept).collect())
}

fn copy_all(
    made: &mut Description,
    from: &Path,
    backup: &Path,
    directory: &str,
    names: &[String],
) -> Result<(), KeySetError> {
    files::make_directory(&backup.join(directory))?;
    for name in names {
        let path = format!("{directory}/{name}");
        let digest = files::copy(&from.join(name), &backup.join(&path), Demand::Private)?;
        made.add(&path, &digest);
    }
    Ok(files::sync(&backup.join(directory))?)
}

/// A backup that is not whole yet; removed when dropped.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    parent: PathBuf,
}

impl Partial {
    fn new(to: &Path) -> Result<Self, FileError> {
        let parent = to.parent().unwrap_or(to).to_owned();
        let io = |source| FileError::Io { path: to.to_owned(), source };
        let name = to.file_name().ok_or_else(|| io(std::io::ErrorKind::InvalidFilename.into()))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let made = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(io)?;
        Ok(Self { path: made.keep(), parent })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn finish(self, to: &Path) -> Result<(), BackupError> {
        files::sync(&self.path)?;
        match files::rename_new(&self.path, to) {
            Err(FileError::Io { path, source }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists { path });
            }
            renamed => renamed?,
        }
        Ok(files::sync(&self.parent)?)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone if it was finished.
        let _ = fs::remove_dir_all(&self.path);
    }
}
