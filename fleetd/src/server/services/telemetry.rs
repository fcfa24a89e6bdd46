//! Readings of paired devices.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::id::{DeviceId, OrgId};
use fleet_proto::convert::{millis, sample_to_message, timestamp};
use fleet_proto::fleet::v1::{self as fleet, TelemetryService};
use fleet_proto::rpc::{Code, Context, Status};

use super::super::{App, auth, store_failed};
use super::id;

const DEFAULT_WINDOW: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_LIMIT: u32 = 1000;
const MAX_LIMIT: u32 = 10_000;

pub(super) struct Telemetry(pub(super) Arc<App>);

impl Telemetry {
    async fn known(&self, org: OrgId, device: i64) -> Result<DeviceId, Status> {
        let device = id("device_id", device)?;
        let found = self.0.store.device(org, device).await.map_err(store_failed)?;
        found.map(|_| device).ok_or_else(|| Status::new(Code::NotFound, "no such device"))
    }
}

fn time(
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<fleet_core::time::UnixMillis>, Status> {
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
        let who = auth::operator(&context)?;
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
        let who = auth::operator(&context)?;
        let device = self.known(who.org_id, request.device_id).await?;
        let until = time("until", request.until.as_ref())?.unwrap_or_else(|| self.0.clock.now());
        let since =
            time("since", request.since.as_ref())?.unwrap_or_else(|| until.saturating_sub(DEFAULT_WINDOW));
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
}
