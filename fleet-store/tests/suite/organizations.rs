//! Several organizations: who operates them, and what acts for which.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::code::SecretHash;
use fleet_core::id::{OrgId, UserId};
use fleet_core::store::Actor;
use fleet_store::{
    Account, AddMemberError, CreateApiKeyError, CreateOrganizationError, CreateSessionError, LogKind, Store,
    UserApiKeyRecord, UserRecord, UserSessionRecord,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::Databases;
use crate::support::fixture::{Fixture, at, founding, founding_of};

/// How long anything here may take before it counts as a deadlock.
const PATIENCE: Duration = Duration::from_secs(60);
const OTHER: i64 = 5000;

fn user(id: i64, name: &str) -> UserRecord {
    UserRecord {
        id: UserId::new(id).unwrap(),
        name: name.to_owned(),
        password_hash: format!("$argon2id${name}"),
        created_at: at(id),
    }
}

async fn create(store: &Store, id: i64, name: &str, by: Account) -> Result<UserId, CreateOrganizationError> {
    store.create_organization(founding_of(store, id, name).await, by, Actor::System).await
}

async fn names(store: &Store) -> Vec<String> {
    let name = |found: fleet_core::store::Versioned<fleet_core::store::OrganizationRecord>| {
        found.record.manifest.manifest().org_name.as_str().to_owned()
    };
    store.organizations().await.unwrap().into_iter().map(name).collect()
}

async fn kinds(store: &Store, org: i64) -> Vec<(String, Option<String>)> {
    let lines = store.activity(OrgId::new(org).unwrap(), None, 100).await.unwrap();
    lines.into_iter().rev().map(|line| (line.kind, line.detail)).collect()
}

fn said(kind: &str, detail: Option<&str>) -> (String, Option<String>) {
    (kind.to_owned(), detail.map(str::to_owned))
}

pub async fn organizations_are_made_beside_the_first(on: &Databases) {
    let store = on.store().await;
    let early = create(&store, 9, "Early", Account::New(user(1, "eve"))).await;
    assert!(matches!(early, Err(CreateOrganizationError::NotSetUp)), "{early:?}");
    assert!(store.user_by_name("eve").await.unwrap().is_none());
    store.set_up(founding(&store).await, user(2, "Alice")).await.unwrap();
    assert!(!store.has_several_organizations().await.unwrap());

    assert_eq!(create(&store, 3, "Beta", Account::New(user(3, "Bob"))).await.unwrap(), user(3, "").id);
    assert!(store.has_several_organizations().await.unwrap());
    create(&store, 2, "Gamma", Account::Existing(user(2, "").id)).await.unwrap();
    let nobody = create(&store, 1, "Delta", Account::Existing(user(77, "").id)).await;
    assert!(
        matches!(nobody, Err(CreateOrganizationError::Operator(AddMemberError::NoUser { .. }))),
        "{nobody:?}"
    );
    let taken = create(&store, 1, "Delta", Account::New(user(77, "BOB"))).await;
    assert!(matches!(taken, Err(CreateOrganizationError::Operator(AddMemberError::NameTaken))), "{taken:?}");
    assert_eq!(names(&store).await, ["Acme", "Beta", "Gamma"], "in the order of their making");

    let of = async |id| {
        let of = store.memberships(UserId::new(id).unwrap()).await.unwrap();
        of.into_iter().map(|one| (one.org_id.value(), one.name.as_str().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(
        of(2).await,
        [(4, "Acme".to_owned()), (2, "Gamma".to_owned())],
        "where they were first, first"
    );
    assert_eq!(of(3).await, [(3, "Beta".to_owned())]);
    let members = store.members(OrgId::new(3).unwrap()).await.unwrap();
    assert_eq!(members, [UserRecord { name: "bob".to_owned(), ..user(3, "Bob") }]);
    let made = said("organization_created", None);
    assert_eq!(kinds(&store, 4).await, std::slice::from_ref(&made));
    assert_eq!(kinds(&store, 3).await, [made.clone(), said("operator_added", Some("bob"))]);
    assert_eq!(kinds(&store, 2).await, [made, said("operator_added", Some("alice"))]);
}

pub async fn a_name_is_taken_in_any_case_and_the_first_stays_first(on: &Databases) {
    let store = on.store().await;
    let mut first = founding_of(&store, 900, "Ägir Mining").await;
    // A clock that was ahead at the set-up.
    first.organization.as_mut().unwrap().record.created_at = at(i64::MAX);
    store.set_up(first, user(1, "alice")).await.unwrap();
    for name in ["Ägir Mining", "ÄGIR MINING", "ägir mining"] {
        let taken = create(&store, 5, name, Account::New(user(2, "bob"))).await;
        assert!(matches!(taken, Err(CreateOrganizationError::NameTaken)), "{name}: {taken:?}");
    }
    assert_eq!(names(&store).await, ["Ägir Mining"]);
    assert!(store.user_by_name("bob").await.unwrap().is_none(), "nothing of it was stored");
    create(&store, 5, "Other", Account::New(user(2, "bob"))).await.unwrap();
    let held = store.organization().await.unwrap().unwrap();
    assert_eq!(held.record.id.value(), 900, "whatever a clock says");
    let again = create(&store, 5, "Third", Account::Existing(user(2, "").id)).await;
    assert!(
        matches!(again, Err(CreateOrganizationError::Refused(_))),
        "an id is one organization's: {again:?}"
    );
}

pub async fn an_operator_is_one_where_they_were_added(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let other = f.organization(OTHER, "Other", &bob).await;
    let add = async |org, account| f.store.add_member(org, account, Actor::System, f.now).await;
    let again = add(other, Account::Existing(bob.id)).await;
    assert!(matches!(again, Err(AddMemberError::AlreadyMember)), "{again:?}");
    let nowhere = add(OrgId::new(77).unwrap(), Account::Existing(alice.id)).await;
    assert!(matches!(nowhere, Err(AddMemberError::NoOrganization)), "{nowhere:?}");
    assert!(!f.store.remove_member(other, alice.id, Actor::System, f.now).await.unwrap(), "she is none");
    assert!(!f.store.remove_member(other, user(77, "").id, Actor::System, f.now).await.unwrap());
    // Neither a session nor a key comes of an organization that is not one's own.
    let session = UserSessionRecord { org_id: other, ..f.user_session(&alice) };
    let refused = f.store.create_user_session(session, &alice.password_hash).await;
    assert!(matches!(refused, Err(CreateSessionError::NotMember)), "{refused:?}");
    let key = UserApiKeyRecord { org_id: other, ..f.user_api_key(&alice) };
    let refused = f.store.create_user_api_key(key).await;
    assert!(matches!(refused, Err(CreateApiKeyError::NotMember)), "{refused:?}");

    add(other, Account::Existing(alice.id)).await.unwrap();
    assert!(f.store.remove_member(other, bob.id, Actor::System, f.now).await.unwrap());
    assert!(!f.store.remove_member(other, bob.id, Actor::System, f.now).await.unwrap());
    let members = async |org| -> Vec<String> {
        f.store.members(org).await.unwrap().into_iter().map(|user| user.name).collect()
    };
    assert_eq!(members(other).await, ["alice"]);
    assert_eq!(members(f.org).await, ["alice", "bob"], "elsewhere nothing has changed");
    let lines = [("operator_added", "bob"), ("operator_added", "alice"), ("operator_removed", "bob")];
    let mut expected = vec![said("organization_created", None)];
    expected.extend(lines.map(|(kind, name)| said(kind, Some(name))));
    assert_eq!(kinds(&f.store, OTHER).await, expected);
}

pub async fn what_acts_for_an_organization_ends_with_the_membership(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let other = f.organization(OTHER, "Other", &alice).await;
    let mut sessions = Vec::new();
    let mut keys = Vec::new();
    for (user, org) in [(&alice, f.org), (&alice, other), (&bob, f.org)] {
        let session = UserSessionRecord { org_id: org, ..f.user_session(user) };
        f.store.create_user_session(session.clone(), &user.password_hash).await.unwrap();
        sessions.push(session);
        let key = UserApiKeyRecord { org_id: org, ..f.user_api_key(user) };
        f.store.create_user_api_key(key.clone()).await.unwrap();
        keys.push(key);
    }
    let works = async || {
        let mut works = Vec::new();
        for (session, key) in sessions.iter().zip(&keys) {
            let session_for = f.store.user_by_session(&session.token, f.now).await.unwrap();
            let key_for = f.store.user_by_api_key(&key.hash, f.now).await.unwrap();
            works.push((session_for.map(|found| found.0.org_id), key_for.map(|found| found.0.org_id)));
        }
        works
    };
    let own = (Some(f.org), Some(f.org));
    assert_eq!(works().await, [own, (Some(other), Some(other)), own], "each acts for its own");
    // The digits of a key say nothing in another organization.
    assert!(!f.store.revoke_user_api_key(other, &keys[0].digits).await.unwrap());
    let listed = f.store.user_api_keys(other).await.unwrap();
    assert_eq!(listed.iter().map(|key| &key.digits).collect::<Vec<_>>(), [&keys[1].digits]);

    assert!(f.store.remove_member(f.org, alice.id, Actor::System, f.now).await.unwrap());
    assert_eq!(works().await, [(None, None), (Some(other), Some(other)), own]);
    // Coming back brings nothing back.
    f.store.add_member(f.org, Account::Existing(alice.id), Actor::System, f.now).await.unwrap();
    assert_eq!(works().await, [(None, None), (Some(other), Some(other)), own]);
    let first = f.store.memberships(alice.id).await.unwrap()[0].org_id;
    assert_eq!(first, other, "where she has been without a break");
}

pub async fn a_login_goes_on_in_another_organization(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let other = f.organization(OTHER, "Other", &alice).await;
    let foreign = f.organization(OTHER + 1, "Foreign", &bob).await;
    let session = f.user_session(&alice);
    f.store.create_user_session(session.clone(), &alice.password_hash).await.unwrap();
    let select = async |token: &SecretHash, byte, org, seconds| {
        f.store.select_organization(token, SecretHash::from_bytes([byte; 32]), org, f.later(seconds)).await
    };
    for org in [foreign, OrgId::new(77).unwrap()] {
        let refused = select(&session.token, 1, org, 1).await;
        assert!(matches!(refused, Err(CreateSessionError::NotMember)), "{refused:?}");
    }
    assert!(f.store.user_by_session(&session.token, f.now).await.unwrap().is_some(), "it is as it was");
    let selected = select(&session.token, 1, other, 10).await.unwrap();
    let expected = UserSessionRecord {
        token: SecretHash::from_bytes([1; 32]),
        org_id: other,
        created_at: f.later(10),
        ..session.clone()
    };
    assert_eq!(selected, expected, "it ends when the other would have");
    let held = f.store.user_by_session(&selected.token, f.later(59)).await.unwrap();
    assert_eq!(held, Some((selected.clone(), alice)));
    assert_eq!(f.store.user_by_session(&session.token, f.now).await.unwrap(), None);
    let again = select(&session.token, 2, other, 11).await;
    assert!(matches!(again, Err(CreateSessionError::Outdated)), "a token goes on once: {again:?}");
    let late = select(&selected.token, 2, f.org, 60).await;
    assert!(matches!(late, Err(CreateSessionError::Outdated)), "not when it is over: {late:?}");
}

pub async fn a_new_password_ends_logins(on: &Databases) {
    let f = Fixture::new(on).await;
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let other = f.organization(OTHER, "Other", &alice).await;
    let mut sessions = Vec::new();
    for (user, org) in [(&alice, f.org), (&alice, other), (&bob, f.org)] {
        let session = UserSessionRecord { org_id: org, ..f.user_session(user) };
        f.store.create_user_session(session.clone(), &user.password_hash).await.unwrap();
        sessions.push(session.token);
    }
    let key = f.user_api_key(&alice);
    f.store.create_user_api_key(key.clone()).await.unwrap();
    let alive = async || {
        let mut alive = Vec::new();
        for token in &sessions {
            alive.push(f.store.user_by_session(token, f.now).await.unwrap().is_some());
        }
        alive
    };
    let old = alice.password_hash.as_str();
    assert!(!f.store.change_password(alice.id, "wrong", "new", &sessions[0], f.now).await.unwrap());
    assert_eq!(alive().await, [true; 3]);
    assert!(f.store.change_password(alice.id, old, "new", &sessions[0], f.now).await.unwrap());
    assert_eq!(alive().await, [true, false, true], "in whichever organization they were");
    assert_eq!(f.store.user(alice.id).await.unwrap().unwrap().password_hash, "new");
    // A login whose password was checked before the change comes too late.
    let late = f.store.create_user_session(f.user_session(&alice), old).await;
    assert!(matches!(late, Err(CreateSessionError::Outdated)), "{late:?}");
    assert!(!f.store.set_password(user(77, "").id, "x", Actor::System, f.now).await.unwrap());
    assert!(f.store.set_password(alice.id, "newer", Actor::System, f.now).await.unwrap());
    assert_eq!(alive().await, [false, false, true]);
    assert!(f.store.user_by_api_key(&key.hash, f.now).await.unwrap().is_some(), "api_keys stay");
    f.store.log_of_user(alice.id, Actor::System, LogKind::LoginFailed, None, f.now).await.unwrap();
    for org in [f.org, other] {
        let lines = kinds(&f.store, org.value()).await;
        let last =
            [said("password_changed", None), said("password_set", Some("alice")), said("login_failed", None)];
        assert!(lines.ends_with(&last), "in the log of each of hers: {lines:?}");
    }
}

pub async fn one_of_many_creations_of_a_name_wins(on: &Databases) {
    let f = Fixture::new(on).await;
    let second = Store::open(&f.empty.url).await.unwrap();
    for round in 0..4_i64 {
        let together = Arc::new(Barrier::new(4));
        let mut tasks = JoinSet::new();
        for n in 0..4_i64 {
            let store = if n % 2 == 0 { f.store.clone() } else { second.clone() };
            let name = if n % 2 == 0 { format!("Round {round}") } else { format!("ROUND {round}") };
            let founder = Account::New(f.user_record(&format!("user-{round}-{n}")));
            let together = together.clone();
            let change = founding_of(&store, 100 + 10 * round + n, &name).await;
            tasks.spawn(async move {
                together.wait().await;
                store.create_organization(change, founder, Actor::System).await
            });
        }
        let results = tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("a deadlock");
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}: {results:?}");
        let lost = |result: &Result<_, _>| matches!(result, Ok(_) | Err(CreateOrganizationError::NameTaken));
        assert!(results.iter().all(lost), "round {round}: {results:?}");
    }
    assert_eq!(names(&f.store).await.len(), 5);
    let raw = f.empty.raw().await;
    assert_eq!(super::database::count(&raw, "app_user").await, 4, "nothing of the losers was kept");
    let numbers = "(SELECT DISTINCT number FROM organization WHERE number IS NOT NULL) n";
    assert_eq!(super::database::count(&raw, numbers).await, 4);
    raw.close().await.unwrap();
    second.close().await;
}

/// Whatever comes first: once the membership is gone, no session and no key of it works.
pub async fn a_removal_beside_a_login_leaves_nothing_usable(on: &Databases) {
    let f = Fixture::new(on).await;
    let second = Store::open(&f.empty.url).await.unwrap();
    let (mut came, mut refused) = (0, 0);
    for round in 0..12 {
        let user = f.user(&format!("user-{round}")).await;
        let other = f.organization(100 + round, &format!("Org {round}"), &user).await;
        let (session, key) = (f.user_session(&user), f.user_api_key(&user));
        let elsewhere = UserSessionRecord { org_id: other, ..f.user_session(&user) };
        f.store.create_user_session(elsewhere.clone(), &user.password_hash).await.unwrap();
        let selected = SecretHash::from_bytes([round as u8; 32]);
        let together = Arc::new(Barrier::new(4));
        let mut tasks = JoinSet::new();
        let spawn = |tasks: &mut JoinSet<bool>,
                     call: std::pin::Pin<Box<dyn Future<Output = bool> + Send>>| {
            let together = together.clone();
            tasks.spawn(async move {
                together.wait().await;
                call.await
            });
        };
        let (store, org, now, id) = (f.store.clone(), f.org, f.now, user.id);
        spawn(
            &mut tasks,
            Box::pin(async move {
                assert!(store.remove_member(org, id, Actor::System, now).await.unwrap());
                true
            }),
        );
        let (store, made, hash) = (second.clone(), session.clone(), user.password_hash.clone());
        spawn(
            &mut tasks,
            Box::pin(async move {
                match store.create_user_session(made, &hash).await {
                    Ok(()) => true,
                    Err(CreateSessionError::NotMember) => false,
                    Err(error) => panic!("{error:?}"),
                }
            }),
        );
        let (store, made) = (second.clone(), key.clone());
        spawn(
            &mut tasks,
            Box::pin(async move {
                match store.create_user_api_key(made).await {
                    Ok(()) => true,
                    Err(CreateApiKeyError::NotMember) => false,
                    Err(error) => panic!("{error:?}"),
                }
            }),
        );
        let (store, from) = (second.clone(), elsewhere.token);
        spawn(
            &mut tasks,
            Box::pin(async move {
                match store.select_organization(&from, selected, org, now).await {
                    Ok(_) => true,
                    Err(CreateSessionError::NotMember) => false,
                    Err(error) => panic!("{error:?}"),
                }
            }),
        );
        let results = tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("a deadlock");
        came += results.iter().filter(|result| **result).count() - 1;
        refused += results.iter().filter(|result| !**result).count();
        for token in [session.token, selected] {
            assert_eq!(f.store.user_by_session(&token, f.now).await.unwrap(), None, "round {round}");
        }
        assert_eq!(f.store.user_by_api_key(&key.hash, f.now).await.unwrap(), None, "round {round}");
    }
    assert_eq!(came + refused, 36);
    let raw = f.empty.raw().await;
    assert_eq!(super::database::count(&raw, "api_key").await, 0, "not even unusable ones are left");
    raw.close().await.unwrap();
    second.close().await;
}

pub async fn a_new_password_beside_a_login_leaves_nothing_usable(on: &Databases) {
    let f = Fixture::new(on).await;
    let second = Store::open(&f.empty.url).await.unwrap();
    for round in 0..12_u8 {
        let user = f.user(&format!("user-{round}")).await;
        let other = f.organization(100 + i64::from(round), &format!("Org {round}"), &user).await;
        let (before, login) = (f.user_session(&user), f.user_session(&user));
        f.store.create_user_session(before.clone(), &user.password_hash).await.unwrap();
        let selected = SecretHash::from_bytes([round; 32]);
        let together = Arc::new(Barrier::new(3));
        let mut tasks = JoinSet::new();
        let (store, barrier, id, now) = (f.store.clone(), together.clone(), user.id, f.now);
        tasks.spawn(async move {
            barrier.wait().await;
            assert!(store.set_password(id, "new", Actor::System, now).await.unwrap());
        });
        let (store, barrier, made, hash) =
            (second.clone(), together.clone(), login.clone(), user.password_hash.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            let made = store.create_user_session(made, &hash).await;
            assert!(matches!(made, Ok(()) | Err(CreateSessionError::Outdated)), "{made:?}");
        });
        let (store, barrier, from) = (second.clone(), together.clone(), before.token);
        tasks.spawn(async move {
            barrier.wait().await;
            let made = store.select_organization(&from, selected, other, now).await;
            assert!(matches!(made, Ok(_) | Err(CreateSessionError::Outdated)), "{made:?}");
        });
        tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("a deadlock");
        for token in [before.token, login.token, selected] {
            assert_eq!(f.store.user_by_session(&token, f.now).await.unwrap(), None, "round {round}");
        }
    }
    second.close().await;
}
