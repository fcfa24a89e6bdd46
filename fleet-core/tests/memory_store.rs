//! The store in memory passes the conformance suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use fleet_core::store::{MemoryServerStore, ServerStore};
use fleet_core::testing::{block_on, store_conformance};

#[test]
fn conformance() {
    block_on(store_conformance(&|| {
        Box::pin(async { Arc::new(MemoryServerStore::new()) as Arc<dyn ServerStore> })
    }));
}
