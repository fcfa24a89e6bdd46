//! The files of an agent's state directory, as somebody else might leave them there.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use fleet_agent::miner::credentials::CredentialFile;
use fleet_agent::state::{Access, StateDir};
use fleet_core::store::{AgentKeyStore as _, AgentStore as _};

use crate::Outcome;
use crate::script::Script;

/// The files of a state directory, by the number that stands before each in a script.
pub const FILES: [&str; 8] = [
    "state.yaml",
    "api-key",
    "session",
    "counters",
    "identity.key",
    "miner-signing.key",
    "sealing.key",
    "miner-credentials.json",
];

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

pub(crate) fn run(data: &[u8]) -> Outcome {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("state");
    drop(StateDir::open(&path, Access::Exclusive).expect("a new directory"));
    let mut script = Script::new(data);
    while let Some(which) = script.byte() {
        let Some(content) = script.lengthy() else { break };
        if let Some(name) = FILES.get(usize::from(which)) {
            fs::write(path.join(name), content).expect("a file");
        }
    }
    read(&path)
}

fn read(path: &Path) -> Outcome {
    let Ok(directory) = StateDir::open(path, Access::Exclusive) else { return Outcome::Refused };
    let shown = directory.public_state();
    let (store, keys) = (directory.store(), directory.keys());
    let credentials = CredentialFile::in_directory(path);
    if let Ok(listed) = credentials.keys() {
        for key in listed {
            credentials.remove(&key).expect("what is listed is removed");
        }
        assert_eq!(credentials.keys().expect("it is read"), Vec::new());
    }
    RUNTIME.block_on(async {
        let keyring = keys.open().await;
        let loaded = store.load().await;
        if let (Ok(Some(shown)), Ok(Some(loaded))) = (&shown, &loaded) {
            assert_eq!(shown.keys, loaded.record.keys);
            assert_eq!(shown.agent_id, loaded.record.agent_id);
        }
        let Ok(Some(held)) = loaded else { return Outcome::Refused };
        // What was read is written, and read as the same.
        let written = store.commit(held.record.clone(), Some(held.version)).await.expect("it is written");
        let again = store.load().await.expect("it is read").expect("it is there");
        assert_eq!(again.version, written);
        let (before, after) = (&held.record, &again.record);
        assert_eq!((&before.server, &before.name, before.code), (&after.server, &after.name, after.code));
        assert_eq!((before.keys, &before.manifest), (after.keys, &after.manifest));
        assert_eq!((before.joined, before.agent_id), (after.joined, after.agent_id));
        assert_eq!(before.counters, after.counters);
        let secret = |state: &fleet_core::store::AgentState| {
            let session = state.session.as_ref();
            let session = session.map(|s| (s.token.expose().to_owned(), s.created_at, s.expires_at));
            (state.api_key.as_ref().map(|key| key.expose().to_owned()), session)
        };
        assert!(secret(before) == secret(after), "what is secret changed");
        match keyring {
            Ok(Some(_)) => Outcome::Taken,
            Ok(None) | Err(_) => Outcome::Refused,
        }
    })
}
