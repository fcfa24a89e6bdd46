//! The checks.

pub mod agents;
pub mod database;
pub mod devices;
pub mod operators;
pub mod server_store;
pub mod uploads;
