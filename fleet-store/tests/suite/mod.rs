//! The checks.

pub mod agents;
pub mod backup;
pub mod database;
pub mod devices;
pub mod faults;
pub mod operators;
pub mod races;
pub mod server_store;
pub mod uploads;
