//! Every operation of the store: which there are, and that those that read do not answer when the database did not.

use std::collections::BTreeSet;
use std::path::Path;

use fleet_core::store::{Query, ServerStore};
use fleet_store::{AgentFilter, DeviceFilter, ROLL_UP, Steps, Store, UploadKind};

use super::faults::WRITES;
use crate::support::Databases;
use crate::support::bench::{Bench, Operation, fails_whenever_a_step_does, operation};
use crate::support::fixture::{Fixture, at, mac, sample};

/// Tested elsewhere: opening, closing, and what is not of a database in use.
const OTHERS: [&str; 9] = [
    "open",
    "open_url",
    "open_existing",
    "open_copy",
    "open_restoring",
    "make_old",
    "require_current_schema",
    "close",
    // A copy, whose faults are those of files.
    "backup_to",
];
/// Writes that `faults` makes fail in tests of their own.
const FLOWS: [&str; 3] = ["commit", "take_challenge", "set_up"];

/// The functions of `impl Store` and `impl ServerStore for Store`, by the source.
fn operations() -> BTreeSet<String> {
    fn read(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            let mut begins: Option<&str> = None;
            for line in source.lines() {
                match line {
                    "impl Store {" => begins = Some("    pub async fn "),
                    "impl ServerStore for Store {" => begins = Some("    fn "),
                    "}" => begins = None,
                    _ => {}
                }
                if let Some(rest) = begins.and_then(|begins| line.strip_prefix(begins)) {
                    found.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// What reads, each of something that is there.
async fn reads(f: &Fixture) -> Vec<(&'static str, Operation)> {
    let (peer, rig) = (f.peer("reader").await, mac(1));
    let device = f.owned(&peer, 1, &rig).await;
    f.store.store_telemetry(&peer.guard(), f.upload(1), vec![sample(&rig, f.now)]).await.unwrap();
    f.local().await;
    let user = f.user("alice").await;
    let key = f.user_api_key(&user);
    let session = fleet_store::UserSessionRecord { token: key.hash, ..f.user_session(&user) };
    f.store.create_user_session(session, &user.password_hash).await.unwrap();
    let put = fleet_core::store::Put { record: f.enrollment(), expected: None };
    f.commit(fleet_core::store::Changeset { enrollment: Some(put), ..Default::default() }).await.unwrap();
    let (org, agent, id, token, now) = (f.org, peer.id(), user.id, key.hash, f.now);
    let (start, end) = (at(1), f.later(10));
    let steps = Steps::of_roll_ups(f.now, end, ROLL_UP).unwrap();
    macro_rules! read {
        ($name:literal, |$store:ident| $call:expr) => {
            ($name, operation(move |$store: Store| async move { $call.await.map(drop) }))
        };
    }
    vec![
        read!("activity", |s| s.activity(org, None, 10)),
        read!("agents", |s| s.agents(org, AgentFilter::default(), None, 10)),
        read!("agent", |s| s.agent(org, agent)),
        read!("local_agent", |s| s.local_agent(org)),
        read!("enrollments", |s| s.enrollments(org, None, 10, false)),
        read!("user_api_keys", |s| s.user_api_keys(org)),
        read!("organization", |s| s.organization()),
        read!("organizations", |s| s.organizations()),
        read!("has_several_organizations", |s| s.has_several_organizations()),
        read!("memberships", |s| s.memberships(id)),
        read!("members", |s| s.members(org)),
        read!("contents", |s| s.contents()),
        read!("export_snapshot", |s| s.export_snapshot()),
        read!("latest", |s| s.latest(org, device)),
        read!("history", |s| s.history(org, device, start, end, 10)),
        read!("device_history", |s| s.device_history(org, device, steps)),
        read!("fleet_history", |s| s.fleet_history(org, None, steps)),
        read!("status_changes", |s| s.status_changes(org, None, None, 10)),
        read!("user_by_name", |s| s.user_by_name("alice")),
        read!("user", |s| s.user(id)),
        read!("user_by_session", |s| s.user_by_session(&token, now)),
        read!("devices", |s| s.devices(org, DeviceFilter::default(), None, 10)),
        read!("device", |s| s.device(org, device)),
        read!("durable_sequence", |s| s.durable_sequence(agent, UploadKind::Telemetry)),
        read!("load", |s| s.load(Query::Agent(agent))),
        read!("due", |s| s.due(end, 10)),
    ]
}

/// A new operation is tested, or this fails.
pub async fn no_operation_is_forgotten(on: &Databases) {
    let f = Fixture::new(on).await;
    let mut known: BTreeSet<String> = OTHERS.iter().chain(&FLOWS).map(|name| (*name).to_owned()).collect();
    known.extend(WRITES.iter().map(|write| write.operation()));
    known.extend(reads(&f).await.iter().map(|(name, _)| (*name).to_owned()));
    assert_eq!(operations(), known);
}

pub async fn a_read_that_fails_says_so(on: &Databases) {
    let f = Fixture::new(on).await;
    let reads = reads(&f).await;
    let bench = Bench::new(&f.store, &f.empty).await;
    for (name, read) in reads {
        // Of SQLite there is none to export.
        if name != "export_snapshot" || !on.is_sqlite() {
            fails_whenever_a_step_does(name, &bench, &read).await;
        }
    }
    bench.close().await;
}
