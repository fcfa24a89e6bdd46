//! Readings of paired devices.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use fleet_proto::convert::{millis, sample_to_message, timestamp};
use fleet_proto::fleet::v1::{self as fleet, TelemetryService};
use fleet_proto::rpc::{Code, Context, Status};
use fleet_store::Store;

use super::super::{App, store_failed};
use super::history::{self, Asked};
use super::id;

const DEFAULT_WINDOW: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_LIMIT: u32 = 1000;
const MAX_LIMIT: u32 = 10_000;
/// How long a history waits for its turn.
const HISTORY_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Telemetry(pub(super) Arc<App>);

impl Telemetry {
    async fn known(&self, org: OrgId, device: i64) -> Result<DeviceId, Status> {
        let device = id("device_id", device)?;
        let found = self.0.store.device(org, device).await.map_err(store_failed)?;
        found.map(|_| device).ok_or_else(|| Status::new(Code::NotFound, "no such device"))
    }

    /// The day before now, or what is given of it.
    fn range(
        &self,
        since: Option<&prost_types::Timestamp>,
        until: Option<&prost_types::Timestamp>,
    ) -> Result<(UnixMillis, UnixMillis), Status> {
        let until = time("until", until)?.unwrap_or_else(|| self.0.clock.now());
        let since = time("since", since)?.unwrap_or_else(|| until.saturating_sub(DEFAULT_WINDOW));
        Ok((since, until))
    }
}

impl Telemetry {
    /// Reads a history in its turn. Whoever gives up waiting for it leaves it to its end, since the database does not
    /// stop either: what is read at once stays bounded.
    async fn read<T, F>(&self, read: impl FnOnce(Store) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let room = tokio::time::timeout(HISTORY_WITHIN, Arc::clone(&self.0.histories).acquire_owned()).await;
        let Ok(Ok(turn)) = room else {
            let text = "too many histories are being read";
            let status = Status::new(Code::ResourceExhausted, text);
            return Err(Status { retry_after: Some(HISTORY_WITHIN), ..status });
        };
        let reading = read(self.0.store.clone());
        let read = tokio::spawn(async move {
            let _turn = turn;
            reading.await
        });
        read.await.map_err(|_| Status::internal())?.map_err(store_failed)
    }
}

fn time(field: &str, time: Option<&prost_types::Timestamp>) -> Result<Option<UnixMillis>, Status> {
    let parsed =
        time.map(|time| millis(time).map_err(|error| Status::invalid(format_args!("{field}: {error}"))));
    parsed.transpose()
}

impl TelemetryService for Telemetry {
    async fn get_latest_reading(
        &self,
        context: Context,
        request: fleet::GetLatestReadingRequest,
    ) -> Result<fleet::GetLatestReadingResponse, Status> {
        let who = self.0.operator(&context).await?;
        let device = self.known(who.org_id, request.device_id).await?;
        let found = self.0.store.latest(who.org_id, device).await.map_err(store_failed)?;
        Ok(match found {
            Some((sample, received_at)) => fleet::GetLatestReadingResponse {
                reading: Some(sample_to_message(&sample)),
                received_at: Some(timestamp(received_at)),
            },
            None => fleet::GetLatestReadingResponse::default(),
        })
    }

    async fn list_readings(
        &self,
        context: Context,
        request: fleet::ListReadingsRequest,
    ) -> Result<fleet::ListReadingsResponse, Status> {
        let who = self.0.operator(&context).await?;
        let device = self.known(who.org_id, request.device_id).await?;
        let (since, until) = self.range(request.since.as_ref(), request.until.as_ref())?;
        if since > until {
            return Err(Status::invalid("since: must not be after until"));
        }
        let limit = match u32::try_from(request.limit) {
            Ok(0) | Err(_) => DEFAULT_LIMIT,
            Ok(limit) => limit.min(MAX_LIMIT),
        };
        let found =
            self.0.store.history(who.org_id, device, since, until, limit).await.map_err(store_failed)?;
        Ok(fleet::ListReadingsResponse { readings: found.iter().map(sample_to_message).collect() })
    }
    async fn device_history(
        &self,
        context: Context,
        request: fleet::DeviceHistoryRequest,
    ) -> Result<fleet::DeviceHistoryResponse, Status> {
        let who = self.0.operator(&context).await?;
        let device = self.known(who.org_id, request.device_id).await?;
        let range = self.range(request.since.as_ref(), request.until.as_ref())?;
        let readings_since = self.0.clock.now().saturating_sub(self.0.retention.readings);
        let asked = Asked::new(range, request.step.as_ref(), request.max_points)?;
        let steps = asked.of_device(readings_since)?;
        let org = who.org_id;
        let found =
            self.read(move |store| async move { store.device_history(org, device, steps).await }).await?;
        Ok(fleet::DeviceHistoryResponse {
            points: found.into_iter().map(|point| history::device_point(point, &steps)).collect(),
            step: Some(history::step(&steps)),
            source: history::source(&steps),
        })
    }

    async fn fleet_history(
        &self,
        context: Context,
        request: fleet::FleetHistoryRequest,
    ) -> Result<fleet::FleetHistoryResponse, Status> {
        let who = self.0.operator(&context).await?;
        let agent: Option<AgentId> =
            (request.agent_id != 0).then(|| id("agent_id", request.agent_id)).transpose()?;
        if let Some(agent) = agent {
            let found = self.0.store.agent(who.org_id, agent).await.map_err(store_failed)?;
            found.ok_or_else(|| Status::new(Code::NotFound, "no such agent"))?;
        }
        let range = self.range(request.since.as_ref(), request.until.as_ref())?;
        let steps = Asked::new(range, request.step.as_ref(), request.max_points)?.of_fleet()?;
        let org = who.org_id;
        let found =
            self.read(move |store| async move { store.fleet_history(org, agent, steps).await }).await?;
        Ok(fleet::FleetHistoryResponse {
            points: found.into_iter().map(|point| history::fleet_point(point, &steps)).collect(),
            step: Some(history::step(&steps)),
            source: history::source(&steps),
        })
    }
}
