//! Putting a copy in a database's place.

use fleet_core::store::{Actor, Changeset, Put, Query, ServerStore as _};
use fleet_store::{BeginRestoreError, DatabaseUrl, LogEntry, LogKind, OpenError, Restored, Restoring, Store};
use sea_orm::ConnectionTrait as _;

use super::database::count;
use crate::support::Databases;
use crate::support::bench::Bench;
use crate::support::fixture::{Fixture, mac};

/// What was known of the past is known; who was signed in is not.
pub async fn a_restored_database_lets_nobody_go_on(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    let device = f.owned(&peer, 1, &mac(1)).await;
    let user = f.user("alice").await;
    let key = f.user_api_key(&user);
    f.store.create_user_api_key(key.clone()).await.unwrap();
    let session = fleet_store::UserSessionRecord { token: key.hash, ..f.user_session(&user) };
    f.store.create_user_session(session, &user.password_hash).await.unwrap();
    f.commit(Changeset { challenge: Some(f.challenge(&peer)), ..Changeset::default() }).await.unwrap();
    let held = f.store.load(Query::Organization(f.org)).await.unwrap().unwrap().organization;
    let stale = Put { record: held.record, expected: Some(held.version.next()) };
    let line = LogEntry {
        at: f.now,
        org_id: f.org,
        actor: Actor::System,
        kind: LogKind::Restored,
        detail: Some("from then".to_owned()),
    };
    // Refused as a whole.
    let changes = vec![Changeset { organization: Some(stale), ..Changeset::default() }];
    let refused = f.store.restored(Restored { changes, lines: vec![line.clone()] }).await;
    assert!(matches!(refused, Err(fleet_core::store::CommitError::Stale)), "{refused:?}");
    assert!(f.store.user_by_session(&key.hash, f.now).await.unwrap().is_some());

    f.store.restored(Restored { changes: Vec::new(), lines: vec![line] }).await.unwrap();
    let raw = f.empty.raw().await;
    for table in ["agent_session", "agent_auth_challenge", "user_session"] {
        assert_eq!(count(&raw, table).await, 0, "{table}");
    }
    raw.close().await.unwrap();
    assert!(f.store.load(Query::AgentBySession(peer.session.token)).await.unwrap().is_none());
    assert!(f.store.load(Query::AgentByApiKey(peer.api_key.hash)).await.unwrap().is_some());
    assert_eq!(f.store.device(f.org, device).await.unwrap().unwrap().device.id, device);
    let log = f.store.activity(f.org, None, 1).await.unwrap();
    assert_eq!((log[0].kind.as_str(), log[0].detail.as_deref()), ("restored", Some("from then")));
}

/// Opening it for a look, and beside a server, changes nothing.
pub async fn a_database_is_looked_into_as_it_is(on: &Databases) {
    let missing = on.empty().await;
    if let Some(file) = &missing.file {
        let refused = Store::open_existing(&DatabaseUrl::parse(&missing.url).unwrap()).await.unwrap_err();
        assert!(matches!(&refused, OpenError::Missing { path } if path == file), "{refused:?}");
        assert!(!file.exists());
    } else {
        let refused = Store::open_existing(&DatabaseUrl::parse(&missing.url).unwrap()).await;
        assert!(matches!(refused, Err(OpenError::NoInstallation { .. })), "{refused:?}");
        let raw = missing.raw().await;
        assert_eq!(count(&raw, "pg_tables WHERE schemaname = 'public'").await, 0);
        raw.close().await.unwrap();
    }
    let f = Fixture::new(on).await;
    let bench = Bench::new(&f.store, &f.empty).await;
    let before = bench.dump().await;
    let store = Store::open_existing(&DatabaseUrl::parse(&f.empty.url).unwrap()).await.unwrap();
    store.require_current_schema().await.unwrap();
    let contents = store.contents().await.unwrap();
    let held = f.store.load(Query::Organization(f.org)).await.unwrap().unwrap().organization.record;
    let manifest = held.manifest.manifest();
    let found = &contents.organizations[0];
    assert_eq!((found.id, found.epoch), (f.org, manifest.epoch));
    assert_eq!(
        (&found.root[..], &found.command[..]),
        (&manifest.root.as_bytes()[..], &manifest.command.as_bytes()[..])
    );
    assert!(Store::knows_schema(&contents.schema) && !Store::knows_schema("m9999_later"));
    assert_eq!(store.export_snapshot().await.unwrap().is_some(), !on.is_sqlite());
    store.close().await;
    // One of a newer version is refused, one of an older is told.
    let raw = f.empty.raw().await;
    let newest = format!("WHERE version = '{}'", contents.schema);
    let later = format!("UPDATE seaql_migrations SET version = 'm9999_later' {newest}");
    raw.execute_unprepared(&later).await.unwrap();
    let url = DatabaseUrl::parse(&f.empty.url).unwrap();
    let newer = Store::open_existing(&url).await.unwrap_err();
    assert!(matches!(newer, OpenError::NewerSchema { .. }), "{newer:?}");
    raw.execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
    let store = Store::open_existing(&url).await.unwrap();
    assert!(matches!(store.require_current_schema().await, Err(OpenError::OlderSchema)));
    store.close().await;
    raw.close().await.unwrap();
    let ours = |dump: Vec<(String, String)>| -> Vec<_> {
        dump.into_iter().filter(|(table, _)| table != "seaql_migrations").collect()
    };
    assert_eq!(ours(bench.dump().await), ours(before));
    bench.close().await;
}

pub async fn only_an_empty_postgresql_database_is_restored_into_and_it_is_not_served_before(on: &Databases) {
    let empty = on.empty().await;
    let url = DatabaseUrl::parse(&empty.url).unwrap();
    if on.is_sqlite() {
        assert!(matches!(Restoring::begin(&url).await, Err(BeginRestoreError::NotPostgres)));
        return;
    }
    let restoring = Restoring::begin(&url).await.unwrap();
    for opened in [Store::open_url(&url).await, Store::open_existing(&url).await] {
        assert!(matches!(opened, Err(OpenError::Unfinished)), "{opened:?}");
    }
    let taken = Restoring::begin(&url).await;
    assert!(
        matches!(&taken, Err(BeginRestoreError::NotEmpty { found }) if found == &["public.restore_unfinished"])
    );
    let raw = empty.raw().await;
    raw.execute_unprepared("CREATE TABLE other (a INT PRIMARY KEY)").await.unwrap();
    raw.execute_unprepared("CREATE TABLE another (a INT REFERENCES other)").await.unwrap();
    assert!(restoring.abandon().await.unwrap());
    assert_eq!(count(&raw, "pg_tables WHERE schemaname = 'public'").await, 0, "as it was");
    raw.close().await.unwrap();

    let restoring = Restoring::begin(&url).await.unwrap();
    let store = Store::open_restoring(&url).await.unwrap();
    store.restored(Restored::default()).await.unwrap();
    store.close().await;
    // From then on another server may be there.
    let server = Store::open_url(&url).await.unwrap();
    assert!(!restoring.abandon().await.unwrap());
    assert!(server.contents().await.unwrap().organizations.is_empty());
    server.close().await;
}
