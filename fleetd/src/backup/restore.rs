//! Restoring a backup into a place where nothing is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use fleet_core::id::{AgentId, OrgId};
use fleet_core::store::{Actor, AgentStatus, StoreError};
use fleet_core::time::UnixMillis;
use fleet_store::{
    AgentFilter, Contents, DatabaseUrl, LogEntry, LogKind, PostgresAddress, Restored, Restoring, Store,
};

use super::description::{self, Described, Description, Entry, KEYS, LOCAL_AGENT};
use super::error::{FileError, RestoreError};
use super::files::{self, Demand, Digest};
use super::key_set::{KeySet, key_files};
use super::manifest::{self, Issued};
use super::place::{Filling, with_end};
use super::postgres;
use crate::config::Config;

/// How many agents are read at once.
const PAGE: u32 = 1000;

/// What is to be restored.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "what the command line says")]
pub struct Restore<'a> {
    /// The backup.
    pub from: &'a Path,
    /// Where the keys are, if not in the backup. If it is the key directory itself, they stay there.
    pub keys: Option<&'a Path>,
    /// The time.
    pub now: UnixMillis,
}

/// An agent that the restored database takes for confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownAgent {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// How many devices it owns.
    pub devices: i64,
}

/// An organization that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownOrganization {
    /// Its new manifest.
    pub manifest: Issued,
    /// Its operators, by login name.
    pub operators: Vec<String>,
    /// The agents that may come back.
    pub agents: Vec<KnownAgent>,
    /// The operators' api_keys that work again: digits and label.
    pub api_keys: Vec<(String, String)>,
    /// How many enrollments wait for an agent or for confirmation.
    pub open_enrollments: usize,
    /// Whether it has a local agent.
    pub has_local_agent: bool,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The backup.
    pub backup: Description,
    /// The organizations.
    pub organizations: Vec<KnownOrganization>,
    /// Whether the local agent's keys are there now.
    pub local_agent: bool,
}

/// Where the keys come from.
#[derive(Debug)]
enum Source {
    /// The backup, or another directory.
    From(PathBuf),
    /// They are in place.
    Stay,
}

/// Puts a backup into the place that is configured.
///
/// # Errors
/// [`RestoreError`]; all is as it was then.
///
/// # Cancel safety
/// Dropped, files that were put there are removed again. A PostgreSQL database may be left marked as
/// unfinished: it is then to be dropped and made anew. The future is `Send`; it panics only outside of a
/// tokio runtime.
pub async fn restore(config: &Config, restore: Restore<'_>) -> Result<Outcome, RestoreError> {
    let Restore { from, now, .. } = restore;
    let backup = Description::read(from)?;
    let configured = match config.database.postgres() {
        Some(_) => Described::Postgresql,
        None if config.database.file().is_some() => Described::Sqlite,
        None => return Err(RestoreError::InMemory),
    };
    if backup.database != configured {
        return Err(RestoreError::OtherDatabase { backup: backup.database, configured });
    }
    if backup.time().is_none_or(|made_at| now < made_at) {
        return Err(RestoreError::Clock { made_at: backup.made_at });
    }
    let source = source(config, &restore, &backup)?;
    verify(from, &backup)?;
    let keys = KeySet::read(match &source {
        Source::From(directory) => directory,
        Source::Stay => &config.key_dir,
    })?;
    check_described(&keys, &backup)?;
    if configured == Described::Sqlite {
        let store = Store::open_copy(&from.join(description::SQLITE)).await?;
        let contents = store.contents().await;
        store.close().await;
        check_contents(&keys, &backup, &contents?)?;
    }

    let keys_stay = matches!(source, Source::Stay);
    let mut filling = Filling::begin(config, keys_stay, backup.local_agent)?;
    if let Source::From(directory) = &source {
        place_keys(&mut filling, config, directory, &backup, restore.keys.is_none())?;
    }
    let local = config.data_dir.join(LOCAL_AGENT);
    if backup.local_agent {
        filling.directory(&local)?;
        for (name, entry) in backup.within(LOCAL_AGENT) {
            let to = local.join(name);
            copy(&mut filling, &from.join(&entry.path), &to, Some(entry))?;
        }
        files::sync(&local)?;
    }
    // Last, and whole at once.
    let work = Work { keys: &keys, backup: &backup, now };
    let mut organizations = match config.database.postgres() {
        Some(address) => work.postgres(&config.database, address, from, filling).await?,
        None => work.sqlite(&config.database, from, filling).await?,
    };
    organizations.sort_by_key(|organization| organization.manifest.id);
    let local_agent = files::is_there(&local.join("identity.key"))?;
    Ok(Outcome { backup, organizations, local_agent })
}

