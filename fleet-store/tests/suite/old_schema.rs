//! Databases that an older version made.

use fleet_core::code::SecretHash;
use fleet_core::id::OrgId;
use fleet_core::store::{Actor, Query, ServerStore as _};
use fleet_store::{DeviceFilter, Store, UserApiKeyRecord, UserRecord, UserSessionRecord};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

use crate::support::fixture::{Fixture, founding_of, mac, sample};
use crate::support::{Databases, Empty};

/// The tables of m0001, each after those that it refers to.
const TABLES: [&str; 18] = [
    "organization",
    "manifest",
    "agent",
    "agent_key",
    "pending_enrollment",
    "app_user",
    "user_session",
    "api_key",
    "agent_auth_challenge",
    "agent_session",
    "device",
    "agent_device",
    "agent_sighting",
    "upload_position",
    "telemetry",
    "telemetry_latest",
    "event",
    "activity",
];

/// Copies every row into a database as m0001 made it: what that has columns for.
async fn as_of_m0001(from: &Empty, on: &Databases) -> Empty {
    let to = on.empty().await;
    Store::make_old(&to.url, 1).await.unwrap();
    let mut options = ConnectOptions::new(&to.url);
    // What is attached is attached to one connection.
    options.max_connections(1);
    let old = Database::connect(options).await.unwrap();
    if let Some(file) = &from.file {
        run(&old, &format!("ATTACH DATABASE '{}' AS newer", file.display())).await;
        for table in TABLES {
            let columns = texts(&old, &format!("SELECT name AS t FROM pragma_table_info('{table}')")).await;
            let columns = columns.join(", ");
            run(&old, &format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")).await;
        }
    } else {
        let newer = from.raw().await;
        for table in TABLES {
            for row in texts(&newer, &format!("SELECT to_jsonb(r)::text AS t FROM {table} r")).await {
                let insert = format!(
                    "INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, $1::jsonb)"
                );
                let values = [row.into()];
                let backend = old.get_database_backend();
                old.execute_raw(Statement::from_sql_and_values(backend, insert, values)).await.unwrap();
            }
        }
        for table in ["device", "telemetry", "event", "activity"] {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT COALESCE(MAX(id), 1) FROM {table}))"
            );
            run(&old, &next).await;
        }
        newer.close().await.unwrap();
    }
    old.close().await.unwrap();
    to
}

async fn run(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn texts(db: &DatabaseConnection, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get("", "t").unwrap()).collect()
}

pub async fn a_database_of_one_organization_is_found_again(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let (peer, rig) = (f.peer("site").await, mac(1));
    let device = f.owned(&peer, 1, &rig).await;
    f.store.store_telemetry(&peer.guard(), f.upload(2), vec![sample(&rig, f.now)]).await.unwrap();
    let (session, key) = (f.user_session(&alice), f.user_api_key(&bob));
    f.store.create_user_session(session.clone(), &alice.password_hash).await.unwrap();
    f.store.create_user_api_key(key.clone()).await.unwrap();
    let before = f.store.devices(f.org, DeviceFilter::default(), None, 10).await.unwrap();
    let log = f.store.activity(f.org, None, 100).await.unwrap();
    let old = as_of_m0001(&f.empty, on).await;
    f.store.close().await;

    let store = Store::open(&old.url).await.unwrap();
    let names = async |users: Vec<UserRecord>| users.into_iter().map(|user| user.name).collect::<Vec<_>>();
    assert_eq!(store.organization().await.unwrap().unwrap().record.id, f.org);
    assert_eq!(names(store.members(f.org).await.unwrap()).await.len(), 2);
    assert_eq!(store.memberships(alice.id).await.unwrap()[0].org_id, f.org);
    let found = store.user_by_session(&session.token, f.now).await.unwrap();
    assert_eq!(found, Some((session.clone(), alice.clone())), "logins go on");
    let found = store.user_by_api_key(&key.hash, f.now).await.unwrap().map(|(key, user)| (key, user.name));
    let used = UserApiKeyRecord { last_used_at: Some(f.now), ..key.clone() };
    assert_eq!(found, Some((used, "bob".to_owned())), "scripts go on");
    assert_eq!(store.user_api_keys(f.org).await.unwrap().len(), 1);
    assert_eq!(store.devices(f.org, DeviceFilter::default(), None, 10).await.unwrap(), before);
    assert_eq!(store.device(f.org, device).await.unwrap().as_ref(), before.first());
    assert_eq!(store.activity(f.org, None, 100).await.unwrap(), log);
    let agent = store.load(Query::AgentBySession(peer.session.token)).await.unwrap().unwrap();
    assert_eq!(agent.agent.unwrap().record, peer.record);
    store.store_telemetry(&peer.guard(), f.upload(3), vec![sample(&rig, f.later(1))]).await.unwrap();

    // And it is as any other from now on: its name is taken, and there may be a second.
    let create = async |id, name: &str| {
        let change = founding_of(&store, id, name).await;
        store.create_organization(change, fleet_store::Account::Existing(alice.id), Actor::System).await
    };
    assert!(create(900, "ACME").await.is_err());
    create(900, "Second").await.unwrap();
    assert_eq!(store.organization().await.unwrap().unwrap().record.id, f.org);
    let second = OrgId::new(900).unwrap();
    let next = SecretHash::from_bytes([8; 32]);
    let moved = store.select_organization(&session.token, next, second, f.now).await.unwrap();
    assert_eq!(moved, UserSessionRecord { token: next, org_id: second, ..session });
    assert!(store.remove_member(f.org, bob.id, Actor::System, f.now).await.unwrap());
    assert_eq!(store.user_by_api_key(&key.hash, f.now).await.unwrap(), None);
    store.close().await;
}
