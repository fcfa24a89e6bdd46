use std::sync::Arc;

use crate::future::{BoxFuture, ready};
use crate::id::OrgId;
use crate::keys::Signer;

/// The managed root of an organization cannot be had at this moment.
#[derive(Debug, thiserror::Error)]
#[error("the root key of organization {org_id} cannot be used")]
pub struct RootError {
    /// Whose root.
    pub org_id: OrgId,
    /// Why not.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Finds the root of an organization. Each organization of a server has its own; the command key is the server's.
///
/// # What a wrong implementation costs
/// The root that it answers is compared with the one in the organization's manifest before anything rests on it, so
/// another organization's root signs nothing. One that answers `None` for an organization whose root is managed makes
/// its revocations go without a new manifest.
pub trait RootKeys: core::fmt::Debug + Send + Sync {
    /// The managed root of the organization; `None` if its root is offline. It is asked for whenever something is to
    /// be signed, so that a key that came after the server started is found.
    ///
    /// # Cancel safety
    /// The driver drops it at any point: it must not change anything. The future is `Send`; it must not
    /// panic.
    fn root(&self, org: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>>;
}

/// Every organization's root is offline.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OfflineRoots;

impl RootKeys for OfflineRoots {
    fn root(&self, _: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>> {
        ready(Ok(None))
    }
}

/// One root, for a server that has one organization.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing to add to one key")]
pub struct OneRoot(pub Arc<dyn Signer>);

impl RootKeys for OneRoot {
    fn root(&self, _: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>> {
        ready(Ok(Some(Arc::clone(&self.0))))
    }
}
