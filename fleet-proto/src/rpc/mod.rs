//! Calls: what a service gets and gives, what a client gets back.
//!
//! The engine is connectrpc, which breaks in minor versions: nothing outside this module names it, and the generated
//! services name only its `glue`.

mod status;

#[cfg(any(feature = "client", feature = "server"))]
#[doc(hidden)]
pub mod glue;

#[cfg(feature = "client")]
mod channel;
#[cfg(feature = "client")]
mod connector;
#[cfg(feature = "server")]
mod server;

pub use status::{Code, Status};

#[cfg(feature = "client")]
pub use channel::{Bidi, Channel};
#[cfg(feature = "server")]
pub use server::{
    Broken, Context, Incoming, Limits, Outgoing, ReflectionError, ResponseBody, Service, Services, serve,
};

/// The longest message, in bytes: a payload of 1 MiB and 64 KiB for what is around it (protocol section 10).
pub const MAX_MESSAGE_BYTES: usize = (1 << 20) + (64 << 10);
