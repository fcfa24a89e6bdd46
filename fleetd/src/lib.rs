//! The fleet server: API, storage and control plane, and in combined mode an agent half in the same process.

pub mod backup;
pub mod cli;
pub mod config;
pub mod demo;
mod duration;
pub mod operator;
pub mod server;
