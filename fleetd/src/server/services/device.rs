//! Devices and who owns them.

use std::sync::Arc;

use fleet_core::id::DeviceId;
use fleet_proto::convert::{sample_to_message, timestamp};
use fleet_proto::fleet::v1::{self as fleet, DeviceService};
use fleet_proto::rpc::{Code, Context, Status};
use fleet_store::{DeviceFilter, DeviceListing, PairError, Selection};

use super::super::{App, store_failed};
use super::{id, next_page, page_size, page_token};

pub(super) struct Devices(pub(super) Arc<App>);

fn device(listing: DeviceListing) -> fleet::Device {
    let DeviceListing { device, owner, owner_name, address, seen_by, latest, latest_received_at } = listing;
    let mac = device.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
    fleet::Device {
        device_id: device.id.value(),
        endpoint: device.endpoint.to_string(),
        make: device.make,
        model: device.model,
        firmware: device.firmware,
        serial: device.serial,
        mac,
        driver: device.driver,
        address: address.unwrap_or_default(),
        agent_id: owner.map_or(0, |owner| owner.value()),
        agent_name: owner_name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        seen_by: seen_by.into_iter().map(|agent| agent.value()).collect(),
        created_at: Some(timestamp(device.created_at)),
        paired_at: device.paired_at.map(timestamp),
        latest: latest.as_ref().map(sample_to_message),
        latest_received_at: latest_received_at.map(timestamp),
    }
}

fn device_ids(ids: &[i64]) -> Result<Vec<DeviceId>, Status> {
    let ids = ids.iter().enumerate();
    ids.map(|(index, value)| id(&format!("device_ids[{index}]"), *value)).collect()
}

impl DeviceService for Devices {
    async fn pair_devices(
        &self,
        context: Context,
        request: fleet::PairDevicesRequest,
    ) -> Result<fleet::PairDevicesResponse, Status> {
        let who = self.0.operator(&context).await?;
        let selection = match (request.all, request.device_ids.is_empty()) {
            (true, true) => Selection::All,
            (false, false) => Selection::Devices(device_ids(&request.device_ids)?),
            (true, false) | (false, true) => {
                return Err(Status::invalid(
                    "device_ids: give either device ids or all, not both and not neither",
                ));
            }
        };
        let agent = id("agent_id", request.agent_id)?;
        let paired = self.0.store.pair(who.org_id, agent, selection, who.actor(), self.0.clock.now()).await;
        let paired = paired.map_err(|error| match error {
            PairError::Store(error) => store_failed(error),
            PairError::NotConfirmed => Status::new(Code::FailedPrecondition, error.to_string()),
            PairError::NoAgent { .. } | _ => Status::new(Code::NotFound, error.to_string()),
        })?;
        let skipped = paired.skipped.into_iter().map(|(device, reason)| fleet::SkippedDevice {
            device_id: device.value(),
            reason: reason.to_string(),
        });
        Ok(fleet::PairDevicesResponse {
            paired_device_ids: paired.devices.into_iter().map(|device| device.value()).collect(),
            skipped: skipped.collect(),
        })
    }

    async fn unpair_devices(
        &self,
        context: Context,
        request: fleet::UnpairDevicesRequest,
    ) -> Result<fleet::UnpairDevicesResponse, Status> {
        let who = self.0.operator(&context).await?;
        let devices = device_ids(&request.device_ids)?;
        let unpaired = self.0.store.unpair(who.org_id, devices, who.actor(), self.0.clock.now()).await;
        let unpaired = unpaired.map_err(store_failed)?;
        Ok(fleet::UnpairDevicesResponse {
            unpaired_device_ids: unpaired.into_iter().map(|device| device.value()).collect(),
        })
    }

    async fn list_devices(
        &self,
        context: Context,
        request: fleet::ListDevicesRequest,
    ) -> Result<fleet::ListDevicesResponse, Status> {
        let who = self.0.operator(&context).await?;
        let agent = (request.agent_id != 0).then(|| id("agent_id", request.agent_id)).transpose()?;
        let size = page_size(request.page_size);
        let after = page_token(&request.page_token)?;
        let filter = DeviceFilter { agent, paired: request.paired };
        let found = self.0.store.devices(who.org_id, filter, after, size.saturating_add(1)).await;
        let mut rows = found.map_err(store_failed)?;
        let next_page_token = next_page(&mut rows, size, |row| row.device.id.value());
        Ok(fleet::ListDevicesResponse { devices: rows.into_iter().map(device).collect(), next_page_token })
    }
}
