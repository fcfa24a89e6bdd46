//! The agent half of combined mode: keys of its own, an agent row of the kind `local`, and the miners that it reads
//! itself.

use std::sync::Arc;

use fleet_agent::miner::site::{Report, Site};
use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::driver::ServerError;
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{AgentPublicKeys, RootPublicKey, Signer};
use fleet_core::name::Name;
use fleet_core::random::SecureRandom;
use fleet_core::store::{AgentKind, AgentRecord, AgentStatus};
use fleet_core::telemetry::{Event, Sample};
use fleet_core::time::{Clock, UnixMillis, next_counter};
use fleet_store::{Guard, Store, Upload, UploadKind};
use tokio::sync::mpsc;

/// What the local agent is called.
pub(super) const NAME: &str = "local";
/// Reports are stored in batches of at most so many.
const BATCH: usize = 500;

/// The public halves of the local agent's keys.
#[derive(Debug, Clone)]
pub(super) struct LocalKeys(pub(super) AgentPublicKeys);

impl LocalKeys {
    /// The row of the local agent, certified by the root.
    pub(super) async fn record(
        &self,
        org_id: OrgId,
        name: Name,
        root: &dyn Signer,
        now: UnixMillis,
        random: &dyn SecureRandom,
    ) -> Result<AgentRecord, ServerError> {
        let agent_id = AgentId::random(random)?;
        let certificate = AgentCertificate {
            org_id,
            agent_id,
            name: name.clone(),
            keys: self.0,
            key_epoch: 1,
            issued_at: now,
        };
        let signature = root.sign(certificate.transcript().as_bytes()).await?;
        let public = RootPublicKey::parse(&root.public_key())?;
        let certificate = SignedCertificate::verify(certificate, signature, &public)
            .map_err(|_| ServerError::Contention)?;
        Ok(AgentRecord {
            id: agent_id,
            org_id,
            name,
            kind: AgentKind::Local,
            keys: self.0,
            status: AgentStatus::Confirmed,
            enrollment_id: None,
            certificate: Some(certificate),
            sealed_api_key: None,
            created_at: now,
            confirmed_at: Some(now),
            revoked_at: None,
            last_sequence: 0,
            last_begin_at: None,
        })
    }
}

/// Stores what the local site reports. Ends with the site.
pub(super) struct LocalReports {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) agent_id: AgentId,
}

impl LocalReports {
    /// Runs the site and stores its reports.
    pub(super) async fn run(self, site: Site, mut reports: mpsc::Receiver<Report>) {
        let site = tokio::spawn(site.run());
        let mut batch = Vec::with_capacity(BATCH);
        while reports.recv_many(&mut batch, BATCH).await > 0 {
            let mut samples = Vec::new();
            let mut events = Vec::new();
            for report in batch.drain(..) {
                match report {
                    Report::Sample(sample) => samples.push(sample),
                    Report::Event(event) => events.push(event),
                    _ => {}
                }
            }
            self.store_events(events).await;
            self.store_samples(samples).await;
        }
        site.abort();
    }

    fn guard(&self) -> Guard {
        Guard { agent_id: self.agent_id, session: None, now: self.clock.now() }
    }

    async fn upload(&self, kind: UploadKind) -> Option<Upload> {
        let now = self.clock.now();
        match self.store.durable_sequence(self.agent_id, kind).await {
            Ok(last) => {
                Some(Upload { sequence: next_counter(last, now), captured_at: now, received_at: now })
            }
            Err(error) => {
                let _ = super::store_failed(error);
                None
            }
        }
    }

    async fn store_samples(&self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let Some(upload) = self.upload(UploadKind::Telemetry).await else { return };
        if let Err(error) = self.store.store_telemetry(&self.guard(), upload, samples).await {
            tracing::warn!(%error, "readings of the local agent were not stored");
        }
    }

    async fn store_events(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let Some(upload) = self.upload(UploadKind::Event).await else { return };
        if let Err(error) = self.store.store_events(&self.guard(), upload, events).await {
            tracing::warn!(%error, "events of the local agent were not stored");
        }
    }
}
