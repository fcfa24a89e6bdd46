use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use fleet_core::{
    code::{ApiKey, SessionToken},
    future::BoxFuture,
    keys::AgentPublicKeys,
    store::{AgentSession, AgentState, AgentStore, CommitError, Counters, StoreError, Version, Versioned},
    time::UnixMillis,
};
use zeroize::Zeroizing;

use super::{
    StateDir,
    document::{self, Damage, PublicState, StateFileError},
    files::{self, API_KEY, COUNTERS, SESSION, STATE},
};

/// An agent's state in its state directory.
///
/// # What a crash between two files leaves
/// Only `state.yaml` decides which agent this is. The files beside it each begin with the identity
/// key that they belong to, and count as absent beside a `state.yaml` of other keys; so `api-key`,
/// `session` and `counters` may be older or newer than `state.yaml`, but are never another agent's.
///
/// A commit writes `counters`, then `api-key`, then `session`, then `state.yaml`, each only if it
/// changed. The changes that the driver makes are safe in that order at every cut:
///
/// * *A new enrollment* changes `state.yaml` and empties the others: after it, what is left of an
///   earlier one does not count, and is removed last.
/// * *A verified answer*, *joining* and *a newer manifest* change `state.yaml` alone.
/// * *An opened api_key* is saved before it is used. If the crash comes right after it, the next
///   run finds the agent enrolled and handshakes; only `enrollment` in `state.yaml`, which people
///   read, lags until then.
/// * *A session* comes with the api_key that made it. If the session is lost, the next run makes
///   another: it handshakes at every start.
/// * *Counters* change alone, and only upward.
///
/// Versions are kept in memory, which the lock makes the only writer, and go on from the
/// generation in `state.yaml`.
#[derive(Debug, Clone)]
pub struct FileAgentStore(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    directory: StateDir,
    /// What is on disk; `None` until it was read, and after a write that failed half way.
    cached: Option<Option<Versioned<AgentState>>>,
}

pub(super) type StateWork<T> = Pin<Box<dyn Future<Output = Result<T, StateFileError>> + Send>>;

/// Runs work on files where it blocks no other task. Dropping the future does not stop it: a
/// commit that began is finished.
pub(super) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateFileError> + Send + 'static,
) -> StateWork<T> {
    let task = tokio::task::spawn_blocking(work);
    Box::pin(async {
        match task.await {
            Ok(result) => result,
            // Only at the end of the runtime, or if the work panics.
            Err(error) => Err(StateFileError::Io { path: STATE.into(), source: error.into() }),
        }
    })
}

impl FileAgentStore {
    pub(super) fn new(directory: StateDir) -> Self {
        Self(Arc::new(Mutex::new(Inner { directory, cached: None })))
    }
}

impl AgentStore for FileAgentStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>> {
        let shared = Arc::clone(&self.0);
        let work = blocking(move || shared.lock().unwrap_or_else(PoisonError::into_inner).load());
        Box::pin(async { work.await.map_err(|error| StoreError(error.into())) })
    }

    fn commit(
        &self,
        state: AgentState,
        expected: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, CommitError>> {
        let shared = Arc::clone(&self.0);
        let work =
            blocking(move || shared.lock().unwrap_or_else(PoisonError::into_inner).commit(state, expected));
        Box::pin(async {
            match work.await {
                Ok(Some(version)) => Ok(version),
                Ok(None) => Err(CommitError::Stale),
                Err(error) => Err(StoreError(error.into()).into()),
            }
        })
    }
}

impl Inner {
    fn load(&mut self) -> Result<Option<Versioned<AgentState>>, StateFileError> {
        if let Some(cached) = &self.cached {
            return Ok(cached.clone());
        }
        let found = read_state(self.directory.path())?;
        // Without the lock another process may write at any time.
        if self.directory.is_exclusive() {
            self.cached = Some(found.clone());
        }
        Ok(found)
    }

