//! Operators' passwords: argon2id, version 19, with the parameters of the argon2 crate's default (19 MiB, 2 passes,
//! 1 lane, those that OWASP names), each with a random salt of 16 bytes.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use fleet_core::random::{RandomError, SecureRandom};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// How many hashes are computed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// How many may wait for that before a login is told to come back.
const WAITING: usize = 32;

/// Hashes and checks passwords, a few at a time.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Checked for a user that does not exist, so that the answer takes as long.
    nobody: Arc<str>,
}

/// A password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("the password could not be hashed")]
    Hash(#[from] argon2::password_hash::Error),
    #[error("the stored hash is malformed")]
    Malformed(#[from] argon2::password_hash::phc::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the hashing task was lost")]
    Lost(#[from] tokio::task::JoinError),
}

impl Passwords {
    /// # Errors
    /// [`PasswordError`].
    pub(crate) fn new(random: &dyn SecureRandom) -> Result<Self, PasswordError> {
        let mut salt = [0; 16];
        random.fill(&mut salt)?;
        let nobody = Argon2::default().hash_password_with_salt(b"nobody has this password", &salt)?;
        Ok(Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            nobody: nobody.to_string().into(),
        })
    }

    /// The hash of a new password, in PHC form.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub(crate) async fn hash(
        &self,
        password: Zeroizing<String>,
        random: &dyn SecureRandom,
    ) -> Result<String, PasswordError> {
        let mut salt = [0; 16];
        random.fill(&mut salt)?;
        self.run(move || {
            let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` has this hash. Without a hash it takes as long and is false.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub(crate) async fn check(
        &self,
        password: Zeroizing<String>,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let nobody = Arc::clone(&self.nobody);
        self.run(move || {
            let expected = PasswordHash::new(hash.as_deref().unwrap_or(&nobody))?;
            let matches = Argon2::default().verify_password(password.as_bytes(), &expected).is_ok();
            Ok(matches && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        tokio::task::spawn_blocking(move || {
            // The work goes on if its caller goes away, and counts for as long as it does.
            let _held = (waiting, running);
            work()
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::SeededRandom;

    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_argon2id_and_only_itself_matches() {
        let random = SeededRandom::new(1);
        let passwords = Passwords::new(&random).unwrap();
        let hash = passwords.hash(secret("correct horse battery"), &random).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.check(secret("correct horse battery"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.check(secret("correct horse batterz"), Some(hash)).await.unwrap());
        assert!(!passwords.check(secret("nobody has this password"), None).await.unwrap());
    }

    #[tokio::test]
    async fn work_whose_caller_is_gone_still_counts() {
        let passwords = Passwords::new(&SeededRandom::new(1)).unwrap();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let mut call = Box::pin(passwords.run(move || {
            let _ = gate.recv();
            Ok(())
        }));
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        assert_eq!(passwords.running.available_permits(), AT_ONCE - 1, "the abandoned work holds its permit");
        go.send(()).unwrap();
        let _all = passwords.running.acquire_many(AT_ONCE.try_into().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn too_many_at_once_are_told_so() {
        let passwords = Passwords::new(&SeededRandom::new(1)).unwrap();
        let all = passwords.waiting.clone().acquire_many_owned(WAITING.try_into().unwrap()).await.unwrap();
        assert!(matches!(passwords.check(secret("x"), None).await, Err(PasswordError::Busy)));
        drop(all);
        assert!(!passwords.check(secret("x"), None).await.unwrap());
    }
}
