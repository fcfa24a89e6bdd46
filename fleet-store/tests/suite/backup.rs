//! Copies of a database in use.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_core::store::{AgentKind, Put, ServerStore as _};
use fleet_store::{BackupError, Store};
use sea_orm::{ConnectionTrait as _, Statement};

use super::database::count;
use crate::support::bench::Bench;
use crate::support::fixture::{Fixture, mac, sample};
use crate::support::{Databases, Empty};

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn at(file: &Path) -> Empty {
    Empty { url: format!("sqlite://{}", file.display()), file: Some(file.to_owned()) }
}

pub async fn a_backup_is_the_database(on: &Databases) {
    let f = Fixture::new(on).await;
    let directory = tempfile::tempdir().unwrap();
    // SQL must not see the quote.
    let file = directory.path().join("it's a copy.db");
    if !on.is_sqlite() {
        assert!(matches!(f.store.backup_to(&file).await, Err(BackupError::NotSqlite)));
        assert!(names(directory.path()).is_empty());
        return;
    }
    let (peer, rig) = (f.peer("a").await, mac(1));
    f.owned(&peer, 1, &rig).await;
    f.store.store_telemetry(&peer.guard(), f.upload(1), vec![sample(&rig, f.now)]).await.unwrap();
    f.user("alice").await;
    f.store.backup_to(&file).await.unwrap();
    assert_eq!(names(directory.path()), ["it's a copy.db"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let original = Bench::new(&f.store, &f.empty).await;
    let copied = at(&file);
    let store = Store::open(&copied.url).await.unwrap();
    let copy = Bench::new(&store, &copied).await;
    assert_eq!(copy.dump().await, original.dump().await);
    // It works, and is its own.
    store.heartbeat(&peer.guard(), f.now, "copy").await.unwrap();
    assert_ne!(copy.dump().await, original.dump().await);
    copy.close().await;
    original.close().await;
}

/// Somebody writes all the while: each change is in the copy whole or not at all.
pub async fn a_backup_is_of_one_moment(on: &Databases) {
    if !on.is_sqlite() {
        return;
    }
    let f = Arc::new(Fixture::new(on).await);
    f.peer("first").await;
    let stop = Arc::new(AtomicBool::new(false));
    let (writing, stopped) = (f.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let mut n = 0;
        while !stopped.load(Ordering::Relaxed) {
            writing.peer(&format!("a{n}")).await;
            n += 1;
        }
        n
    });
    let directory = tempfile::tempdir().unwrap();
    for number in 0..4 {
        let file = directory.path().join(format!("{number}.db"));
        f.store.backup_to(&file).await.unwrap();
        let raw = at(&file).raw().await;
        let agents = count(&raw, "agent").await;
        assert!(agents > 0);
        for (table, of_each) in [("agent_key", 3), ("api_key", 1), ("agent_session", 1)] {
            assert_eq!(count(&raw, table).await, agents * of_each, "{table} of backup {number}");
        }
        let check = Statement::from_string(raw.get_database_backend(), "PRAGMA integrity_check");
        let row = raw.query_one_raw(check).await.unwrap().unwrap();
        assert_eq!(row.try_get::<String>("", "integrity_check").unwrap(), "ok");
        raw.close().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
}

pub async fn a_backup_overwrites_nothing(on: &Databases) {
    if !on.is_sqlite() {
        return;
    }
    let f = Fixture::new(on).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("copy.db");
    std::fs::write(&file, "").unwrap();
    let refused = f.store.backup_to(&file).await;
    assert!(matches!(&refused, Err(BackupError::Exists { path }) if *path == file), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"", "not even an empty file");
    std::fs::remove_file(&file).unwrap();
    // Two at once: one copy, and nobody's leftovers.
    let (one, two) = tokio::join!(f.store.backup_to(&file), f.store.backup_to(&file));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(names(directory.path()), ["copy.db"]);
    let missing = directory.path().join("missing").join("copy.db");
    assert!(matches!(f.store.backup_to(&missing).await, Err(BackupError::File { .. })));
    // A change goes on as if nothing had been.
    let put = Put { record: f.agent_record("a", AgentKind::Remote), expected: None };
    let change = fleet_core::store::Changeset { agent: Some(put), ..Default::default() };
    f.store.commit(change).await.unwrap();
    // One in memory is copied as well.
    let memory = Store::open("sqlite::memory:").await.unwrap();
    let file = directory.path().join("memory.db");
    memory.backup_to(&file).await.unwrap();
    assert!(Store::open(&at(&file).url).await.unwrap().organization().await.unwrap().is_none());
}