fn source(config: &Config, restore: &Restore<'_>, backup: &Description) -> Result<Source, RestoreError> {
    let Some(named) = restore.keys else {
        return if backup.keys {
            Ok(Source::From(restore.from.join(KEYS)))
        } else {
            Err(RestoreError::NoKeys)
        };
    };
    let real = |path: &Path| path.canonicalize();
    let is_in_place = match (real(named), real(&config.key_dir)) {
        (Ok(named), Ok(key_dir)) => named == key_dir,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    Ok(if is_in_place { Source::Stay } else { Source::From(named.to_owned()) })
}

/// Every file is there, is what it was, and nothing else is.
fn verify(from: &Path, backup: &Description) -> Result<(), RestoreError> {
    let found = from.metadata().map_err(|source| FileError::Io { path: from.to_owned(), source })?;
    files::trusted(from, &found)?;
    let mut expected = BTreeSet::from([description::NAME, backup.database.file()]);
    for (has, directory) in [(backup.keys, KEYS), (backup.local_agent, LOCAL_AGENT)] {
        if !has {
            continue;
        }
        expected.insert(directory);
        let path = from.join(directory);
        let found = path.symlink_metadata();
        let found = found.map_err(|source| FileError::Io { path: path.clone(), source })?;
        if !found.is_dir() {
            return Err(RestoreError::Foreign { path });
        }
        let listed: BTreeSet<&str> = backup.within(directory).map(|(name, _)| name).collect();
        nothing_else(&path, &listed)?;
    }
    nothing_else(from, &expected)?;
    for entry in &backup.files {
        let path = from.join(&entry.path);
        let demand = if entry.path.contains('/') { Demand::Private } else { Demand::Trusted };
        let found = files::digest(&path, demand)?;
        same(&found, entry, &path)?;
    }
    Ok(())
}

fn nothing_else(directory: &Path, expected: &BTreeSet<&str>) -> Result<(), RestoreError> {
    let names = files::names(directory)?;
    match names.iter().find(|name| !expected.contains(name.as_str())) {
        Some(name) => Err(RestoreError::Foreign { path: directory.join(name) }),
        None => Ok(()),
    }
}

fn same(found: &Digest, entry: &Entry, path: &Path) -> Result<(), RestoreError> {
    let is_same = found.size == entry.size && hex::encode(found.sha256) == entry.sha256.to_lowercase();
    if is_same { Ok(()) } else { Err(RestoreError::Changed { path: path.to_owned() }) }
}

fn is_elsewhere(backup: &Description, id: OrgId) -> bool {
    backup.organizations.iter().any(|held| held.id == id.value() && !held.managed_root)
}

/// What `backup.json` says of keys: all there is before a dump is restored.
fn check_described(keys: &KeySet, backup: &Description) -> Result<(), RestoreError> {
    for held in &backup.organizations {
        let Ok(id) = OrgId::new(held.id) else { continue };
        let bytes = |text: &str| hex::decode(text).unwrap_or_default();
        let (root, command) = (bytes(&held.root_pubkey), bytes(&held.command_pubkey));
        keys.check(id, (&root, &command), !held.managed_root)?;
    }
    Ok(())
}

fn check_contents(keys: &KeySet, backup: &Description, contents: &Contents) -> Result<(), RestoreError> {
    if contents.organizations.is_empty() {
        return Err(RestoreError::NotSetUp);
    }
    for found in &contents.organizations {
        keys.check(found.id, (&found.root, &found.command), is_elsewhere(backup, found.id))?;
    }
    Ok(())
}

fn place_keys(
    filling: &mut Filling,
    config: &Config,
    from: &Path,
    backup: &Description,
    from_backup: bool,
) -> Result<(), RestoreError> {
    filling.directory(&config.key_dir)?;
    for name in key_files(from)? {
        let entry = backup.entry(&format!("{KEYS}/{name}")).filter(|_| from_backup);
        copy(filling, &from.join(&name), &config.key_dir.join(&name), entry)?;
    }
    Ok(files::sync(&config.key_dir)?)
}

/// Copies a file, and sees that it is still what it was when it was verified.
fn copy(filling: &mut Filling, from: &Path, to: &Path, entry: Option<&Entry>) -> Result<(), RestoreError> {
    let digest = files::copy(from, to, Demand::Private)?;
    filling.made(to);
    entry.map_or(Ok(()), |entry| same(&digest, entry, from))
}

struct Work<'a> {
    keys: &'a KeySet,
    backup: &'a Description,
    now: UnixMillis,
}

