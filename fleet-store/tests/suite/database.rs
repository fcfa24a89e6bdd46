//! The database itself: constraints, files, opening and opening again.

use std::error::Error as _;
use std::sync::Arc;

use fleet_core::store::{AgentKind, Changeset, CommitError, Put, Query, ServerStore};
use fleet_core::testing::World;
use fleet_store::{DecodeError, OpenError, Store};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::support::Databases;
use crate::support::fixture::{Fixture, mac, sample};

pub async fn count(raw: &DatabaseConnection, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {table}");
    let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    row.unwrap().try_get("", "n").unwrap()
}

/// No two transactions of this database ever waited for each other: PostgreSQL would have given up one, which a flow
/// that begins anew does not show. Every other connection must be closed, for then they have reported.
pub async fn assert_no_deadlock(on: &Databases, raw: &DatabaseConnection) {
    if on.is_sqlite() {
        return;
    }
    let sql = "SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()";
    let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    assert_eq!(row.unwrap().try_get::<i64>("", "n").unwrap(), 0, "deadlocks");
}

async fn assert_refused(raw: &DatabaseConnection, sql: &str, by: &str) {
    let refused = raw.execute_unprepared(sql).await.expect_err(sql);
    assert!(refused.to_string().to_lowercase().contains(by), "{sql}: {refused}");
}

