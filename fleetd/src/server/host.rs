//! What whoever administers the host does to an installation: its organizations, and who operates them.
//!
//! It works on the key directory and the database, where no operator over the network comes, beside the server if that
//! runs. What is done stands in the activity log of the organization concerned, as the system's.

use std::path::PathBuf;
use std::sync::Arc;

use fleet_core::driver::{Founding, ServerDriver, ServerError, ServerKeys};
use fleet_core::id::{OrgId, UserId};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::{RandomError, SecureRandom};
use fleet_core::store::{Actor, OrganizationRecord, StoreError};
use fleet_core::time::{Clock, UnixMillis};
use fleet_store::{Account, AddMemberError, CreateOrganizationError, OpenError, Store, UserRecord};
use zeroize::Zeroizing;

use super::keys::{self, KeyDirError, Missing};
use super::lock::LockError;
use super::named;
use super::passwords::{PasswordError, Passwords};
use super::roots::RootFiles;
use super::start::{StartError, check_keys};
use crate::config::Config;

/// It was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no installation where it was looked for.
    #[error("there is no database {}: say with --data-dir or --database-url where the installation is", path.display())]
    NoInstallation {
        /// The database's file.
        path: PathBuf,
    },
    /// The files are another user's: what this process writes the server could not read.
    #[error("{} belongs to another user: run this as the user that the server runs as", path.display())]
    NotOwn {
        /// The database's file.
        path: PathBuf,
    },
    /// There is no first organization.
    #[error("this server is not set up yet: start it, and use the link that it prints")]
    NotSetUp,
    /// There is no such organization.
    #[error("there is no organization {name}")]
    NoOrganization {
        /// What was given.
        name: String,
    },
    /// There is no such operator.
    #[error("there is no operator {name}")]
    NoOperator {
        /// What was given.
        name: String,
    },
    /// The operator does not belong to the organization.
    #[error("{name} is no operator of {organization}")]
    NotMember {
        /// The operator.
        name: String,
        /// The organization.
        organization: Name,
    },
    /// Another organization has the name.
    #[error("organization: another one is called {name}, in whatever case")]
    NameTaken {
        /// The name.
        name: Name,
    },
    /// Nobody became an operator.
    #[error(transparent)]
    Member(AddMemberError),
    /// A name or a password is not acceptable.
    #[error("{0}")]
    Value(String),
    /// The keys are not those of the database.
    #[error(transparent)]
    Keys(Box<StartError>),
    /// The key directory cannot be used.
    #[error("the key directory")]
    KeyDir(#[from] KeyDirError),
    /// A restore was not finished.
    #[error(transparent)]
    Unfinished(#[from] LockError),
    /// The database cannot be opened.
    #[error("the database")]
    Database(#[from] OpenError),
    /// A file cannot be looked at.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The organization could not be founded.
    #[error("the organization")]
    Found(#[from] ServerError),
    /// The organization could not be made.
    #[error("the organization")]
    Create(#[source] CreateOrganizationError),
    /// The password could not be hashed.
    #[error("password hashing does not work")]
    Password(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store failed.
    #[error("the database")]
    Store(#[from] StoreError),
}

impl HostError {
    /// Whether what was asked for is at fault, rather than the host: exit code 64.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::NoInstallation { .. }
            | Self::NotOwn { .. }
            | Self::NotSetUp
            | Self::NoOrganization { .. }
            | Self::NoOperator { .. }
            | Self::NotMember { .. }
            | Self::NameTaken { .. }
            | Self::Member(_)
            | Self::Value(_)
            | Self::Keys(_)
            | Self::KeyDir(_)
            | Self::Unfinished(LockError::Restoring { .. })
            | Self::Database(OpenError::Unfinished) => true,
            Self::Unfinished(_)
            | Self::Database(_)
            | Self::Io { .. }
            | Self::Found(_)
            | Self::Create(_)
            | Self::Password(_)
            | Self::Random(_)
            | Self::Store(_) => false,
        }
    }
}

impl From<PasswordError> for HostError {
    fn from(error: PasswordError) -> Self {
        Self::Password(Box::new(error))
    }
}

/// An organization as the host lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created_at: UnixMillis,
    /// The login names of its operators.
    pub operators: Vec<String>,
    /// The file of its root.
    pub root_file: PathBuf,
}

/// An installation, opened beside its server.
#[derive(Debug)]
pub struct Host {
    key_dir: PathBuf,
    config: Config,
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
}

impl Host {
    /// Opens the installation that `config` names, which must be there.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Dropped, what was opened is closed. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Result<Self, HostError> {
        super::lock::check_whole(&config.data_dir)?;
        if let Some(file) = config.database.file() {
            use std::os::unix::fs::MetadataExt as _;
            let path = file.to_owned();
            match file.metadata() {
                Ok(found) if found.uid() == rustix::process::geteuid().as_raw() => {}
                Ok(_) => return Err(HostError::NotOwn { path }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(HostError::NoInstallation { path });
                }
                Err(source) => return Err(HostError::Io { path, source }),
            }
        }
        // The server that runs may be an older one: its schema is its own to change.
        let store = Store::open_existing(&config.database).await?;
        if let Err(error) = store.require_current_schema().await {
            store.close().await;
            return Err(error.into());
        }
        Ok(Self { key_dir: config.key_dir.clone(), config, store, clock, random })
    }

    /// Closes the database.
    ///
    /// # Cancel safety
    /// Dropped, the database closes by itself. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// The organizations, in the order in which they were made.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn organizations(&self) -> Result<Vec<Listed>, HostError> {
        let mut listed = Vec::new();
        for (number, record) in self.records().await?.into_iter().enumerate() {
            let root_file = if number == 0 {
                keys::first_root_file(&self.key_dir)
            } else {
                keys::root_file(&self.key_dir, record.id)
            };
            let operators = self.store.members(record.id).await?;
            listed.push(Listed {
                id: record.id,
                name: record.manifest.manifest().org_name.clone(),
                created_at: record.created_at,
                operators: operators.into_iter().map(|user| user.name).collect(),
                root_file,
            });
        }
        Ok(listed)
    }

    /// The account of an operator, by login name.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn account(&self, user: &str) -> Result<Option<UserRecord>, HostError> {
        let name = super::set_up::user_name(user).map_err(|status| HostError::Value(status.message))?;
        Ok(self.store.user_by_name(&name).await?)
    }

    /// An account to be made.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Nothing is stored. Dropped, the password may be hashed to its end, on a thread of its own. The future
    /// is `Send`; it panics only outside of a tokio runtime.
    pub async fn new_account(&self, user: &str, password: Zeroizing<String>) -> Result<Account, HostError> {
        let name = super::set_up::user_name(user).map_err(|status| HostError::Value(status.message))?;
        let password_hash = self.hash(password).await?;
        let id = UserId::random(self.random.as_ref())?;
        Ok(Account::New(UserRecord { id, name, password_hash, created_at: self.clock.now() }))
    }

    /// Whether an organization of this name can be made, before anybody types a password.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn check_name(&self, name: &Name) -> Result<(), HostError> {
        self.can_be_made(name).await.map(drop)
    }

    async fn can_be_made(&self, name: &Name) -> Result<Vec<OrganizationRecord>, HostError> {
        let records = self.records().await?;
        if records.is_empty() {
            return Err(HostError::NotSetUp);
        }
        let is_taken = |one: &OrganizationRecord| {
            one.manifest.manifest().org_name.as_str().to_lowercase() == name.as_str().to_lowercase()
        };
        if records.iter().any(is_taken) {
            return Err(HostError::NameTaken { name: name.clone() });
        }
        Ok(records)
    }

    /// Makes an organization with its first operator. Its root is in the key directory before it is in the database.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Dropped, the organization is there or not; the file of its root may be left that nobody needs. The
    /// future is `Send`; it panics only outside of a tokio runtime.
    pub async fn create(&self, name: Name, operator: Account) -> Result<Listed, HostError> {
        let records = self.can_be_made(&name).await?;
        let held = keys::open(&self.key_dir, Missing::Refuse, self.random.as_ref())?;
        // An organization whose manifest names another server's key would never be served.
        check_keys(&self.config, &held, &records).map_err(|error| HostError::Keys(Box::new(error)))?;
        keys::prepare(&self.key_dir)?;
        let (org_id, path) = loop {
            let org_id = OrgId::random(self.random.as_ref())?;
            let path = keys::root_file(&self.key_dir, org_id);
            if path.symlink_metadata().is_err() {
                break (org_id, path);
            }
        };
        keys::make_root(&path, self.random.as_ref())?;
        match self.found(held, org_id, name.clone(), operator).await {
            Ok(()) => {}
            // Whether it was made is not known: a key too many does no harm, one too few does.
            Err(error @ HostError::Store(_)) => return Err(error),
            Err(error) => {
                if let Err(source) = std::fs::remove_file(&path) {
                    tracing::warn!(file = %path.display(), error = %source, "a key that nobody needs is left");
                }
                return Err(error);
            }
        }
        let made = self.organizations().await?.into_iter().find(|one| one.id == org_id);
        made.ok_or_else(|| HostError::NoOrganization { name: name.as_str().to_owned() })
    }

    async fn found(
        &self,
        held: keys::Keys,
        org_id: OrgId,
        name: Name,
        operator: Account,
    ) -> Result<(), HostError> {
        let roots = RootFiles::new(self.key_dir.clone(), self.store.clone(), held.root);
        let keys = ServerKeys { roots: Arc::new(roots), command: held.command };
        let (store, clock, random) =
            (Arc::new(self.store.clone()), Arc::clone(&self.clock), Arc::clone(&self.random));
        let driver = ServerDriver::new(store, clock, random, keys, Policy::default());
        let founding = Founding { org_id, name: name.clone(), recovery: None, actor: Actor::System };
        let founded = driver.found_organization(founding).await?;
        let made = self.store.create_organization(founded.change().clone(), operator, Actor::System).await;
        made.map(drop).map_err(|error| match error {
            CreateOrganizationError::NotSetUp => HostError::NotSetUp,
            CreateOrganizationError::NameTaken => HostError::NameTaken { name },
            CreateOrganizationError::Operator(error) => HostError::Member(error),
            CreateOrganizationError::Store(error) => HostError::Store(error),
            error @ (CreateOrganizationError::Refused(_) | _) => HostError::Create(error),
        })
    }

    /// Makes somebody an operator of an organization; its name.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Dropped, it is done or not; if it is, a second call says so. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn add(&self, organization: &str, operator: Account) -> Result<Name, HostError> {
        let found = self.find(organization).await?;
        let added = self.store.add_member(found.id, operator, Actor::System, self.clock.now()).await;
        match added {
            Ok(_) => Ok(found.manifest.manifest().org_name.clone()),
            Err(AddMemberError::Store(error)) => Err(error.into()),
            Err(error) => Err(HostError::Member(error)),
        }
    }

    /// Ends that somebody is an operator of an organization, with their logins and api_keys for it; its name, and
    /// whether it has an operator left.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Dropped, it is done or not; if it is, a second call says that they are no operator. The future is
    /// `Send`; it panics only outside of a tokio runtime.
    pub async fn remove(&self, organization: &str, user: &str) -> Result<(Name, bool), HostError> {
        let found = self.find(organization).await?;
        let user = self.known(user).await?;
        let name = found.manifest.manifest().org_name.clone();
        if !self.store.remove_member(found.id, user.id, Actor::System, self.clock.now()).await? {
            return Err(HostError::NotMember { name: user.name, organization: name });
        }
        let is_left = !self.store.members(found.id).await?.is_empty();
        Ok((name, is_left))
    }

    /// Gives an operator a new password and ends all their logins; their login name.
    ///
    /// # Errors
    /// [`HostError`].
    ///
    /// # Cancel safety
    /// Dropped, it is done or not; it may be called again. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn set_password(&self, user: &str, password: Zeroizing<String>) -> Result<String, HostError> {
        let user = self.known(user).await?;
        let hash = self.hash(password).await?;
        if self.store.set_password(user.id, &hash, Actor::System, self.clock.now()).await? {
            Ok(user.name)
        } else {
            Err(HostError::NoOperator { name: user.name })
        }
    }

    /// An organization by id or name.
    ///
    /// # Errors
    /// [`HostError::NoOrganization`].
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn find(&self, organization: &str) -> Result<OrganizationRecord, HostError> {
        let missing = || HostError::NoOrganization { name: organization.to_owned() };
        let records = self.records().await?;
        named(records, organization, |one| (one.id, &one.manifest.manifest().org_name)).ok_or_else(missing)
    }

    async fn known(&self, user: &str) -> Result<UserRecord, HostError> {
        self.account(user).await?.ok_or_else(|| HostError::NoOperator { name: user.to_owned() })
    }

    async fn records(&self) -> Result<Vec<OrganizationRecord>, HostError> {
        Ok(self.store.organizations().await?.into_iter().map(|found| found.record).collect())
    }

    async fn hash(&self, password: Zeroizing<String>) -> Result<String, HostError> {
        let random = self.random.as_ref();
        Ok(Passwords::new(random)?.hash(password, random).await?)
    }
}
