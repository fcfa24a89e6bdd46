//! Set-up, operators, their sessions and api_keys, and the activity log.

use fleet_core::code::SecretHash;
use fleet_core::id::{EnrollmentId, OrgId, UserId};
use fleet_core::store::{Activity, ActivityKind, Actor, Changeset};
use fleet_store::{
    Account, AddMemberError, CreateApiKeyError, CreateSessionError, LogEntry, LogKind, MAX_USER_API_KEYS,
    SetUpError, UserApiKeyRecord, UserRecord, UserSessionRecord,
};

use crate::support::Databases;
use crate::support::fixture::{Fixture, at, founding};

fn first_user() -> UserRecord {
    UserRecord {
        id: UserId::new(1).unwrap(),
        name: "Admin".to_owned(),
        password_hash: "$argon2id$secret".to_owned(),
        created_at: at(1),
    }
}

pub async fn an_installation_is_set_up_once(on: &Databases) {
    let store = on.store().await;
    assert!(store.organization().await.unwrap().is_none());
    let change = founding(&store).await;
    let founded = change.organization.clone().unwrap().record;
    store.set_up(change.clone(), first_user()).await.unwrap();
    let held = store.organization().await.unwrap().unwrap();
    assert_eq!(held.record, founded);
    let admin = store.user_by_name("admin").await.unwrap().unwrap();
    assert_eq!(admin, UserRecord { name: "admin".to_owned(), ..first_user() });
    let again = store.set_up(change, first_user()).await;
    assert!(matches!(again, Err(SetUpError::AlreadySetUp)), "{again:?}");
    let log = store.activity(founded.id, None, 10).await.unwrap();
    assert_eq!(log.len(), 1, "the founding line, once");
}

pub async fn a_set_up_is_whole_or_nothing(on: &Databases) {
    let store = on.store().await;
    let change = founding(&store).await;
    let org_id = change.organization.as_ref().unwrap().record.id;
    // The last that is written of the change does not fit the rest.
    let mut astray = change.clone();
    astray.activity[0].org_id = OrgId::new(999).unwrap();
    assert!(matches!(store.set_up(astray, first_user()).await, Err(SetUpError::Store(_))));
    assert!(store.organization().await.unwrap().is_none(), "the organization was stored");
    assert!(store.user_by_name("admin").await.unwrap().is_none());
    store.set_up(change, first_user()).await.unwrap();
    assert_eq!(store.memberships(first_user().id).await.unwrap()[0].org_id, org_id);
}

pub async fn one_of_many_set_ups_wins(on: &Databases) {
    let store = on.store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (store, change) = (store.clone(), founding(&store).await);
        tasks.spawn(async move { store.set_up(change, first_user()).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(SetUpError::AlreadySetUp))), "{results:?}");
}

pub async fn a_login_name_is_unique_in_any_case(on: &Databases) {
    let f = Fixture::new(on).await;
    let alice = f.user("Alice").await;
    let again = Account::New(f.user_record("ALICE"));
    let taken = f.store.add_member(f.org, again, Actor::System, f.now).await;
    assert!(matches!(taken, Err(AddMemberError::NameTaken)), "{taken:?}");
    let held = f.store.user_by_name("aLiCe").await.unwrap().unwrap();
    assert_eq!((held.id, held.name.as_str()), (alice.id, "alice"));
    assert_eq!(held.password_hash, alice.password_hash);
    assert_eq!(f.store.user(alice.id).await.unwrap(), Some(held));
    assert_eq!(f.store.user_by_name("bob").await.unwrap(), None);
    assert_eq!(f.store.user_by_name("a\0").await.unwrap(), None);
    assert_eq!(f.store.user(UserId::new(1).unwrap()).await.unwrap(), None);
    assert!(!format!("{alice:?}").contains("argon2"), "{alice:?}");
}

