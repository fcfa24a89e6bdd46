//! The task that scans, again and again.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep},
};

use super::poll::Shared;
use crate::miner::Found;

/// What a scan reports.
#[derive(Debug)]
pub(super) enum Swept {
    /// Something answers.
    Found(Found),
    /// The scan has been everywhere. `scan` counts scans from 1.
    Done { scan: u64, addresses: u64, took: Duration },
}

/// Scans until the receiver is gone: at once, then after each interval or when `again` says so.
pub(super) async fn sweep(shared: Arc<Shared>, again: Arc<Notify>, swept: mpsc::Sender<Swept>) {
    for scan in 1_u64.. {
        shared.begin_scan(scan);
        let started = Instant::now();
        let mut addresses: u64 = 0;
        let probes =
            stream::iter(shared.config.allowed.addresses().map(IpAddr::V4).inspect(|_| addresses += 1))
                .map(|address| {
                    let shared = Arc::clone(&shared);
                    async move {
                        // Asked for anew each time: a scan of many addresses takes a while.
                        if shared.is_answering(address) { None } else { shared.probe(address).await }
                    }
                })
                .buffer_unordered(shared.config.scan_concurrency.max(1));
        {
            let mut probes = std::pin::pin!(probes);
            while let Some(found) = probes.next().await {
                let Some(found) = found else { continue };
                if swept.send(Swept::Found(found)).await.is_err() {
                    return;
                }
            }
        }
        if swept.send(Swept::Done { scan, addresses, took: started.elapsed() }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(shared.config.rescan_interval) => {}
            () = again.notified() => {}
        }
    }
}
