use std::sync::{Arc, Mutex, PoisonError};

use fleet_core::{
    future::BoxFuture,
    keys::{AgentKeyring, AgentSecretKeys, IdentitySecretKey, MinerSigningSecretKey, SealingSecretKey},
    store::{AgentKeyStore, StoreError},
};
use zeroize::Zeroizing;

use super::{
    StateDir,
    document::{Damage, StateFileError},
    files::{self, IDENTITY_KEY, MINER_SIGNING_KEY, SEALING_KEY},
    store::{StateWork, blocking},
};

/// An agent's three secret keys in its state directory: one file each, one line of 64 lower-case
/// hex digits, mode 0600.
///
/// All three are written as temporary files before the first takes its place. A crash between two
/// renames leaves keys that fit no state: the driver saves a state only after the keys are
/// durable, so no server has seen any of them, and the next run with the same code makes new ones.
#[derive(Debug, Clone)]
pub struct FileKeyStore(Arc<Mutex<StateDir>>);

impl FileKeyStore {
    pub(super) fn new(directory: StateDir) -> Self {
        Self(Arc::new(Mutex::new(directory)))
    }

    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateDir) -> Result<T, StateFileError> + Send + 'static,
    ) -> StateWork<T> {
        let shared = Arc::clone(&self.0);
        blocking(move || work(&shared.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl AgentKeyStore for FileKeyStore {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        let work = self.work(|directory| {
            let identity = read(directory, IDENTITY_KEY)?;
            let miner_signing = read(directory, MINER_SIGNING_KEY)?;
            let sealing = read(directory, SEALING_KEY)?;
            let (Some(identity), Some(miner_signing), Some(sealing)) = (identity, miner_signing, sealing)
            else {
                return Ok(None);
            };
            Ok(Some(AgentKeyring::from(AgentSecretKeys {
                identity: IdentitySecretKey::from_seed(&identity),
                miner_signing: MinerSigningSecretKey::from_seed(&miner_signing),
                sealing: SealingSecretKey::from_scalar(&sealing),
            })))
        });
        Box::pin(async { work.await.map_err(|error| StoreError(error.into())) })
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        let work = self.work(move |directory| {
            if !directory.is_exclusive() {
                return Err(StateFileError::ReadOnly { path: directory.path().to_owned() });
            }
            let all = [
                (IDENTITY_KEY, keys.identity.danger_seed()),
                (MINER_SIGNING_KEY, keys.miner_signing.danger_seed()),
                (SEALING_KEY, keys.sealing.danger_scalar()),
            ];
            let path = directory.path();
            let io = |name: &str, source| StateFileError::Io { path: path.join(name), source };
            let mut staged = Vec::with_capacity(all.len());
            for (name, secret) in &all {
                let line = Zeroizing::new(format!("{}\n", hex::encode(secret.as_ref())));
                staged.push((
                    *name,
                    files::stage(path, name, line.as_bytes()).map_err(|error| io(name, error))?,
                ));
            }
            for (name, staged) in staged {
                staged.place().map_err(|error| io(name, error))?;
            }
            files::sync(path).map_err(|error| io("", error))?;
            Ok(AgentKeyring::from(keys))
        });
        Box::pin(async { work.await.map_err(|error| StoreError(error.into())) })
    }
}

fn read(directory: &StateDir, name: &'static str) -> Result<Option<Zeroizing<[u8; 32]>>, StateFileError> {
    let path = || directory.path().join(name);
    let content =
        files::read(directory.path(), name).map_err(|source| StateFileError::Io { path: path(), source })?;
    let Some(content) = content else { return Ok(None) };
    let digits = content.strip_suffix(b"\n").unwrap_or(&content);
    let mut key = Zeroizing::new([0; 32]);
    let is_lower = !digits.iter().any(u8::is_ascii_uppercase);
    if !is_lower || hex::decode_to_slice(digits, key.as_mut()).is_err() {
        return Err(StateFileError::Damaged { path: path(), problem: Damage::Field { field: "the key" } });
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use fleet_core::random::OsRandom;

    use super::*;
    use crate::state::Access;

    #[tokio::test]
    async fn keys_round_trip_in_one_private_file_each() {
        let home = tempfile::tempdir().unwrap();
        let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
        let store = directory.keys();
        assert!(store.open().await.unwrap().is_none());
        let keys = AgentSecretKeys::generate(&OsRandom).unwrap();
        let public = keys.public().unwrap();
        let seed = hex::encode(keys.sealing.danger_scalar().as_ref());
        assert_eq!(store.replace(keys).await.unwrap().public().unwrap(), public);
        assert_eq!(store.open().await.unwrap().unwrap().public().unwrap(), public);
        for name in [IDENTITY_KEY, MINER_SIGNING_KEY, SEALING_KEY] {
            let path = home.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(path).unwrap().len(), 65);
        }
        assert_eq!(fs::read_to_string(home.path().join(SEALING_KEY)).unwrap(), format!("{seed}\n"));
        fs::remove_file(home.path().join(SEALING_KEY)).unwrap();
        assert!(store.open().await.unwrap().is_none(), "not all three");
    }

    #[tokio::test]
    async fn a_damaged_key_names_the_file_and_not_what_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let store = StateDir::open(home.path(), Access::Exclusive).unwrap().keys();
        store.replace(AgentSecretKeys::generate(&OsRandom).unwrap()).await.unwrap();
        for content in ["c0ffee", "", &"C0".repeat(32), &"zz".repeat(32)] {
            fs::write(home.path().join(IDENTITY_KEY), content).unwrap();
            let error = store.open().await.unwrap_err();
            let text = std::error::Error::source(&error).unwrap().to_string();
            assert!(text.contains(IDENTITY_KEY) && text.contains("is damaged"), "{text}");
            assert!(content.is_empty() || !format!("{text}{error:?}").contains(content));
        }
    }

    #[tokio::test]
    async fn without_the_lock_nothing_is_written() {
        let home = tempfile::tempdir().unwrap();
        let store = StateDir::open(home.path(), Access::ReadOnly).unwrap().keys();
        assert!(store.replace(AgentSecretKeys::generate(&OsRandom).unwrap()).await.is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
