//! One entity a table. Private: nothing outside this crate sees a row.

#![allow(unreachable_pub, missing_docs, reason = "the derive makes public items")]

pub(crate) mod activity;
pub(crate) mod agent;
pub(crate) mod agent_auth_challenge;
pub(crate) mod agent_device;
pub(crate) mod agent_key;
pub(crate) mod agent_session;
pub(crate) mod agent_sighting;
pub(crate) mod api_key;
pub(crate) mod app_user;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod hidden;
pub(crate) mod manifest;
pub(crate) mod membership;
pub(crate) mod organization;
pub(crate) mod pending_enrollment;
pub(crate) mod telemetry;
pub(crate) mod telemetry_latest;
pub(crate) mod upload_position;
pub(crate) mod user_session;
