//! An own store in one file on disk, run through the conformance suite; then a server that comes back on it.
//!
//! Every change is appended to the file and synced before it counts; when the store is opened, all of them are read
//! again. What a change does, and which is refused, `MemoryServerStore` knows, which is the index: the same changes in
//! the same order have the same outcome. A change that was cut off by a crash was not answered, and is taken off.
//!
//! What such a file would need besides, where agents come and go for years: to be written anew without what is over.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{Error, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use fleet_core::future::{BoxFuture, ready};
use fleet_core::id::EnrollmentId;
use fleet_core::store::{
    ChallengeRecord, Changeset, CommitError, MemoryServerStore, Query, ServerStore, Snapshot, StoreError,
};
use fleet_core::testing::{World, block_on, store_conformance};
use fleet_core::time::UnixMillis;
use fleet_core::transcript::sha256;
use fleet_examples::records::{decode, encode};

#[derive(Debug)]
struct OwnStore {
    /// `None` once something could not be written: what is in the file is then known only by opening it again.
    log: Mutex<Option<File>>,
    index: MemoryServerStore,
}

/// An entry is a change, or the challenge that was taken; its length and its hash stand before it.
const CHANGE: u8 = 0;
const TAKEN: u8 = 1;

impl OwnStore {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut log = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        log.try_lock().context("another process has the file")?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let (index, mut rest) = (MemoryServerStore::new(), bytes.as_slice());
        while let Some((entry, after)) = next(rest) {
            match entry.split_first() {
                Some((&CHANGE, change)) => {
                    // One that was refused then is refused now.
                    drop(block_on(index.commit(decode(change).context("the file is damaged")?)));
                }
                Some((&TAKEN, challenge)) => drop(block_on(index.take_challenge(challenge.try_into()?))),
                Some(_) | None => bail!("the file is damaged"),
            }
            rest = after;
        }
        // Only the last one can have been cut off.
        let length = rest.first_chunk().map_or(0, |length| u64::from(u32::from_be_bytes(*length)));
        ensure!(u64::try_from(rest.len())? <= length.saturating_add(36), "the file is damaged");
        let whole = u64::try_from(bytes.len().saturating_sub(rest.len()))?;
        log.set_len(whole)?;
        log.seek(SeekFrom::Start(whole))?;
        Ok(Self { log: Mutex::new(Some(log)), index })
    }

    /// Writes an entry, and lets the index do what it says, in the same order. It blocks for as long as the disk takes,
    /// which in a server is for a thread of its own.
    fn append<T>(&self, kind: u8, entry: &[u8], apply: impl FnOnce() -> T) -> Result<T, StoreError> {
        let failed = |error| StoreError(Box::new(error));
        let mut held = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = held.take().ok_or_else(|| failed(Error::other("an earlier change was not written")))?;
        let entry = [&[kind], entry].concat();
        let length = u32::try_from(entry.len()).map_err(|error| failed(Error::other(error)))?.to_be_bytes();
        let written = log.write_all(&[&length[..], &sha256(&entry), &entry].concat());
        written.and_then(|()| log.sync_data()).map_err(failed)?;
        *held = Some(log);
        Ok(apply())
    }
}

/// The first entry and what follows it; `None` at the end, and where a write was cut off.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<32>()?;
    let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (sha256(entry) == *checksum).then_some((entry, rest))
}

impl ServerStore for OwnStore {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        self.index.load(query)
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        let taken = self.append(TAKEN, &challenge, || self.index.take_challenge(challenge));
        taken.unwrap_or_else(|error| ready(Err(error)))
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        let org_id = change.agent.as_ref().map(|put| put.record.org_id);
        let found = org_id.and_then(|id| block_on(self.index.load(Query::Organization(id))).ok().flatten());
        let root = found.map(|found| found.organization.record.manifest.manifest().root);
        let done = self.append(CHANGE, &encode(&change, root), || self.index.commit(change));
        done.unwrap_or_else(|error| ready(Err(error.into())))
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        self.index.due(now, limit)
    }
}

#[allow(clippy::expect_used, reason = "the suite stops at whatever fails")]
fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (made, path) = (Cell::new(0), |number| directory.path().join(format!("{number}.log")));
    block_on(store_conformance(&|| {
        made.set(made.get() + 1);
        ready(Arc::new(OwnStore::open(&path(made.get())).expect("a new file")))
    }));
    println!("{} stores do what every store must", made.get());

    // An agent comes online; then the power fails in the middle of a write, and the server comes back.
    let path = directory.path().join("fleet.log");
    let world = block_on(World::with_store(1, Arc::new(OwnStore::open(&path)?)));
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    let token = block_on(agent.enroll(&world, "site-1", &code))?.session.token.hash();
    let query = Query::AgentBySession(token);
    let before = block_on(world.server.store.load(query.clone()))?.context("it is online")?;
    drop((agent, world));
    OpenOptions::new().append(true).open(&path)?.write_all(b"\0\0\x10\0cut off")?;
    let after = block_on(OwnStore::open(&path)?.load(query))?.context("it still is")?;
    ensure!(after == before, "what was stored is there, as it was");
    println!("agent {} is still online", after.agent.context("its session")?.record.id);
    Ok(())
}
