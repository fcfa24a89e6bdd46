//! Simulated miners on loopback that speak the real wire protocols, for tests and the demo.
//!
//! - [`WhatsMiner`]: the cgminer API on TCP port 4028, which cannot be moved, so each has a
//!   loopback address of its own out of a [`LoopbackBlock`].
//! - [`ProtoRig`]: HTTP, or HTTPS, on any port of any loopback address, behind a web password.
//! - [`Antminer`]: the cgminer API and the web server's CGI behind digest authentication. Its port
//!   80 takes root, or a network namespace of one's own.
//!
//! Readings vary over time, the same way for the same seed. Every simulated miner can be killed
//! and revived, and takes [`Fault`]s while it runs.

mod antminer;
mod loopback;
mod proto;
mod server;
mod variation;
mod whatsminer;

pub use antminer::{Antminer, AntminerConfig};
pub use loopback::{LoopbackBlock, LoopbackError};
pub use proto::{ProtoRig, ProtoRigConfig, TlsIdentity};
pub use server::Fault;
pub use whatsminer::{WhatsMiner, WhatsMinerConfig, WhatsMinerModel};