/// A number of bytes in the database's own way of writing them.
fn bytes(on: &Databases, byte: u8) -> String {
    let hex = format!("{byte:02x}").repeat(32);
    if on.is_sqlite() { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
}

pub async fn an_api_key_has_exactly_one_subject(on: &Databases) {
    let f = Fixture::new(on).await;
    let (user, agent) = (f.user("alice").await.id, f.peer("a").await.id());
    let raw = f.empty.raw().await;
    let insert = |byte, kind: &str, user: &str, agent: &str| {
        format!(
            "INSERT INTO api_key (hash, digits, subject_kind, user_id, agent_id, label, created_at, updated_at)
             VALUES ({}, '{byte:08x}', '{kind}', {user}, {agent}, 'x', 1, 1)",
            bytes(on, byte)
        )
    };
    let (user, agent) = (user.to_string(), agent.to_string());
    for (kind, of_user, of_agent) in [
        ("user", user.as_str(), agent.as_str()),
        ("agent", &user, &agent),
        ("user", "NULL", &agent),
        ("agent", &user, "NULL"),
        ("user", "NULL", "NULL"),
        ("agent", "NULL", "NULL"),
        ("robot", &user, "NULL"),
    ] {
        assert_refused(&raw, &insert(1, kind, of_user, of_agent), "check").await;
    }
    raw.execute_unprepared(&insert(1, "user", &user, "NULL")).await.unwrap();
    raw.execute_unprepared(&insert(2, "agent", "NULL", &agent)).await.unwrap();
    assert_refused(&raw, &insert(3, "user", "77", "NULL"), "foreign key").await;
    raw.close().await.unwrap();
}

pub async fn an_owner_is_of_the_devices_organization(on: &Databases) {
    let f = Fixture::new(on).await;
    let other = World::with_store(70, Arc::new(f.store.clone())).await.server.operator.org_id;
    let (peer, rig) = (f.peer("a").await, mac(1));
    let device = f.owned(&peer, 1, &rig).await;
    let raw = f.empty.raw().await;
    let (agent, org) = (peer.id(), f.org);
    let insert = |device: &str, agent: &str, org: &str| {
        format!(
            "INSERT INTO agent_device (device_id, agent_id, org_id, created_at, updated_at)
             VALUES ({device}, {agent}, {org}, 1, 1)"
        )
    };
    let (device, agent) = (device.to_string(), agent.to_string());
    assert_refused(&raw, &insert(&device, &agent, &org.to_string()), "unique").await;
    raw.execute_unprepared("DELETE FROM agent_device").await.unwrap();
    assert_refused(&raw, &insert(&device, &agent, &other.to_string()), "foreign key").await;
    assert_refused(&raw, &insert("777", &agent, &org.to_string()), "foreign key").await;
    assert_refused(&raw, &insert(&device, "777", &org.to_string()), "foreign key").await;
    raw.execute_unprepared(&insert(&device, &agent, &org.to_string())).await.unwrap();
    raw.close().await.unwrap();
}

/// Neither as an owner nor as a sighting, whichever organization the row names, and not by a change of
/// a row that was good.
pub async fn an_agent_and_a_device_of_two_organizations_are_no_pair(on: &Databases) {
    let f = Fixture::new(on).await;
    let other = World::with_store(70, Arc::new(f.store.clone())).await.server.operator.org_id;
    let mut foreign = f.agent_record("b", AgentKind::Remote);
    foreign.org_id = other;
    let foreign = f.peer_of(foreign).await.id();
    let own = f.peer("a").await;
    let device = f.owned(&own, 1, &mac(1)).await;
    let raw = f.empty.raw().await;
    for org in [f.org, other] {
        let owner = format!("UPDATE agent_device SET agent_id = {foreign}, org_id = {org}");
        assert_refused(&raw, &owner, "foreign key").await;
        let seen = format!(
            "INSERT INTO agent_sighting
             (agent_id, device_id, org_id, address, last_seen_at, created_at, updated_at)
             VALUES ({foreign}, {device}, {org}, '', 1, 1, 1)"
        );
        assert_refused(&raw, &seen, "foreign key").await;
    }
    raw.execute_unprepared("DELETE FROM agent_device").await.unwrap();
    for org in [f.org, other] {
        let owner = format!(
            "INSERT INTO agent_device (device_id, agent_id, org_id, created_at, updated_at)
             VALUES ({device}, {foreign}, {org}, 1, 1)"
        );
        assert_refused(&raw, &owner, "foreign key").await;
    }
    // Nor does a device or an agent change its organization under a pair.
    f.pair(own.id(), vec![device]).await;
    assert_refused(&raw, &format!("UPDATE device SET org_id = {other}"), "foreign key").await;
    let moved = format!("UPDATE agent SET org_id = {other} WHERE id = {}", own.id());
    assert_refused(&raw, &moved, "foreign key").await;
    raw.close().await.unwrap();
}

pub async fn the_database_holds_the_rest(on: &Databases) {
    let f = Fixture::new(on).await;
    let (a, b) = (f.peer("a").await, f.peer("b").await);
    let raw = f.empty.raw().await;
    let (a_id, b_id) = (a.id(), b.id());
    assert_refused(&raw, &format!("UPDATE agent SET name = 'a' WHERE id = {b_id}"), "unique").await;
    assert_refused(&raw, &format!("UPDATE agent SET kind = 'x' WHERE id = {b_id}"), "check").await;
    let deleted = format!("UPDATE agent SET deleted_at = 1 WHERE id = {b_id}");
    assert_refused(&raw, &deleted, "check").await;
    let stolen = format!("UPDATE agent_session SET agent_id = {a_id} WHERE agent_id = {b_id}");
    assert_refused(&raw, &stolen, "foreign key").await;
    assert_refused(&raw, &format!("DELETE FROM agent WHERE id = {a_id}"), "foreign key").await;
    let key = format!(
        "UPDATE agent_key SET key_bytes =
         (SELECT key_bytes FROM agent_key WHERE agent_id = {a_id} AND role = 'sealing')
         WHERE agent_id = {b_id} AND role = 'identity'"
    );
    assert_refused(&raw, &key, "unique").await;
    // Sessions go with their api_key.
    raw.execute_unprepared(&format!("DELETE FROM api_key WHERE agent_id = {a_id}")).await.unwrap();
    assert!(f.store.load(Query::AgentBySession(a.session.token)).await.unwrap().is_none());
    raw.close().await.unwrap();
}

pub async fn every_table_says_when(on: &Databases) {
    let f = Fixture::new(on).await;
    let raw = f.empty.raw().await;
    let sql = if on.is_sqlite() {
        "SELECT m.name AS t, c.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND c.\"notnull\" = 1"
    } else {
        "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns
         WHERE table_schema = 'public' AND is_nullable = 'NO'"
    };
    let rows = raw.query_all_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    let mut tables = std::collections::BTreeMap::<String, Vec<String>>::new();
    for row in rows {
        let (table, column) = (row.try_get("", "t").unwrap(), row.try_get("", "c").unwrap());
        tables.entry(table).or_default().push(column);
    }
    tables.retain(|table, _| !table.starts_with("sqlite_") && table != "seaql_migrations");
    assert_eq!(tables.len(), 20, "{:?}", tables.keys());
    for (table, columns) in tables {
        for column in ["created_at", "updated_at"] {
            assert!(columns.iter().any(|c| c == column), "{table}.{column} may be null or is missing");
        }
    }
    raw.close().await.unwrap();
}

pub async fn a_closed_store_is_as_it_was_when_opened_again(on: &Databases) {
    let f = Fixture::new(on).await;
    let (peer, rig, user) = (f.peer("a").await, mac(1), f.user("alice").await);
    let device = f.owned(&peer, 1, &rig).await;
    let samples = vec![sample(&rig, f.now)];
    f.store.store_telemetry(&peer.guard(), f.upload(4), samples).await.unwrap();
    let before = f.store.device(f.org, device).await.unwrap();
    let log = f.store.activity(f.org, None, 100).await.unwrap();
    f.store.close().await;
    assert!(f.store.organization().await.is_err(), "it is closed");

    let store = Store::open(&f.empty.url).await.unwrap();
    assert_eq!(store.device(f.org, device).await.unwrap(), before);
    assert_eq!(store.activity(f.org, None, 100).await.unwrap(), log);
    assert_eq!(store.user(user.id).await.unwrap(), Some(user));
    let found = store.load(Query::AgentBySession(peer.session.token)).await.unwrap().unwrap();
    assert_eq!(found.agent.unwrap().record, peer.record);
    let again = store.store_telemetry(&peer.guard(), f.upload(4), vec![]).await.unwrap();
    assert_eq!(again.durable_sequence, 4);
    store.close().await;
}

/// Two servers on one database: both write, and each sees what the other wrote.
pub async fn two_stores_share_a_database(on: &Databases) {
    let f = Fixture::new(on).await;
    let second = Store::open(&f.empty.url).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = if number % 2 == 0 { f.store.clone() } else { second.clone() };
        let record = f.agent_record(&format!("a{number}"), AgentKind::Remote);
        tasks.spawn(async move {
            let put = Put { record, expected: None };
            store.commit(Changeset { agent: Some(put), ..Changeset::default() }).await.unwrap();
        });
    }
    tasks.join_all().await;
    for store in [&f.store, &second] {
        assert_eq!(store.agents(f.org, Default::default(), None, 100).await.unwrap().len(), 40);
    }
    let name = f.agent_record("a3", AgentKind::Remote);
    let put = Put { record: name, expected: None };
    let taken = second.commit(Changeset { agent: Some(put), ..Changeset::default() }).await;
    assert!(matches!(taken, Err(CommitError::NameTaken)), "{taken:?}");
}