pub async fn a_user_session_ends_by_time_or_word(on: &Databases) {
    let f = Fixture::new(on).await;
    let user = f.user("alice").await;
    let session = f.user_session(&user);
    let create =
        async |session: UserSessionRecord| f.store.create_user_session(session, &user.password_hash).await;
    create(session.clone()).await.unwrap();
    let found = f.store.user_by_session(&session.token, f.later(59)).await.unwrap();
    assert_eq!(found, Some((session.clone(), user.clone())));
    assert_eq!(f.store.user_by_session(&session.token, f.later(60)).await.unwrap(), None, "expired");
    let unknown = SecretHash::from_bytes([1; 32]);
    assert_eq!(f.store.user_by_session(&unknown, f.now).await.unwrap(), None);
    assert!(
        matches!(create(session.clone()).await, Err(CreateSessionError::Store(_))),
        "a token is used once"
    );
    let nobody = UserId::new(1).unwrap();
    let orphan = UserSessionRecord { token: unknown, user_id: nobody, ..session.clone() };
    assert!(matches!(create(orphan).await, Err(CreateSessionError::Outdated)), "a session is somebody's");
    assert!(f.store.end_user_session(&session.token).await.unwrap());
    assert!(!f.store.end_user_session(&session.token).await.unwrap());
    assert_eq!(f.store.user_by_session(&session.token, f.now).await.unwrap(), None, "ended");
}

pub async fn a_user_api_key_works_until_it_ends(on: &Databases) {
    let f = Fixture::new(on).await;
    let (user, peer) = (f.user("alice").await, f.peer("a").await);
    let forever = f.user_api_key(&user);
    let short = UserApiKeyRecord { expires_at: Some(f.later(60)), ..f.user_api_key(&user) };
    for key in [&forever, &short] {
        f.store.create_user_api_key(key.clone()).await.unwrap();
    }
    let (found, owner) = f.store.user_by_api_key(&forever.hash, f.now).await.unwrap().unwrap();
    assert_eq!(found, UserApiKeyRecord { last_used_at: Some(f.now), ..forever.clone() });
    assert_eq!(owner, user);
    let last_used = async |seconds| {
        let found = f.store.user_by_api_key(&forever.hash, f.later(seconds)).await.unwrap();
        found.unwrap().0.last_used_at
    };
    assert_eq!(last_used(30).await, Some(f.now), "to the minute");
    assert_eq!(last_used(90).await, Some(f.later(90)));
    assert!(f.store.user_by_api_key(&short.hash, f.later(59)).await.unwrap().is_some());
    assert_eq!(f.store.user_by_api_key(&short.hash, f.later(60)).await.unwrap(), None, "expired");
    assert_eq!(f.store.user_by_api_key(&peer.api_key.hash, f.now).await.unwrap(), None, "an agent's");
    let mut listed: Vec<_> =
        f.store.user_api_keys(f.org).await.unwrap().into_iter().map(|key| key.digits).collect();
    let mut expected = vec![forever.digits.clone(), short.digits.clone()];
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected, "users' keys only");
    let elsewhere = OrgId::new(999).unwrap();
    assert_eq!(f.store.user_api_keys(elsewhere).await.unwrap(), vec![]);
    assert!(!f.store.revoke_user_api_key(elsewhere, &forever.digits).await.unwrap());
    assert!(!f.store.revoke_user_api_key(f.org, &peer.api_key.digits).await.unwrap(), "an agent's");
    assert!(!f.store.revoke_user_api_key(f.org, "\0").await.unwrap());
    assert!(f.store.revoke_user_api_key(f.org, &forever.digits).await.unwrap());
    assert!(!f.store.revoke_user_api_key(f.org, &forever.digits).await.unwrap());
    assert_eq!(f.store.user_by_api_key(&forever.hash, f.now).await.unwrap(), None, "revoked");
}

