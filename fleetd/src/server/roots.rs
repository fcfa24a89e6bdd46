//! The roots of the organizations, from the key directory: `root.key` is the first organization's, `root-ID.key` that
//! of another. A file that comes while the server runs is found when it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_core::driver::{RootError, RootKeys};
use fleet_core::future::BoxFuture;
use fleet_core::id::OrgId;
use fleet_core::keys::Signer;
use fleet_store::Store;

use super::keys;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reads each root once, when it is first needed.
#[derive(Debug)]
pub(super) struct RootFiles {
    directory: PathBuf,
    store: Store,
    first: Arc<dyn Signer>,
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    roots: BTreeMap<OrgId, Arc<dyn Signer>>,
    /// Those that could not be read and about which the log knows.
    missing: BTreeSet<OrgId>,
}

impl RootFiles {
    /// The roots in `directory`, of which `first` is the first organization's.
    pub(super) fn new(directory: PathBuf, store: Store, first: Arc<dyn Signer>) -> Self {
        Self { directory, store, first, read: Mutex::default() }
    }

    async fn find(&self, org: OrgId) -> Result<Arc<dyn Signer>, Cause> {
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).roots.get(&org).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let first = self.store.organization().await?;
        // Without an organization it is the first that is being made.
        let root = match first {
            Some(first) if first.record.id != org => {
                Arc::new(keys::read_root(&keys::root_file(&self.directory, org))?)
            }
            Some(_) | None => Arc::clone(&self.first),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.missing.remove(&org);
        Ok(read.roots.entry(org).or_insert(root).clone())
    }
}

impl RootKeys for RootFiles {
    fn root(&self, org_id: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>> {
        Box::pin(async move {
            let source = match self.find(org_id).await {
                Ok(root) => return Ok(Some(root)),
                Err(source) => source,
            };
            let is_news = {
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                read.missing.insert(org_id)
            };
            if is_news {
                tracing::error!(
                    %org_id,
                    error = %source,
                    "the root key of an organization cannot be used: it gets no codes, no confirmations and no new \
                     manifests until it can"
                );
            }
            Err(RootError { org_id, source })
        })
    }
}
