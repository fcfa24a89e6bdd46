//! The checks.

pub mod agents;
pub mod backup;
pub mod database;
pub mod devices;
pub mod faults;
pub mod history;
pub mod old_schema;
pub mod operations;
pub mod operators;
pub mod organizations;
pub mod races;
pub mod restore;
pub mod server_store;
pub mod uploads;