pub async fn stores_opened_together_migrate_once(on: &Databases) {
    let empty = on.empty().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = empty.url.clone();
        tasks.spawn(async move { Store::open(&url).await.map(|_| ()) });
    }
    for opened in tasks.join_all().await {
        opened.unwrap();
    }
    let (raw, alone) = (empty.raw().await, on.empty().await);
    Store::open(&alone.url).await.unwrap().close().await;
    let raw_alone = alone.raw().await;
    assert_eq!(count(&raw, "seaql_migrations").await, count(&raw_alone, "seaql_migrations").await);
    raw.close().await.unwrap();
    raw_alone.close().await.unwrap();
}

pub async fn a_newer_schema_is_refused(on: &Databases) {
    let f = Fixture::new(on).await;
    f.store.close().await;
    let raw = f.empty.raw().await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 1)";
    raw.execute_unprepared(newer).await.unwrap();
    let error = Store::open(&f.empty.url).await.unwrap_err();
    assert!(matches!(&error, OpenError::NewerSchema { step } if step == "m9999_later"), "{error:?}");
    raw.execute_unprepared("DELETE FROM seaql_migrations WHERE version = 'm9999_later'").await.unwrap();
    raw.close().await.unwrap();
    Store::open(&f.empty.url).await.expect("as it was");
}

pub async fn a_row_that_cannot_be_read_is_named(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    let raw = f.empty.raw().await;
    let named = async |sql: &str, table: &str, column: &str| {
        raw.execute_unprepared(sql).await.unwrap();
        let error = f.store.load(Query::Agent(peer.id())).await.unwrap_err();
        let cause = error.source().unwrap().downcast_ref::<DecodeError>().expect("a DecodeError");
        assert_eq!((cause.table, cause.column), (table, column), "{sql}");
    };
    named("UPDATE agent SET created_at = -1", "agent", "created_at").await;
    let small = format!("UPDATE agent_session SET identity_key = {}", bytes(on, 0));
    named(&small, "agent_session", "identity_key").await;
    named("UPDATE manifest SET org_name = 'Evil'", "manifest", "signature").await;
    raw.close().await.unwrap();
}

/// What was committed is on the disk at that moment: a copy of the files, taken while the store is
/// open, is what a killed process leaves behind.
pub async fn a_killed_process_loses_nothing(on: &Databases) {
    let f = Fixture::new(on).await;
    let Some(file) = &f.empty.file else { return };
    let (peer, rig) = (f.peer("a").await, mac(1));
    let device = f.owned(&peer, 1, &rig).await;
    let samples = vec![sample(&rig, f.now)];
    f.store.store_telemetry(&peer.guard(), f.upload(4), samples).await.unwrap();
    let left = on.empty().await;
    let copy = left.file.as_ref().unwrap();
    std::fs::copy(file, copy).unwrap();
    std::fs::copy(file.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    let after = Store::open(&left.url).await.unwrap();
    assert_eq!(after.device(f.org, device).await.unwrap(), f.store.device(f.org, device).await.unwrap());
    assert_eq!(after.durable_sequence(peer.id(), fleet_store::UploadKind::Telemetry).await.unwrap(), 4);
}
