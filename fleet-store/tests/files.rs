//! Opening databases: the file's mode, refused URLs, and what errors do not show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::error::Error;

use fleet_store::{DatabaseUrl, DatabaseUrlError, OpenError, Store};

/// An error and all its causes, in both forms.
fn everything(error: &dyn Error) -> String {
    let mut text = format!("{error:?} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error:?} {error}"));
        cause = error.source();
    }
    text
}

#[cfg(unix)]
#[tokio::test]
async fn database_files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleet.db");
    let mode = |end: &str| {
        let path = directory.path().join(format!("fleet.db{end}"));
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777
    };
    let url = format!("sqlite://{}", file.display());
    let store = Store::open(&url).await.unwrap();
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(end), 0o600, "fleet.db{end}");
    }
    store.close().await;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&url).await.unwrap();
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(end), 0o600, "fleet.db{end}, which was looser");
    }
    store.close().await;
}

#[tokio::test]
async fn a_store_in_memory_works_and_is_its_own() {
    let (one, two) = (Store::open("sqlite::memory:").await.unwrap(), Store::open("sqlite::memory:").await);
    assert!(one.organization().await.unwrap().is_none());
    assert!(two.unwrap().organization().await.unwrap().is_none());
}

#[tokio::test]
async fn sqlite_is_opened_for_durability() {
    use sea_orm::{ConnectionTrait, Database, Statement};
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("fleet.db").display());
    let store = Store::open(&url).await.unwrap();
    let raw = Database::connect(&url).await.unwrap();
    let mode = Statement::from_string(raw.get_database_backend(), "PRAGMA journal_mode");
    let row = raw.query_one_raw(mode).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "journal_mode").unwrap(), "wal");
    raw.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn no_error_shows_a_password() {
    // A server that hangs up on everybody.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for url in [
        &format!("postgres://fleet:hunter2@{server}/fleet"),
        &format!("postgresql://fleet:hunter2@{server}/fleet?sslmode=disable"),
        "postgres://fleet:hunter2@127.0.0.1:notaport/fleet",
        "postgres://fleet:hunter2%zz@127.0.0.1:1/fleet",
        "postgres://127.0.0.1:1/fleet?user=fleet&password=hunter2",
        "postgres://fleet:x/hunter2@127.0.0.1/fleet",
        "postgres:fleet:hunter2@127.0.0.1/fleet",
        "mysql://fleet:hunter2@127.0.0.1/fleet",
        "hunter2",
        "fleet:hunter2@127.0.0.1/fleet",
        "sqlite://",
        "sqlite:///tmp/x?key=hunter2",
    ] {
        let error = Store::open(url).await.expect_err(url);
        let shown = everything(&error);
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_named() {
    let error = Store::open("mysql://fleet:hunter2@127.0.0.1/fleet").await.unwrap_err();
    assert_eq!(error.to_string(), "database URL scheme mysql is not supported: use sqlite or postgres");
    assert!(matches!(error, OpenError::Url(DatabaseUrlError::Scheme { .. })));
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::sqlite_file(directory.path().join("missing").join("fleet.db"));
    let error = Store::open_url(&url).await.unwrap_err();
    assert!(matches!(&error, OpenError::File { path, .. } if path.ends_with("fleet.db")), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleet.db");
    std::fs::write(&file, "not a database, but long enough to be taken for one".repeat(100)).unwrap();
    assert!(Store::open_url(&DatabaseUrl::sqlite_file(&file)).await.is_err());
}

/// Every future of the store can be spawned.
#[test]
fn futures_can_be_sent_between_threads() {
    use fleet_core::code::SecretHash;
    use fleet_core::id::{AgentId, DeviceId, OrgId, UserId};
    use fleet_core::store::{Actor, Changeset};
    use fleet_core::time::UnixMillis;
    use fleet_store::{AgentFilter, DeviceFilter, Guard, LogEntry, Selection, Upload, UploadKind};

    fn spawnable<T: Send + 'static>(_: T) {}
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Store>();
    // Never run: that it compiles is the test.
    #[allow(clippy::too_many_arguments)]
    fn all(
        store: &'static Store,
        org: OrgId,
        agent: AgentId,
        device: DeviceId,
        user: UserId,
        hash: &'static SecretHash,
        now: UnixMillis,
        guard: &'static Guard,
        upload: Upload,
        change: Changeset,
        entry: LogEntry,
        user_record: fleet_store::UserRecord,
        session: fleet_store::UserSessionRecord,
        key: fleet_store::UserApiKeyRecord,
        steps: fleet_store::Steps,
    ) {
        spawnable(Store::open("sqlite::memory:"));
        spawnable(store.close());
        spawnable(store.backup_to(std::path::Path::new("copy.db")));
        spawnable(store.organization());
        spawnable(store.organizations());
        spawnable(store.has_several_organizations());
        spawnable(store.set_up(change.clone(), user_record.clone()));
        let account = fleet_store::Account::New(user_record);
        spawnable(store.create_organization(change, account.clone(), Actor::System));
        spawnable(store.add_member(org, account, Actor::System, now));
        spawnable(store.remove_member(org, user, Actor::System, now));
        spawnable(store.members(org));
        spawnable(store.memberships(user));
        spawnable(store.change_password(user, "a", "b", hash, now));
        spawnable(store.set_password(user, "b", Actor::System, now));
        spawnable(store.select_organization(hash, *hash, org, now));
        spawnable(store.log_of_user(user, Actor::System, fleet_store::LogKind::Login, None, now));
        spawnable(store.user(user));
        spawnable(store.user_by_name("a"));
        spawnable(store.create_user_session(session, "a"));
        spawnable(store.user_by_session(hash, now));
        spawnable(store.end_user_session(hash));
        spawnable(store.create_user_api_key(key));
        spawnable(store.user_api_keys(org));
        spawnable(store.revoke_user_api_key(org, "a"));
        spawnable(store.user_by_api_key(hash, now));
        spawnable(store.agents(org, AgentFilter::default(), None, 1));
        spawnable(store.agent(org, agent));
        spawnable(store.local_agent(org));
        spawnable(store.enrollments(org, None, 1, true));
        spawnable(store.heartbeat(guard, now, "1"));
        spawnable(store.store_telemetry(guard, upload, Vec::new()));
        spawnable(store.store_events(guard, upload, Vec::new()));
        spawnable(store.reject_upload(guard, UploadKind::Event, 1));
        spawnable(store.durable_sequence(agent, UploadKind::Event));
        spawnable(store.devices(org, DeviceFilter::default(), None, 1));
        spawnable(store.device(org, device));
        spawnable(store.pair(org, agent, Selection::All, Actor::System, now));
        spawnable(store.unpair(org, Vec::new(), Actor::System, now));
        spawnable(store.latest(org, device));
        spawnable(store.history(org, device, now, now, 1));
        spawnable(store.status_changes(org, None, None, 1));
        spawnable(store.prune_telemetry(now, 1));
        spawnable(store.prune_roll_ups(now, 1));
        spawnable(store.prune_events(now, 1));
        spawnable(store.device_history(org, device, steps));
        spawnable(store.fleet_history(org, None, steps));
        spawnable(store.expire(now));
        spawnable(store.activity(org, None, 1));
        spawnable(store.log(entry));
    }
    let _ = all;
}