impl Work<'_> {
    async fn sqlite(
        &self,
        url: &DatabaseUrl,
        from: &Path,
        mut filling: Filling,
    ) -> Result<Vec<KnownOrganization>, RestoreError> {
        let database = url.file().ok_or(RestoreError::InMemory)?;
        let unfinished = with_end(database, ".restoring");
        let source = from.join(description::SQLITE);
        let digest = files::copy(&source, &unfinished, Demand::Trusted)?;
        filling.made_database(&unfinished);
        let entry = self.backup.entry(description::SQLITE);
        entry.map_or(Ok(()), |entry| same(&digest, entry, &source))?;
        let store = Store::open_restoring(&DatabaseUrl::sqlite_file(&unfinished)).await?;
        let finished = self.finish(&store).await;
        store.close().await;
        let organizations = finished?;
        let durable = File::open(&unfinished).and_then(|file| file.sync_all());
        durable.map_err(|source| FileError::Io { path: unfinished.clone(), source })?;
        // What is not in the file by now would be lost.
        if files::is_there(&with_end(&unfinished, "-wal"))? {
            return Err(RestoreError::Changed { path: unfinished });
        }
        files::rename_new(&unfinished, database)?;
        filling.made(database);
        let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        files::sync(parent.unwrap_or_else(|| Path::new(".")))?;
        filling.finish()?;
        Ok(organizations)
    }

    async fn postgres(
        &self,
        url: &DatabaseUrl,
        address: PostgresAddress<'_>,
        from: &Path,
        filling: Filling,
    ) -> Result<Vec<KnownOrganization>, RestoreError> {
        let path = from.join(description::DUMP);
        let mut dump = files::open(&path, Demand::Trusted)?;
        let digest = files::digest_of(&mut dump, &path)?;
        self.backup.entry(description::DUMP).map_or(Ok(()), |entry| same(&digest, entry, &path))?;
        dump.rewind().map_err(|source| FileError::Io { path, source })?;
        let restoring = Restoring::begin(url).await?;
        let done = async {
            postgres::restore(address, dump).await?;
            let store = Store::open_restoring(url).await?;
            let finished = self.finish(&store).await;
            store.close().await;
            finished
        };
        match done.await {
            Ok(organizations) => {
                restoring.close().await;
                // From the commit on other servers may be using the database.
                filling.finish_in_use()?;
                Ok(organizations)
            }
            Err(error) => {
                match restoring.abandon().await {
                    Ok(true) => {}
                    Ok(false) => tracing::error!("the database is restored nevertheless"),
                    Err(error) => {
                        tracing::error!(%error, "what was restored into the database could not be taken back");
                    }
                }
                Err(error)
            }
        }
    }

    /// Makes what was copied fit to be served.
    async fn finish(&self, store: &Store) -> Result<Vec<KnownOrganization>, RestoreError> {
        let contents = store.contents().await?;
        check_contents(self.keys, self.backup, &contents)?;
        let mut restored = Restored::default();
        let mut issued = Vec::new();
        for found in contents.organizations {
            let step = manifest::signed(store, self.keys, found.id, self.now).await?;
            restored.changes.extend(step.iter().map(|step| step.change().clone()));
            let epoch = step.map(fleet_core::commit::NeedsCommit::committed);
            issued.push(Issued { id: found.id, name: found.name, epoch });
            restored.lines.push(LogEntry {
                at: self.now,
                org_id: found.id,
                actor: Actor::System,
                kind: LogKind::Restored,
                detail: Some(format!("from the backup of {}", self.backup.made_at)),
            });
        }
        let mut organizations = Vec::new();
        for manifest in issued {
            organizations.push(known(store, manifest).await?);
        }
        // Last: nothing may fail after it.
        store.restored(restored).await?;
        Ok(organizations)
    }
}

/// What the database takes for granted, for the operator to look through.
async fn known(store: &Store, manifest: Issued) -> Result<KnownOrganization, StoreError> {
    let id = manifest.id;
    let mut agents = Vec::new();
    let mut after = None;
    loop {
        let page = store.agents(id, AgentFilter::default(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.agent.id);
        let confirmed = page.iter().filter(|listing| listing.agent.status == AgentStatus::Confirmed);
        agents.extend(confirmed.map(|listing| KnownAgent {
            id: listing.agent.id,
            name: listing.agent.name.to_string(),
            devices: listing.devices,
        }));
    }
    let mut open_enrollments = 0;
    let mut after = None;
    loop {
        let page = store.enrollments(id, after, PAGE, true).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.id);
        open_enrollments += page.len();
    }
    let api_keys = store.user_api_keys(id).await?;
    let operators = store.members(id).await?;
    Ok(KnownOrganization {
        operators: operators.into_iter().map(|operator| operator.name).collect(),
        agents,
        api_keys: api_keys.into_iter().map(|key| (key.digits, key.label.to_string())).collect(),
        open_enrollments,
        has_local_agent: store.local_agent(id).await?.is_some(),
        manifest,
    })
}
