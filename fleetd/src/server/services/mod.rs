//! The services: each call finds its caller in the context, asks the store or the driver, and answers.

mod admin;
mod device;
mod gateway;
mod health;
mod history;
mod operator;
mod telemetry;

use std::sync::Arc;

use fleet_proto::agentadmin::v1::AgentAdminServiceServer;
use fleet_proto::agentgateway::v1::AgentGatewayServiceServer;
use fleet_proto::fleet::v1::{DeviceServiceServer, OperatorServiceServer, TelemetryServiceServer};
use fleet_proto::grpc::health::v1::HealthServer;
use fleet_proto::rpc::{self, ReflectionError, Services, Status, serve};

use super::App;
use crate::config::Limits;

/// Every service over one application.
pub(super) fn all(app: &Arc<App>, configured: &Limits) -> Result<Services, ReflectionError> {
    let mut limits = rpc::Limits::default();
    limits.message_bytes = configured.message_bytes;
    limits.small_message_bytes = limits.small_message_bytes.min(configured.message_bytes);
    limits.call_timeout = configured.request_timeout;
    // What anybody may send is small, so that many who send slowly hold little.
    limits.small = &super::auth::OPEN;
    serve(
        vec![
            Box::new(AgentGatewayServiceServer::new(Arc::new(gateway::Gateway::new(Arc::clone(app))))),
            Box::new(AgentAdminServiceServer::new(Arc::new(admin::Admin(Arc::clone(app))))),
            Box::new(OperatorServiceServer::new(Arc::new(operator::Operators(Arc::clone(app))))),
            Box::new(DeviceServiceServer::new(Arc::new(device::Devices(Arc::clone(app))))),
            Box::new(TelemetryServiceServer::new(Arc::new(telemetry::Telemetry(Arc::clone(app))))),
            Box::new(HealthServer::new(Arc::new(health::Probes(Arc::clone(app))))),
        ],
        limits,
    )
}

/// A page of a listing: `page_size` rows, 100 if 0.
fn page_size(size: i32) -> u32 {
    match u32::try_from(size) {
        Ok(0) | Err(_) => 100,
        Ok(size) => size.min(1000),
    }
}

/// The last id of the page before.
fn page_token<T: TryFrom<i64>>(token: &str) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let id = token.parse().ok().and_then(|id: i64| T::try_from(id).ok());
    id.map(Some).ok_or_else(|| Status::invalid("page_token: must come from the answer before"))
}

/// The token of the next page, if there is one: the listing was asked for one row more than fits.
fn next_page<T>(rows: &mut Vec<T>, size: u32, id: impl Fn(&T) -> i64) -> String {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if rows.len() <= size {
        return String::new();
    }
    rows.truncate(size);
    rows.last().map(|row| id(row).to_string()).unwrap_or_default()
}

/// An id in a request.
fn id<T: TryFrom<i64, Error: core::fmt::Display>>(field: &str, value: i64) -> Result<T, Status> {
    T::try_from(value).map_err(|error| Status::invalid(format_args!("{field}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_and_go_on() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(next_page(&mut rows, 2, |id| *id), "2");
        assert_eq!(rows, [1, 2]);
        assert_eq!(next_page(&mut rows, 2, |id| *id), "");
        assert_eq!(page_token::<i64>("2").unwrap(), Some(2));
        assert_eq!(page_token::<i64>("").unwrap(), None);
        assert!(page_token::<i64>("two").is_err());
        assert_eq!((page_size(0), page_size(-1), page_size(7), page_size(5000)), (100, 100, 7, 1000));
    }
}