    /// `None` if the state has another version than `expected`.
    fn commit(
        &mut self,
        state: AgentState,
        expected: Option<Version>,
    ) -> Result<Option<Version>, StateFileError> {
        if !self.directory.is_exclusive() {
            return Err(StateFileError::ReadOnly { path: self.directory.path().to_owned() });
        }
        let held = self.load()?;
        if held.as_ref().map(|held| held.version) != expected {
            return Ok(None);
        }
        let version = held.as_ref().map_or(Version::FIRST, |held| held.version.next());
        self.cached = None;
        write(self.directory.path(), held.as_ref(), &state, version)?;
        self.cached = Some(Some(Versioned { record: state, version }));
        Ok(Some(version))
    }
}

fn write(
    directory: &Path,
    held: Option<&Versioned<AgentState>>,
    state: &AgentState,
    version: Version,
) -> Result<(), StateFileError> {
    let io = |name: &'static str| move |source| StateFileError::Io { path: directory.join(name), source };
    let damaged = |problem: Damage| StateFileError::Damaged { path: directory.join(STATE), problem };
    let before = held.map(|held| &held.record).filter(|before| before.keys == state.keys);
    let beside = files_beside(state);
    let beside_before = before.map(files_beside);
    let has_changed = |at: usize| match &beside_before {
        Some(before) => before.get(at) != beside.get(at),
        None => true,
    };
    for (at, (name, content)) in beside.iter().enumerate() {
        if let Some(content) = content.as_ref().filter(|_| has_changed(at)) {
            files::replace(directory, name, content.as_bytes()).map_err(io(name))?;
        }
    }
    let text = |state: &AgentState| document::render(state, version.value()).map_err(damaged);
    let document = text(state)?;
    if before.map(text).transpose()?.as_ref() != Some(&document) {
        files::replace(directory, STATE, document.as_bytes()).map_err(io(STATE))?;
    }
    for (at, (name, content)) in beside.iter().enumerate() {
        if content.is_none() && has_changed(at) {
            files::remove(directory, name).map_err(io(name))?;
        }
    }
    Ok(())
}