pub async fn user_api_keys_are_bounded_and_their_digits_unique(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let first = f.user_api_key(&alice);
    f.store.create_user_api_key(first.clone()).await.unwrap();
    let same = UserApiKeyRecord { digits: first.digits.clone(), ..f.user_api_key(&bob) };
    let taken = f.store.create_user_api_key(same).await;
    assert!(matches!(taken, Err(CreateApiKeyError::DigitsTaken)), "{taken:?}");
    let nobody = UserApiKeyRecord { user_id: UserId::new(1).unwrap(), ..f.user_api_key(&bob) };
    let refused = f.store.create_user_api_key(nobody).await;
    assert!(matches!(refused, Err(CreateApiKeyError::NotMember)), "{refused:?}");
    for _ in 1..MAX_USER_API_KEYS - 1 {
        f.store.create_user_api_key(f.user_api_key(&alice)).await.unwrap();
    }
    // One place is left, and many want it.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (store, key) = (f.store.clone(), f.user_api_key(&alice));
        tasks.spawn(async move { store.create_user_api_key(key).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let full =
        |result: &Result<(), _>| matches!(result, Ok(()) | Err(CreateApiKeyError::TooMany { limit: 100 }));
    assert!(results.iter().all(full), "{results:?}");
    f.store.create_user_api_key(f.user_api_key(&bob)).await.unwrap();
}

pub async fn the_activity_log_is_read_newest_first(on: &Databases) {
    let f = Fixture::new(on).await;
    let founded = f.store.activity(f.org, None, 10).await.unwrap().len();
    let peer = f.peer("a").await;
    let enrollment_id = EnrollmentId::new(5).unwrap();
    let of_changeset = Activity {
        at: f.later(1),
        org_id: f.org,
        actor: Actor::Key("0123abcd".to_owned()),
        kind: ActivityKind::AgentConfirmed,
        agent_id: Some(peer.id()),
        enrollment_id: Some(enrollment_id),
    };
    f.commit(Changeset { activity: vec![of_changeset], ..Changeset::default() }).await.unwrap();
    let log = async |kind, detail: Option<&str>| {
        let actor = Actor::User(UserId::new(3).unwrap());
        let detail = detail.map(str::to_owned);
        f.store.log(LogEntry { at: f.later(2), org_id: f.org, actor, kind, detail }).await.unwrap();
    };
    log(LogKind::LoginFailed, Some("al\0ice")).await;
    log(LogKind::ApiKeyCreated, None).await;
    let lines = f.store.activity(f.org, None, 10).await.unwrap();
    assert_eq!(lines.len(), founded + 3);
    let words: Vec<_> = lines.iter().take(3).map(|line| (line.kind.as_str(), line.actor.as_str())).collect();
    let expected =
        [("api_key_created", "user:3"), ("login_failed", "user:3"), ("agent_confirmed", "key:0123abcd")];
    assert_eq!(words, expected);
    assert_eq!(lines[1].detail.as_deref(), Some("alice"));
    assert_eq!((lines[2].agent_id, lines[2].enrollment_id), (Some(peer.id()), Some(enrollment_id)));
    assert_eq!((lines[2].at, lines[2].device_id), (f.later(1), None));
    let older = f.store.activity(f.org, Some(lines[1].id), 1).await.unwrap();
    assert_eq!(older, vec![lines[2].clone()], "pages go on below the last line");
    assert_eq!(f.store.activity(OrgId::new(999).unwrap(), None, 10).await.unwrap(), vec![]);
}

pub async fn what_has_expired_is_forgotten(on: &Databases) {
    let f = Fixture::new(on).await;
    let user = f.user("alice").await;
    f.peer("a").await;
    for seconds in [10, 20] {
        let session = UserSessionRecord { expires_at: f.later(seconds), ..f.user_session(&user) };
        f.store.create_user_session(session, &user.password_hash).await.unwrap();
    }
    assert_eq!(f.store.expire(f.later(9)).await.unwrap(), 0);
    assert_eq!(f.store.expire(f.later(10)).await.unwrap(), 1);
    assert_eq!(f.store.expire(f.later(3600)).await.unwrap(), 2, "the other, and the agent's");
    assert_eq!(f.store.expire(at(i64::MAX)).await.unwrap(), 0);
    let raw = f.empty.raw().await;
    assert_eq!(super::database::count(&raw, "agent_session").await, 0);
    assert_eq!(super::database::count(&raw, "api_key").await, 1, "an agent's api_key does not expire");
    raw.close().await.unwrap();
}
