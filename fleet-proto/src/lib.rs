//! The wire of the fleet protocol: prost messages, their rules, Connect services and clients, and the way between
//! messages and the types of `fleet_core`.
//!
//! # Roles
//! * [`agentgateway::v1`]: what agents call. [`agentadmin::v1`] and [`fleet::v1`]: what operators call.
//!   [`grpc::health::v1`]: what probes call.
//! * [`validate`]: the `buf.validate` rules of the .proto files, enforced on every message that is decoded by a
//!   service or a client of this crate. A violation names the field and its limit.
//! * [`rpc`]: the calls themselves. One listener answers Connect, gRPC and gRPC-Web, in protobuf and JSON.
//! * [`convert`]: messages to domain types and back. What is signed or hashed is always rebuilt from the parsed
//!   values; encoded protobuf is never signed.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `client` | clients, the [`client`](crate) channel, and the transport of `fleet_core`'s agent driver |
//! | `server` | service traits and what serves them |

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub mod convert;
pub mod rpc;
pub mod validate;

#[cfg(feature = "client")]
pub mod client;

/// The bytes of [`DESCRIPTORS`]: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");

/// Descriptors of every message and service, with their `buf.validate` options.
pub static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // A test decodes the very bytes; an empty pool fails every JSON call instead of the process.
    DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default()
});

/// A message in protobuf's JSON form, as the services answer it.
///
/// # Errors
/// [`serde_json::Error`] if the message cannot be told in JSON, for example for a time out of range.
pub fn to_json<M: prost_reflect::ReflectMessage>(
    message: &M,
) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(message.transcode_to_dynamic())
}

/// What operators call to enroll and end agents.
pub mod agentadmin {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::restriction,
        reason = "generated; documented in the .proto files"
    )]
    pub mod v1 {
        #[cfg(any(feature = "client", feature = "server"))]
        #[allow(unused_imports)]
        use crate::rpc::glue;
        include!("generated/agentadmin.v1.rs");
    }
}

/// What agents call.
pub mod agentgateway {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::restriction,
        reason = "generated; documented in the .proto files"
    )]
    pub mod v1 {
        #[cfg(any(feature = "client", feature = "server"))]
        #[allow(unused_imports)]
        use crate::rpc::glue;
        include!("generated/agentgateway.v1.rs");
    }
}

/// Shared messages, and what operators call besides.
pub mod fleet {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::restriction,
        reason = "generated; documented in the .proto files"
    )]
    pub mod v1 {
        #[cfg(any(feature = "client", feature = "server"))]
        #[allow(unused_imports)]
        use crate::rpc::glue;
        include!("generated/fleet.v1.rs");
    }
}

/// What others have standardized.
pub mod grpc {
    /// The health service of gRPC.
    pub mod health {
        /// Version 1.
        #[allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::restriction,
            rustdoc::bare_urls,
            reason = "generated; documented in the .proto file"
        )]
        pub mod v1 {
            #[cfg(any(feature = "client", feature = "server"))]
            #[allow(unused_imports)]
            use crate::rpc::glue;
            include!("generated/grpc.health.v1.rs");
        }
    }
}

#[allow(unused_variables, clippy::all, clippy::restriction, reason = "generated")]
mod checks {
    include!("generated/checks.rs");
}

#[cfg(test)]
mod rules;
