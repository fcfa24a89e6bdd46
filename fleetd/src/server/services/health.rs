//! gRPC's health service: whether calls can be served, which takes the database.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_proto::grpc::health::v1::health_check_response::ServingStatus;
use fleet_proto::grpc::health::v1::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use fleet_proto::rpc::{Code, Context, Outgoing, Status};

use super::super::App;

/// What can be asked about besides the whole, which is the empty name.
const SERVICES: [&str; 6] = [
    "agentadmin.v1.AgentAdminService",
    "agentgateway.v1.AgentGatewayService",
    "fleet.v1.DeviceService",
    "fleet.v1.OperatorService",
    "fleet.v1.TelemetryService",
    "grpc.health.v1.Health",
];

pub(super) struct Probes(pub(super) Arc<App>);

impl Probes {
    async fn status(&self) -> HealthCheckResponse {
        let is_serving = self.0.is_serving().await;
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        HealthCheckResponse { status: status.into() }
    }
}

impl Health for Probes {
    async fn check(&self, _: Context, request: HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
        if !request.service.is_empty() && !SERVICES.contains(&request.service.as_str()) {
            return Err(Status::new(Code::NotFound, "there is no such service"));
        }
        Ok(self.status().await)
    }

    async fn list(&self, _: Context, _: HealthListRequest) -> Result<HealthListResponse, Status> {
        let status = self.status().await;
        let names = SERVICES.iter().copied().chain([""]);
        let statuses: HashMap<_, _> = names.map(|name| (name.to_owned(), status)).collect();
        Ok(HealthListResponse { statuses })
    }

    async fn watch(
        &self,
        _: Context,
        _: HealthCheckRequest,
    ) -> Result<Outgoing<HealthCheckResponse>, Status> {
        // Anybody may ask, and a stream that anybody may hold open is a way to exhaust the server. The standard lets
        // clients fall back to Check.
        Err(Status::new(Code::Unimplemented, "health is not streamed; call Check"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_can_be_asked_about() {
        let ours = ["agentadmin.v1", "agentgateway.v1", "fleet.v1", "grpc.health.v1"];
        let mut described: Vec<_> = fleet_proto::DESCRIPTORS
            .services()
            .filter(|service| ours.contains(&service.package_name()))
            .map(|service| service.full_name().to_owned())
            .collect();
        described.sort();
        assert_eq!(described, SERVICES);
    }
}