type FileBeside = (&'static str, Option<Zeroizing<String>>);

/// The files beside `state.yaml` as they are to be, in the order in which they are written.
fn files_beside(state: &AgentState) -> [FileBeside; 3] {
    let lines = |lines: &[(&str, &str)]| {
        // Room for all of it at once: a string that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(512));
        let identity = hex::encode(state.keys.identity().as_bytes());
        for (name, value) in [("identity", identity.as_str())].iter().chain(lines) {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push('\n');
        }
        text
    };
    let Counters { command, telemetry, event } = state.counters;
    let [command, telemetry, event] = [command, telemetry, event].map(|counter| counter.to_string());
    let counters = lines(&[("command", &command), ("telemetry", &telemetry), ("event", &event)]);
    let api_key = state.api_key.as_ref().map(|key| lines(&[("api_key", key.expose())]));
    let session = state.session.as_ref().map(|session| {
        let [created_at, expires_at] =
            [session.created_at, session.expires_at].map(|at| at.value().to_string());
        lines(&[
            ("token", session.token.expose()),
            ("created_at_ms", &created_at),
            ("expires_at_ms", &expires_at),
        ])
    });
    [(COUNTERS, Some(counters)), (API_KEY, api_key), (SESSION, session)]
}

/// Reads `state.yaml` alone.
pub(super) fn read_public(directory: &Path) -> Result<Option<PublicState>, StateFileError> {
    let path = || directory.join(STATE);
    let content =
        files::read(directory, STATE).map_err(|source| StateFileError::Io { path: path(), source })?;
    content
        .map(|content| document::parse(&content))
        .transpose()
        .map_err(|problem| StateFileError::Damaged { path: path(), problem })
}

fn read_state(directory: &Path) -> Result<Option<Versioned<AgentState>>, StateFileError> {
    let Some(public) = read_public(directory)? else { return Ok(None) };
    let [command, telemetry, event] =
        read_beside(directory, COUNTERS, &public.keys, ["command", "telemetry", "event"], |values| {
            let [command, telemetry, event] = values.map(|text| text.parse::<i64>().ok().filter(|n| *n >= 0));
            Some([command?, telemetry?, event?])
        })?
        .unwrap_or_default();
    let api_key =
        read_beside(directory, API_KEY, &public.keys, ["api_key"], |[text]| ApiKey::parse(text).ok())?;
    let names = ["token", "created_at_ms", "expires_at_ms"];
    let session = read_beside(directory, SESSION, &public.keys, names, |[token, created_at, expires_at]| {
        let time = |text: &str| UnixMillis::new(text.parse().ok()?).ok();
        Some(AgentSession {
            token: SessionToken::parse(token).ok()?,
            created_at: time(created_at)?,
            expires_at: time(expires_at)?,
        })
    })?;
    let state = AgentState {
        server: public.server.as_str().to_owned(),
        name: public.name,
        code: public.code,
        keys: public.keys,
        manifest: public.manifest,
        joined: public.joined,
        agent_id: public.agent_id,
        api_key,
        session,
        counters: Counters { command, telemetry, event },
    };
    Ok(Some(Versioned { record: state, version: Version::from_value(public.generation) }))
}

/// Reads a file beside `state.yaml`; `None` if it is not there or belongs to other keys.
fn read_beside<T, const N: usize>(
    directory: &Path,
    name: &'static str,
    keys: &AgentPublicKeys,
    fields: [&'static str; N],
    parse: impl FnOnce([&str; N]) -> Option<T>,
) -> Result<Option<T>, StateFileError> {
    let path = || directory.join(name);
    let damaged = |problem| StateFileError::Damaged { path: path(), problem };
    let content =
        files::read(directory, name).map_err(|source| StateFileError::Io { path: path(), source })?;
    let Some(content) = content else { return Ok(None) };
    let text = std::str::from_utf8(&content).map_err(|_| damaged(Damage::Syntax { line: None }))?;
    if !text.ends_with('\n') {
        return Err(damaged(Damage::Syntax { line: None }));
    }
    let mut lines = text.lines();
    let mut next = |field: &'static str| {
        let value = lines.next().and_then(|line| line.strip_prefix(field)?.strip_prefix(": "));
        value.ok_or_else(|| damaged(Damage::Field { field }))
    };
    if next("identity")? != hex::encode(keys.identity().as_bytes()) {
        return Ok(None);
    }
    let mut values = [""; N];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = next(field)?;
    }
    if lines.next().is_some() {
        return Err(damaged(Damage::Syntax { line: Some(N + 2) }));
    }
    parse(values).map(Some).ok_or_else(|| damaged(Damage::Field { field: name }))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use fleet_core::{
        code::SecretHash,
        id::{AgentId, OrgId},
        keys::{AgentSecretKeys, CommandSecretKey, RootSecretKey},
        manifest::{OrgManifest, SignedManifest},
        name::Name,
        random::OsRandom,
    };

    use super::*;
    use crate::state::{Access, EnrollmentStage};

    fn manifest(epoch: i64) -> SignedManifest {
        let root = RootSecretKey::from_seed(&[1; 32]);
        let manifest = OrgManifest {
            org_id: OrgId::new(7).unwrap(),
            org_name: Name::new("Acme: \"north\" # 1").unwrap(),
            epoch,
            root: root.public(),
            command: CommandSecretKey::from_seed(&[2; 32]).public(),
            recovery: None,
            operators: Vec::new(),
            revoked: Vec::new(),
        };
        let signature = root.sign(manifest.transcript().as_bytes());
        SignedManifest::verify(manifest, signature).unwrap()
    }

    fn begun() -> AgentState {
        AgentState {
            server: "https://fleet.example:8443".to_owned(),
            name: Name::new("site-1 ' \\ ü").unwrap(),
            code: SecretHash::of("a code"),
            keys: AgentSecretKeys::generate(&OsRandom).unwrap().public().unwrap(),
            manifest: None,
            joined: false,
            agent_id: None,
            api_key: None,
            session: None,
            counters: Counters::default(),
        }
    }

    fn enrolled() -> AgentState {
        AgentState {
            manifest: Some(manifest(3)),
            joined: true,
            agent_id: Some(AgentId::new(42).unwrap()),
            api_key: Some(ApiKey::generate(&OsRandom).unwrap()),
            session: Some(AgentSession {
                token: SessionToken::generate(&OsRandom).unwrap(),
                created_at: UnixMillis::new(5).unwrap(),
                expires_at: UnixMillis::new(6).unwrap(),
            }),
            counters: Counters { command: 1, telemetry: 2, event: 3 },
            ..begun()
        }
    }

    /// Everything of a state as text, secrets included.
    fn exposed(state: &AgentState) -> String {
        let beside = files_beside(state).map(|(_, content)| content.map(|text| text.to_string()));
        format!("{}{beside:?}", document::render(state, 1).unwrap())
    }

    async fn reopened(path: &Path) -> Option<AgentState> {
        let directory = StateDir::open(path, Access::Exclusive).unwrap();
        directory.store().load().await.unwrap().map(|held| held.record)
    }

    #[tokio::test]
    async fn a_state_round_trips_and_every_file_is_private() {
        let home = tempfile::tempdir().unwrap();
        for state in [begun(), enrolled()] {
            let path = home.path().join(if state.joined { "enrolled" } else { "begun" });
            let directory = StateDir::open(&path, Access::Exclusive).unwrap();
            let store = directory.store();
            assert!(store.load().await.unwrap().is_none());
            assert_eq!(store.commit(state.clone(), None).await.unwrap(), Version::FIRST);
            let public = directory.public_state().unwrap().unwrap();
            assert_eq!(public.stage, EnrollmentStage::of(&state));
            drop((store, directory));
            assert_eq!(exposed(&reopened(&path).await.unwrap()), exposed(&state));
            for entry in fs::read_dir(&path).unwrap() {
                let mode = entry.unwrap().metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
    }

    #[tokio::test]
    async fn what_status_may_show_holds_no_secret() {
        let home = tempfile::tempdir().unwrap();
        let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
        let state = enrolled();
        directory.store().commit(state.clone(), None).await.unwrap();
        let text = fs::read_to_string(home.path().join(STATE)).unwrap();
        assert!(!text.contains(state.api_key.unwrap().expose()));
        assert!(!text.contains(state.session.unwrap().token.expose()));
    }

    #[tokio::test]
    async fn a_stale_version_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
        let first = store.commit(begun(), None).await.unwrap();
        let second = store.commit(enrolled(), Some(first)).await.unwrap();
        for expected in [None, Some(first)] {
            assert!(matches!(store.commit(begun(), expected).await, Err(CommitError::Stale)));
        }
        assert_eq!(store.load().await.unwrap().unwrap().version, second);
    }

    /// What is found after a commit that came no further than each of the files in the store's
    /// order: a directory in the place of its temporary file stops it there.
    async fn cuts(before: &AgentState, after: &AgentState) -> Vec<AgentState> {
        let mut states = Vec::new();
        for name in [COUNTERS, API_KEY, SESSION, STATE] {
            let home = tempfile::tempdir().unwrap();
            let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
            let version = store.commit(before.clone(), None).await.unwrap();
            let obstacle = home.path().join(format!("{name}.tmp"));
            fs::create_dir(&obstacle).unwrap();
            let outcome = store.commit(after.clone(), Some(version)).await;
            drop(store);
            fs::remove_dir(&obstacle).unwrap();
            fs::write(&obstacle, "format: 1\ngen").unwrap();
            let state = reopened(home.path()).await.unwrap();
            assert!(!obstacle.exists(), "leftovers are removed");
            if outcome.is_ok() {
                assert_eq!(exposed(&state), exposed(after), "{name} did not change");
            }
            states.push(state);
        }
        states
    }

    #[tokio::test]
    async fn a_crash_between_two_files_leaves_the_state_before_or_one_that_goes_on() {
        let after = enrolled();
        let waiting =
            AgentState { api_key: None, session: None, counters: Counters::default(), ..after.clone() };
        // The opened api_key: the file counts as soon as it is there.
        let opened = AgentState { api_key: after.api_key.clone(), ..waiting.clone() };
        let expected = [&opened, &waiting, &opened, &opened];
        for (cut, (state, expected)) in cuts(&waiting, &opened).await.iter().zip(expected).enumerate() {
            assert_eq!(exposed(state), exposed(expected), "cut {cut}");
        }
        // The first session, with a pasted api_key that it proves: never the session without it.
        let [nothing, no_key, no_session, no_document] =
            <[AgentState; 4]>::try_from(cuts(&waiting, &after).await).unwrap();
        assert_eq!(exposed(&nothing), exposed(&waiting));
        assert!(no_key.api_key.is_none() && no_key.session.is_none());
        assert!(no_session.api_key.is_some() && no_session.session.is_none());
        assert_eq!(exposed(&no_document), exposed(&after));
        // Another enrollment in the place of one that was never confirmed.
        let other = begun();
        let left = AgentState { counters: Counters { command: 1, telemetry: 2, event: 3 }, ..waiting };
        for (cut, state) in cuts(&left, &other).await.iter().enumerate() {
            let is_new = cut == 1 || cut == 2;
            assert_eq!(state.keys, if is_new { other.keys } else { left.keys }, "cut {cut}");
            assert!(state.api_key.is_none() && state.session.is_none());
        }
    }

    #[tokio::test]
    async fn files_of_another_agent_do_not_count_and_go_away() {
        let home = tempfile::tempdir().unwrap();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
        store.commit(enrolled(), None).await.unwrap();
        drop(store);
        fs::remove_file(home.path().join(STATE)).unwrap();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
        assert!(store.load().await.unwrap().is_none());
        store.commit(begun(), None).await.unwrap();
        assert!(!home.path().join(API_KEY).exists() && !home.path().join(SESSION).exists());
        drop(store);

        // Copied there by hand, say.
        let other = tempfile::tempdir().unwrap();
        let store = StateDir::open(other.path(), Access::Exclusive).unwrap().store();
        store.commit(enrolled(), None).await.unwrap();
        for name in [API_KEY, SESSION, COUNTERS] {
            fs::copy(other.path().join(name), home.path().join(name)).unwrap();
        }
        let state = reopened(home.path()).await.unwrap();
        assert!(state.api_key.is_none() && state.session.is_none());
        assert_eq!(state.counters, Counters::default());
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_and_its_content_is_not_shown() {
        let home = tempfile::tempdir().unwrap();
        let state = enrolled();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
        store.commit(state.clone(), None).await.unwrap();
        drop(store);
        for name in [COUNTERS, API_KEY, SESSION, STATE] {
            let path = home.path().join(name);
            let good = fs::read_to_string(&path).unwrap();
            for bad in ["", "s3cr3t", &good.replace(": ", ": s3cr3t"), &format!("{good}s3cr3t: 1\n")] {
                fs::write(&path, bad).unwrap();
                let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
                let outcome = directory.store().load().await;
                // The identity of another agent is no damage.
                let Err(error) = outcome else { continue };
                let text = std::error::Error::source(&error).unwrap().to_string();
                assert!(text.contains(name), "{text}");
                assert!(!format!("{text}{error:?}").contains("s3cr3t"), "{text} {error:?}");
            }
            let cut = good.len() - 2;
            fs::write(&path, &good[..cut]).unwrap();
            let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
            assert!(directory.store().load().await.is_err(), "{name} cut short");
            fs::write(&path, good).unwrap();
        }
    }

    #[tokio::test]
    async fn a_changed_manifest_or_server_is_not_believed() {
        let home = tempfile::tempdir().unwrap();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().store();
        store.commit(enrolled(), None).await.unwrap();
        drop(store);
        let path = home.path().join(STATE);
        let good = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("epoch: 3", "epoch: 4"),
            ("https://fleet.example:8443", "https://me@fleet.example:8443"),
            ("https://fleet.example:8443", "ftp://fleet.example"),
            ("format: 1", "format: 2"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            fs::write(&path, good.replace(from, to)).unwrap();
            let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
            assert!(directory.public_state().is_err(), "{to}");
        }
    }

    #[tokio::test]
    async fn a_planted_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (path, target) = (home.path().join("state"), home.path().join("target"));
        fs::write(&target, "precious").unwrap();
        let directory = StateDir::open(&path, Access::Exclusive).unwrap();
        symlink(&target, path.join("state.yaml.tmp")).unwrap();
        symlink(&target, path.join(STATE)).unwrap();
        assert!(directory.public_state().is_err());
        fs::remove_file(path.join(STATE)).unwrap();
        directory.store().commit(begun(), None).await.unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
