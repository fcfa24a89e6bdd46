//! The keys of a key directory, beside the manifests that name them.

use std::path::{Path, PathBuf};

use fleet_core::keys::{CommandSecretKey, RootPublicKey, RootSecretKey, Signer as _};

use super::error::KeySetError;
use super::files;
use crate::server::keys;

/// A key directory, read.
#[derive(Debug)]
pub(super) struct KeySet {
    directory: PathBuf,
    command: CommandSecretKey,
    /// One for each organization whose root is here.
    roots: Vec<RootSecretKey>,
}

/// The files of a key directory that are keys.
pub(super) fn key_files(directory: &Path) -> Result<Vec<String>, KeySetError> {
    let names = files::names(directory)?;
    let is_key = |name: &String| super::description::is_plain(name) && name.ends_with(".key");
    Ok(names.into_iter().filter(is_key).collect())
}

impl KeySet {
    /// Reads every key; each must be this user's and nobody else's to read.
    pub(super) fn read(directory: &Path) -> Result<Self, KeySetError> {
        let seed = keys::read_named(directory, keys::COMMAND)?;
        let command = CommandSecretKey::from_seed(&seed);
        let mut roots = Vec::new();
        for name in key_files(directory)? {
            // `root.key` of the first organization, `root-ID.key` of others.
            if name == keys::ROOT || name.starts_with("root-") {
                let seed = keys::read_named(directory, &name)?;
                roots.push(RootSecretKey::from_seed(&seed));
            }
        }
        Ok(Self { directory: directory.to_owned(), command, roots })
    }

    /// The root of an organization, if it is here.
    pub(super) fn root(&self, public: &[u8]) -> Option<&RootSecretKey> {
        self.roots.iter().find(|root| root.public().as_bytes() == public)
    }

    /// The root of a manifest, if it is here.
    pub(super) fn root_of(&self, public: &RootPublicKey) -> Option<&RootSecretKey> {
        self.root(public.as_bytes())
    }

    /// Whether these are the keys of an organization. A root may be missing only where it is kept elsewhere.
    pub(super) fn check(
        &self,
        organization: fleet_core::id::OrgId,
        (root, command): (&[u8], &[u8]),
        root_is_elsewhere: bool,
    ) -> Result<(), KeySetError> {
        let path = || self.directory.clone();
        if self.command.public_key() != *command {
            return Err(KeySetError::Command { path: path(), organization });
        }
        if self.root(root).is_none() && !root_is_elsewhere {
            return Err(KeySetError::Root { path: path(), organization });
        }
        Ok(())
    }
}
