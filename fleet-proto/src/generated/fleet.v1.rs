// Generated from the .proto files by tests/generate; do not edit.

/// What an organization's root says about it: which keys speak for it, and whose no longer count. The fields are
/// those of the signed transcript `fleet/v1/org-manifest`; the signature is over that transcript, never over these
/// bytes.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.OrgManifest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct OrgManifest {
    #[prost(int64, tag = "1")]
    pub org_id: i64,
    /// 1 to 255 characters.
    #[prost(string, tag = "2")]
    pub org_name: ::prost::alloc::string::String,
    /// Rises with every manifest of the organization.
    #[prost(int64, tag = "3")]
    pub epoch: i64,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub root_pubkey: ::prost::bytes::Bytes,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub command_pubkey: ::prost::bytes::Bytes,
    /// X25519, 32 bytes; absent if the organization has no kit.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub recovery_pubkey: ::core::option::Option<::prost::bytes::Bytes>,
    /// Ed25519, 32 bytes each, strictly ascending.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub operator_pubkeys: ::prost::alloc::vec::Vec<::prost::bytes::Bytes>,
    /// The first 16 bytes of the SHA-256 of each revoked identity key, strictly ascending.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub revoked: ::prost::alloc::vec::Vec<::prost::bytes::Bytes>,
    /// Ed25519 by the root, 64 bytes.
    #[prost(bytes = "bytes", tag = "9")]
    pub signature: ::prost::bytes::Bytes,
}
/// What an organization's root says about one agent. The signature is over the transcript
/// `fleet/v1/agent-certificate`.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.AgentCertificate",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct AgentCertificate {
    #[prost(int64, tag = "1")]
    pub org_id: i64,
    #[prost(int64, tag = "2")]
    pub agent_id: i64,
    /// 1 to 255 characters.
    #[prost(string, tag = "3")]
    pub name: ::prost::alloc::string::String,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub identity_pubkey: ::prost::bytes::Bytes,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub miner_signing_pubkey: ::prost::bytes::Bytes,
    /// X25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "6")]
    pub sealing_pubkey: ::prost::bytes::Bytes,
    /// Starts at 1, rises with every rotation.
    #[prost(int64, tag = "7")]
    pub key_epoch: i64,
    #[prost(message, optional, tag = "8")]
    pub issued_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Ed25519 by the root, 64 bytes.
    #[prost(bytes = "bytes", tag = "9")]
    pub signature: ::prost::bytes::Bytes,
}
/// The payload of a control command. Its kinds will be a oneof; none is defined yet, and an agent acknowledges
/// what it does not know as unsupported.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.AgentCommand",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct AgentCommand {}
/// The typed result of a command. Its kinds will be a oneof; none is defined yet.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.CommandResult",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CommandResult {}
/// The payload of UploadTelemetry.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.TelemetryBatch",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct TelemetryBatch {
    #[prost(message, repeated, tag = "1")]
    pub samples: ::prost::alloc::vec::Vec<Sample>,
}
/// One reading of one miner. What the miner does not report is absent, never zero.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.Sample",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Sample {
    /// `mac:` and 12 lower-case hex digits, or `sn:` and the serial as the device reports it.
    #[prost(string, tag = "1")]
    pub endpoint: ::prost::alloc::string::String,
    /// By the agent's clock.
    #[prost(message, optional, tag = "2")]
    pub taken_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(enumeration = "MinerStatus", tag = "3")]
    pub status: i32,
    /// Hashrate, H/s.
    #[prost(double, optional, tag = "4")]
    pub hashrate_hs: ::core::option::Option<f64>,
    /// Power drawn, W.
    #[prost(double, optional, tag = "5")]
    pub power_w: ::core::option::Option<f64>,
    /// Energy for each 10^12 hashes, J/TH.
    #[prost(double, optional, tag = "6")]
    pub efficiency_j_per_th: ::core::option::Option<f64>,
    /// The hottest sensor on a hashboard or chip, °C.
    #[prost(double, optional, tag = "7")]
    pub temperature_c: ::core::option::Option<f64>,
    /// Fan speeds, RPM, in the miner's own order.
    #[prost(uint32, repeated, tag = "8")]
    pub fan_rpm: ::prost::alloc::vec::Vec<u32>,
    /// Hashboards, in the miner's own order.
    #[prost(message, repeated, tag = "9")]
    pub boards: ::prost::alloc::vec::Vec<BoardSample>,
    /// Time since the miner (or its mining software) started, s.
    #[prost(int64, optional, tag = "10")]
    pub uptime_s: ::core::option::Option<i64>,
}
/// One hashboard in a sample.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.BoardSample",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct BoardSample {
    /// Position, counted from 0 as the miner counts.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Hashrate, H/s.
    #[prost(double, optional, tag = "2")]
    pub hashrate_hs: ::core::option::Option<f64>,
    /// The board's hottest sensor, °C.
    #[prost(double, optional, tag = "3")]
    pub temperature_c: ::core::option::Option<f64>,
    /// Chips that answer.
    #[prost(uint32, optional, tag = "4")]
    pub working_chips: ::core::option::Option<u32>,
}
/// The payload of UploadEvents.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.EventBatch",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct EventBatch {
    #[prost(message, repeated, tag = "1")]
    pub events: ::prost::alloc::vec::Vec<Event>,
}
/// Something that happened at a site.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(message_name = "fleet.v1.Event", descriptor_pool = "crate::DESCRIPTORS")]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Event {
    /// By the agent's clock.
    #[prost(message, optional, tag = "1")]
    pub at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(oneof = "event::Kind", tags = "2, 3")]
    pub kind: ::core::option::Option<event::Kind>,
}
/// Nested message and enum types in `Event`.
pub mod event {
    #[derive(Clone, PartialEq, Eq, Hash, ::prost::Oneof)]
    pub enum Kind {
        /// A miner was seen for the first time since the agent started, or at another address.
        #[prost(message, tag = "2")]
        Discovered(super::MinerDiscovered),
        /// A miner's status changed.
        #[prost(message, tag = "3")]
        StatusChanged(super::MinerStatusChanged),
    }
}
/// A discovery claims nothing: the device belongs to nobody until an operator pairs it.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.MinerDiscovered",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct MinerDiscovered {
    /// As in Sample.
    #[prost(string, tag = "1")]
    pub endpoint: ::prost::alloc::string::String,
    /// Where it answered: IP address and port. For people; the server never connects to it.
    #[prost(string, tag = "2")]
    pub address: ::prost::alloc::string::String,
    /// Maker, for example `WhatsMiner`.
    #[prost(string, tag = "3")]
    pub make: ::prost::alloc::string::String,
    /// Model, for example `M30S+`.
    #[prost(string, tag = "4")]
    pub model: ::prost::alloc::string::String,
    /// Firmware version, as the miner reports it.
    #[prost(string, tag = "5")]
    pub firmware: ::prost::alloc::string::String,
    /// The serial number, where it is not the endpoint.
    #[prost(string, optional, tag = "6")]
    pub serial: ::core::option::Option<::prost::alloc::string::String>,
    /// The MAC address, 6 bytes, where it is not the endpoint.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub mac: ::core::option::Option<::prost::bytes::Bytes>,
    /// Which driver reads it, for example `proto`.
    #[prost(string, tag = "8")]
    pub driver: ::prost::alloc::string::String,
}
/// A miner's status changed.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.MinerStatusChanged",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct MinerStatusChanged {
    /// As in Sample.
    #[prost(string, tag = "1")]
    pub endpoint: ::prost::alloc::string::String,
    /// What it was; absent if nothing was known.
    #[prost(enumeration = "MinerStatus", optional, tag = "2")]
    pub from: ::core::option::Option<i32>,
    /// What it is.
    #[prost(enumeration = "MinerStatus", tag = "3")]
    pub to: i32,
}
/// What a miner is doing, as far as the agent can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum MinerStatus {
    Unspecified = 0,
    /// It hashes.
    Mining = 1,
    /// It answers and does not hash: stopped, idle, or starting up.
    Idle = 2,
    /// It does not answer, or nothing in its answer is live.
    Unreachable = 3,
    /// It answers, and wants credentials that the agent does not have.
    AuthNeeded = 4,
    /// It refuses the credentials that the agent has.
    AuthFailed = 5,
    /// It answers, and reports a fault of its own.
    Fault = 6,
    /// Another device answers at its address.
    IdentityMismatch = 7,
}
impl MinerStatus {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "MINER_STATUS_UNSPECIFIED",
            Self::Mining => "MINER_STATUS_MINING",
            Self::Idle => "MINER_STATUS_IDLE",
            Self::Unreachable => "MINER_STATUS_UNREACHABLE",
            Self::AuthNeeded => "MINER_STATUS_AUTH_NEEDED",
            Self::AuthFailed => "MINER_STATUS_AUTH_FAILED",
            Self::Fault => "MINER_STATUS_FAULT",
            Self::IdentityMismatch => "MINER_STATUS_IDENTITY_MISMATCH",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "MINER_STATUS_UNSPECIFIED" => Some(Self::Unspecified),
            "MINER_STATUS_MINING" => Some(Self::Mining),
            "MINER_STATUS_IDLE" => Some(Self::Idle),
            "MINER_STATUS_UNREACHABLE" => Some(Self::Unreachable),
            "MINER_STATUS_AUTH_NEEDED" => Some(Self::AuthNeeded),
            "MINER_STATUS_AUTH_FAILED" => Some(Self::AuthFailed),
            "MINER_STATUS_FAULT" => Some(Self::Fault),
            "MINER_STATUS_IDENTITY_MISMATCH" => Some(Self::IdentityMismatch),
            _ => None,
        }
    }
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.Device",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Device {
    #[prost(int64, tag = "1")]
    pub device_id: i64,
    /// `mac:` and 12 lower-case hex digits, or `sn:` and the serial.
    #[prost(string, tag = "2")]
    pub endpoint: ::prost::alloc::string::String,
    #[prost(string, tag = "3")]
    pub make: ::prost::alloc::string::String,
    #[prost(string, tag = "4")]
    pub model: ::prost::alloc::string::String,
    #[prost(string, tag = "5")]
    pub firmware: ::prost::alloc::string::String,
    /// Where the serial is not the endpoint.
    #[prost(string, optional, tag = "6")]
    pub serial: ::core::option::Option<::prost::alloc::string::String>,
    /// `aa:bb:cc:dd:ee:ff`, where it is not the endpoint.
    #[prost(string, optional, tag = "7")]
    pub mac: ::core::option::Option<::prost::alloc::string::String>,
    /// Which of the agent's drivers reads it.
    #[prost(string, tag = "8")]
    pub driver: ::prost::alloc::string::String,
    /// Where it answered last, IP address and port.
    #[prost(string, tag = "9")]
    pub address: ::prost::alloc::string::String,
    /// The agent that owns it; 0 if it is not paired.
    #[prost(int64, tag = "10")]
    pub agent_id: i64,
    #[prost(string, tag = "11")]
    pub agent_name: ::prost::alloc::string::String,
    /// The agents that have seen it.
    #[prost(int64, repeated, tag = "12")]
    pub seen_by: ::prost::alloc::vec::Vec<i64>,
    #[prost(message, optional, tag = "13")]
    pub created_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Absent if it is not paired.
    #[prost(message, optional, tag = "14")]
    pub paired_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Absent if there is none.
    #[prost(message, optional, tag = "15")]
    pub latest: ::core::option::Option<Sample>,
    /// When the server received the latest reading.
    #[prost(message, optional, tag = "16")]
    pub latest_received_at: ::core::option::Option<::prost_types::Timestamp>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.PairDevicesRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PairDevicesRequest {
    #[prost(int64, tag = "1")]
    pub agent_id: i64,
    /// These; at most 10,000.
    #[prost(int64, repeated, tag = "2")]
    pub device_ids: ::prost::alloc::vec::Vec<i64>,
    /// Or every unpaired one that the agent has seen.
    #[prost(bool, tag = "3")]
    pub all: bool,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.PairDevicesResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PairDevicesResponse {
    #[prost(int64, repeated, tag = "1")]
    pub paired_device_ids: ::prost::alloc::vec::Vec<i64>,
    #[prost(message, repeated, tag = "2")]
    pub skipped: ::prost::alloc::vec::Vec<SkippedDevice>,
}
/// A device that was not paired.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.SkippedDevice",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SkippedDevice {
    #[prost(int64, tag = "1")]
    pub device_id: i64,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.UnpairDevicesRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UnpairDevicesRequest {
    #[prost(int64, repeated, tag = "1")]
    pub device_ids: ::prost::alloc::vec::Vec<i64>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.UnpairDevicesResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UnpairDevicesResponse {
    #[prost(int64, repeated, tag = "1")]
    pub unpaired_device_ids: ::prost::alloc::vec::Vec<i64>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListDevicesRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListDevicesRequest {
    /// 100 if 0, at most 1000.
    #[prost(int32, tag = "1")]
    pub page_size: i32,
    /// From the answer before.
    #[prost(string, tag = "2")]
    pub page_token: ::prost::alloc::string::String,
    /// Only those that this agent owns or has seen; 0 for all.
    #[prost(int64, tag = "3")]
    pub agent_id: i64,
    /// Only paired, or only unpaired ones.
    #[prost(bool, optional, tag = "4")]
    pub paired: ::core::option::Option<bool>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListDevicesResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListDevicesResponse {
    #[prost(message, repeated, tag = "1")]
    pub devices: ::prost::alloc::vec::Vec<Device>,
    /// Empty on the last page.
    #[prost(string, tag = "2")]
    pub next_page_token: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.GetLatestReadingRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct GetLatestReadingRequest {
    #[prost(int64, tag = "1")]
    pub device_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.GetLatestReadingResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct GetLatestReadingResponse {
    /// Absent if there is none yet.
    #[prost(message, optional, tag = "1")]
    pub reading: ::core::option::Option<Sample>,
    #[prost(message, optional, tag = "2")]
    pub received_at: ::core::option::Option<::prost_types::Timestamp>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListReadingsRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListReadingsRequest {
    #[prost(int64, tag = "1")]
    pub device_id: i64,
    /// Readings taken at this time or later; 24 hours before `until` if absent.
    #[prost(message, optional, tag = "2")]
    pub since: ::core::option::Option<::prost_types::Timestamp>,
    /// Readings taken before this time; now if absent.
    #[prost(message, optional, tag = "3")]
    pub until: ::core::option::Option<::prost_types::Timestamp>,
    /// 1000 if 0, at most 10000.
    #[prost(int32, tag = "4")]
    pub limit: i32,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListReadingsResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListReadingsResponse {
    #[prost(message, repeated, tag = "1")]
    pub readings: ::prost::alloc::vec::Vec<Sample>,
}
/// Steps begin at multiples of themselves since the epoch, and are answered whole: the first holds `since`, the last
/// what is just before `until`.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.DeviceHistoryRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct DeviceHistoryRequest {
    #[prost(int64, tag = "1")]
    pub device_id: i64,
    /// 24 hours before `until` if absent.
    #[prost(message, optional, tag = "2")]
    pub since: ::core::option::Option<::prost_types::Timestamp>,
    /// Now if absent. Before 2262-04-11T23:47:16Z.
    #[prost(message, optional, tag = "3")]
    pub until: ::core::option::Option<::prost_types::Timestamp>,
    /// Whole seconds. Below five minutes it is answered from readings, as long as all of the range is within the time
    /// that these are kept; in every other case from roll-ups, in steps of the next multiple of five minutes. A step that
    /// makes more than 10000 of the range is refused.
    #[prost(message, optional, tag = "4")]
    pub step: ::core::option::Option<::prost_types::Duration>,
    /// Without `step`: the shortest usual step that makes no more of the range; 500 if 0, at most 10000.
    #[prost(int32, tag = "5")]
    pub max_points: i32,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.DeviceHistoryResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeviceHistoryResponse {
    #[prost(message, repeated, tag = "1")]
    pub points: ::prost::alloc::vec::Vec<DevicePoint>,
    /// How long each step is.
    #[prost(message, optional, tag = "2")]
    pub step: ::core::option::Option<::prost_types::Duration>,
    #[prost(enumeration = "HistorySource", tag = "3")]
    pub source: i32,
}
/// One step of a device's history. What it never reported in it is absent, never zero.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.DevicePoint",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct DevicePoint {
    #[prost(message, optional, tag = "1")]
    pub start: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub duration: ::core::option::Option<::prost_types::Duration>,
    /// Readings in it, at least 1.
    #[prost(int64, tag = "3")]
    pub samples: i64,
    /// The share of the time, as far as it is known, in which it mined, 0 to 1.
    #[prost(double, tag = "4")]
    pub mining_share: f64,
    /// The share in which it did not answer, 0 to 1.
    #[prost(double, tag = "5")]
    pub unreachable_share: f64,
    /// H/s.
    #[prost(message, optional, tag = "6")]
    pub hashrate_hs: ::core::option::Option<Spread>,
    /// W.
    #[prost(message, optional, tag = "7")]
    pub power_w: ::core::option::Option<Spread>,
    /// The hottest sensor, °C.
    #[prost(message, optional, tag = "8")]
    pub temperature_c: ::core::option::Option<Spread>,
    /// The least uptime that it reported, s: less than `duration` if it has restarted.
    #[prost(int64, optional, tag = "9")]
    pub min_uptime_s: ::core::option::Option<i64>,
}
/// Each five minutes of a step weigh the same in the average, however many readings they have.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.Spread",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Spread {
    #[prost(double, tag = "1")]
    pub average: f64,
    #[prost(double, tag = "2")]
    pub min: f64,
    #[prost(double, tag = "3")]
    pub max: f64,
}
/// Steps as in DeviceHistoryRequest, from roll-ups.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.FleetHistoryRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct FleetHistoryRequest {
    /// 24 hours before `until` if absent.
    #[prost(message, optional, tag = "1")]
    pub since: ::core::option::Option<::prost_types::Timestamp>,
    /// Now if absent. At most 31 days after `since`.
    #[prost(message, optional, tag = "2")]
    pub until: ::core::option::Option<::prost_types::Timestamp>,
    /// Whole seconds; five minutes, or the next multiple of that. A step that makes more than 10000 of the range is
    /// refused.
    #[prost(message, optional, tag = "3")]
    pub step: ::core::option::Option<::prost_types::Duration>,
    /// Without `step`: the shortest usual step that makes no more of the range; 500 if 0, at most 10000.
    #[prost(int32, tag = "4")]
    pub max_points: i32,
    /// Only devices that this agent owns now; 0 for all, also those that nobody owns any more.
    #[prost(int64, tag = "5")]
    pub agent_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.FleetHistoryResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct FleetHistoryResponse {
    #[prost(message, repeated, tag = "1")]
    pub points: ::prost::alloc::vec::Vec<FleetPoint>,
    /// How long each step is.
    #[prost(message, optional, tag = "2")]
    pub step: ::core::option::Option<::prost_types::Duration>,
    #[prost(enumeration = "HistorySource", tag = "3")]
    pub source: i32,
}
/// One step of the fleet's history. Five minutes in which a device did not report count nothing for it, those in which
/// no device did are not counted at all.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.FleetPoint",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct FleetPoint {
    #[prost(message, optional, tag = "1")]
    pub start: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub duration: ::core::option::Option<::prost_types::Duration>,
    /// The sum over devices of the average, H/s; absent if none reported one.
    #[prost(double, optional, tag = "3")]
    pub hashrate_hs: ::core::option::Option<f64>,
    /// The sum over devices of the average, W; absent if none reported one.
    #[prost(double, optional, tag = "4")]
    pub power_w: ::core::option::Option<f64>,
    /// Devices that reported in it.
    #[prost(int64, tag = "5")]
    pub devices_reporting: i64,
    /// Devices that mined at some time in it.
    #[prost(int64, tag = "6")]
    pub devices_mining: i64,
}
/// What a history is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum HistorySource {
    Unspecified = 0,
    /// The readings themselves.
    Readings = 1,
    /// Roll-ups: five minutes of readings at a time.
    RollUps = 2,
}
impl HistorySource {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "HISTORY_SOURCE_UNSPECIFIED",
            Self::Readings => "HISTORY_SOURCE_READINGS",
            Self::RollUps => "HISTORY_SOURCE_ROLL_UPS",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "HISTORY_SOURCE_UNSPECIFIED" => Some(Self::Unspecified),
            "HISTORY_SOURCE_READINGS" => Some(Self::Readings),
            "HISTORY_SOURCE_ROLL_UPS" => Some(Self::RollUps),
            _ => None,
        }
    }
}
/// Devices and who owns them. Every call needs an operator's credentials.
#[cfg(feature = "server")]
pub trait DeviceService: Send + Sync + 'static {
    /// Gives devices to an agent that has seen them. From then on its readings of them are stored. All or, if the
    /// request is refused, none.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn pair_devices(
        &self,
        context: crate::rpc::Context,
        request: PairDevicesRequest,
    ) -> impl ::core::future::Future<
        Output = Result<PairDevicesResponse, crate::rpc::Status>,
    > + Send;
    /// Takes devices from whoever owns them. Their history stays.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn unpair_devices(
        &self,
        context: crate::rpc::Context,
        request: UnpairDevicesRequest,
    ) -> impl ::core::future::Future<
        Output = Result<UnpairDevicesResponse, crate::rpc::Status>,
    > + Send;
    /// Devices that some agent has seen, by id.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_devices(
        &self,
        context: crate::rpc::Context,
        request: ListDevicesRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListDevicesResponse, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`DeviceService`].
#[cfg(feature = "server")]
pub struct DeviceServiceServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: DeviceService> DeviceServiceServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for DeviceServiceServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("DeviceServiceServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: DeviceService> crate::rpc::Service for DeviceServiceServer<T> {}
#[cfg(feature = "server")]
impl<T: DeviceService> glue::Dispatcher for DeviceServiceServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "fleet.v1.DeviceService/PairDevices" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_device_service::DEVICE_SERVICE_PAIR_DEVICES)
                }
                "fleet.v1.DeviceService/UnpairDevices" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_device_service::DEVICE_SERVICE_UNPAIR_DEVICES)
                }
                "fleet.v1.DeviceService/ListDevices" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_device_service::DEVICE_SERVICE_LIST_DEVICES)
                }
                _ => return None,
            },
        )
    }
    fn call_unary(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::Payload,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        match path {
            "fleet.v1.DeviceService/PairDevices" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .pair_devices(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.DeviceService/UnpairDevices" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .unpair_devices(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.DeviceService/ListDevices" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_devices(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
    fn call_server_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: ::bytes::Bytes,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_client_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
}
#[cfg(any(feature = "client", feature = "server"))]
mod spec_device_service {
    use crate::rpc::glue;
    pub(super) const DEVICE_SERVICE_PAIR_DEVICES: glue::Spec = glue::Spec::server(
            "/fleet.v1.DeviceService/PairDevices",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const DEVICE_SERVICE_UNPAIR_DEVICES: glue::Spec = glue::Spec::server(
            "/fleet.v1.DeviceService/UnpairDevices",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const DEVICE_SERVICE_LIST_DEVICES: glue::Spec = glue::Spec::server(
            "/fleet.v1.DeviceService/ListDevices",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
}
/// Calls `fleet.v1.DeviceService`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct DeviceServiceClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl DeviceServiceClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// Gives devices to an agent that has seen them. From then on its readings of them are stored. All or, if the
    /// request is refused, none.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn pair_devices(
        &self,
        request: PairDevicesRequest,
    ) -> Result<PairDevicesResponse, crate::rpc::Status> {
        self.0.unary(spec_device_service::DEVICE_SERVICE_PAIR_DEVICES, request).await
    }
    /// Takes devices from whoever owns them. Their history stays.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn unpair_devices(
        &self,
        request: UnpairDevicesRequest,
    ) -> Result<UnpairDevicesResponse, crate::rpc::Status> {
        self.0.unary(spec_device_service::DEVICE_SERVICE_UNPAIR_DEVICES, request).await
    }
    /// Devices that some agent has seen, by id.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_devices(
        &self,
        request: ListDevicesRequest,
    ) -> Result<ListDevicesResponse, crate::rpc::Status> {
        self.0.unary(spec_device_service::DEVICE_SERVICE_LIST_DEVICES, request).await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const DEVICE_SERVICE_PROCEDURES: [&str; 3] = [
    "fleet.v1.DeviceService/PairDevices",
    "fleet.v1.DeviceService/UnpairDevices",
    "fleet.v1.DeviceService/ListDevices",
];
/// Readings of paired devices. Every call needs an operator's credentials.
#[cfg(feature = "server")]
pub trait TelemetryService: Send + Sync + 'static {
    /// The newest reading of a device.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn get_latest_reading(
        &self,
        context: crate::rpc::Context,
        request: GetLatestReadingRequest,
    ) -> impl ::core::future::Future<
        Output = Result<GetLatestReadingResponse, crate::rpc::Status>,
    > + Send;
    /// Readings of a device between two times, newest first.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_readings(
        &self,
        context: crate::rpc::Context,
        request: ListReadingsRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListReadingsResponse, crate::rpc::Status>,
    > + Send;
    /// What a device did between two times, in steps: averages, least and greatest, oldest first. Steps in which it did
    /// not report are left out.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn device_history(
        &self,
        context: crate::rpc::Context,
        request: DeviceHistoryRequest,
    ) -> impl ::core::future::Future<
        Output = Result<DeviceHistoryResponse, crate::rpc::Status>,
    > + Send;
    /// What all devices did together between two times, in steps: the sum over devices of each one's average, oldest
    /// first. Steps in which none reported are left out.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn fleet_history(
        &self,
        context: crate::rpc::Context,
        request: FleetHistoryRequest,
    ) -> impl ::core::future::Future<
        Output = Result<FleetHistoryResponse, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`TelemetryService`].
#[cfg(feature = "server")]
pub struct TelemetryServiceServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: TelemetryService> TelemetryServiceServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for TelemetryServiceServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("TelemetryServiceServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: TelemetryService> crate::rpc::Service for TelemetryServiceServer<T> {}
#[cfg(feature = "server")]
impl<T: TelemetryService> glue::Dispatcher for TelemetryServiceServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "fleet.v1.TelemetryService/GetLatestReading" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_telemetry_service::TELEMETRY_SERVICE_GET_LATEST_READING,
                        )
                }
                "fleet.v1.TelemetryService/ListReadings" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_telemetry_service::TELEMETRY_SERVICE_LIST_READINGS,
                        )
                }
                "fleet.v1.TelemetryService/DeviceHistory" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_telemetry_service::TELEMETRY_SERVICE_DEVICE_HISTORY,
                        )
                }
                "fleet.v1.TelemetryService/FleetHistory" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_telemetry_service::TELEMETRY_SERVICE_FLEET_HISTORY,
                        )
                }
                _ => return None,
            },
        )
    }
    fn call_unary(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::Payload,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        match path {
            "fleet.v1.TelemetryService/GetLatestReading" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .get_latest_reading(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.TelemetryService/ListReadings" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_readings(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.TelemetryService/DeviceHistory" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .device_history(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.TelemetryService/FleetHistory" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .fleet_history(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
    fn call_server_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: ::bytes::Bytes,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_client_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
}
#[cfg(any(feature = "client", feature = "server"))]
mod spec_telemetry_service {
    use crate::rpc::glue;
    pub(super) const TELEMETRY_SERVICE_GET_LATEST_READING: glue::Spec = glue::Spec::server(
            "/fleet.v1.TelemetryService/GetLatestReading",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const TELEMETRY_SERVICE_LIST_READINGS: glue::Spec = glue::Spec::server(
            "/fleet.v1.TelemetryService/ListReadings",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const TELEMETRY_SERVICE_DEVICE_HISTORY: glue::Spec = glue::Spec::server(
            "/fleet.v1.TelemetryService/DeviceHistory",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const TELEMETRY_SERVICE_FLEET_HISTORY: glue::Spec = glue::Spec::server(
            "/fleet.v1.TelemetryService/FleetHistory",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
}
/// Calls `fleet.v1.TelemetryService`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct TelemetryServiceClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl TelemetryServiceClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// The newest reading of a device.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn get_latest_reading(
        &self,
        request: GetLatestReadingRequest,
    ) -> Result<GetLatestReadingResponse, crate::rpc::Status> {
        self.0
            .unary(spec_telemetry_service::TELEMETRY_SERVICE_GET_LATEST_READING, request)
            .await
    }
    /// Readings of a device between two times, newest first.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_readings(
        &self,
        request: ListReadingsRequest,
    ) -> Result<ListReadingsResponse, crate::rpc::Status> {
        self.0
            .unary(spec_telemetry_service::TELEMETRY_SERVICE_LIST_READINGS, request)
            .await
    }
    /// What a device did between two times, in steps: averages, least and greatest, oldest first. Steps in which it did
    /// not report are left out.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn device_history(
        &self,
        request: DeviceHistoryRequest,
    ) -> Result<DeviceHistoryResponse, crate::rpc::Status> {
        self.0
            .unary(spec_telemetry_service::TELEMETRY_SERVICE_DEVICE_HISTORY, request)
            .await
    }
    /// What all devices did together between two times, in steps: the sum over devices of each one's average, oldest
    /// first. Steps in which none reported are left out.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn fleet_history(
        &self,
        request: FleetHistoryRequest,
    ) -> Result<FleetHistoryResponse, crate::rpc::Status> {
        self.0
            .unary(spec_telemetry_service::TELEMETRY_SERVICE_FLEET_HISTORY, request)
            .await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const TELEMETRY_SERVICE_PROCEDURES: [&str; 4] = [
    "fleet.v1.TelemetryService/GetLatestReading",
    "fleet.v1.TelemetryService/ListReadings",
    "fleet.v1.TelemetryService/DeviceHistory",
    "fleet.v1.TelemetryService/FleetHistory",
];
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.SetUpRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct SetUpRequest {
    /// From the link that the server printed, 43 characters.
    #[prost(string, tag = "1")]
    pub setup_token: ::prost::alloc::string::String,
    /// 1 to 255 characters.
    #[prost(string, tag = "2")]
    pub organization: ::prost::alloc::string::String,
    /// The first operator's login name, 1 to 64 characters; case does not matter.
    #[prost(string, tag = "3")]
    pub user_name: ::prost::alloc::string::String,
    /// 12 to 512 characters.
    #[prost(string, tag = "4")]
    pub password: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.SetUpResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetUpResponse {
    #[prost(int64, tag = "1")]
    pub org_id: i64,
    #[prost(int64, tag = "2")]
    pub user_id: i64,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.LoginRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct LoginRequest {
    #[prost(string, tag = "1")]
    pub user_name: ::prost::alloc::string::String,
    #[prost(string, tag = "2")]
    pub password: ::prost::alloc::string::String,
    /// The organization to act for, by id or by name in whatever case; an id goes before a name. Empty for the one that
    /// the operator has belonged to the longest.
    #[prost(string, tag = "3")]
    pub organization: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.LoginResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct LoginResponse {
    /// 43 base64url characters, for `Authorization: Bearer`.
    #[prost(string, tag = "1")]
    pub session_token: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    /// What the token acts for.
    #[prost(message, optional, tag = "3")]
    pub organization: ::core::option::Option<Organization>,
}
/// An organization that an operator belongs to.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.Organization",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Organization {
    #[prost(int64, tag = "1")]
    pub org_id: i64,
    #[prost(string, tag = "2")]
    pub name: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.SelectOrganizationRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SelectOrganizationRequest {
    /// By id or by name in whatever case; an id goes before a name.
    #[prost(string, tag = "1")]
    pub organization: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.SelectOrganizationResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct SelectOrganizationResponse {
    /// 43 base64url characters, for `Authorization: Bearer`.
    #[prost(string, tag = "1")]
    pub session_token: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    /// What the token acts for.
    #[prost(message, optional, tag = "3")]
    pub organization: ::core::option::Option<Organization>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ChangePasswordRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct ChangePasswordRequest {
    #[prost(string, tag = "1")]
    pub old_password: ::prost::alloc::string::String,
    /// 12 to 512 characters.
    #[prost(string, tag = "2")]
    pub new_password: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ChangePasswordResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ChangePasswordResponse {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.LogoutRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LogoutRequest {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.LogoutResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LogoutResponse {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.WhoAmIRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct WhoAmIRequest {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.WhoAmIResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct WhoAmIResponse {
    #[prost(int64, tag = "1")]
    pub user_id: i64,
    #[prost(string, tag = "2")]
    pub user_name: ::prost::alloc::string::String,
    #[prost(int64, tag = "3")]
    pub org_id: i64,
    #[prost(string, tag = "4")]
    pub organization: ::prost::alloc::string::String,
    /// The 8 digits of the api_key that makes the call; empty for a login.
    #[prost(string, tag = "5")]
    pub api_key_digits: ::prost::alloc::string::String,
    /// All organizations of the operator, the one that they have belonged to the longest first. With an api_key the one
    /// alone that it acts for.
    #[prost(message, repeated, tag = "6")]
    pub organizations: ::prost::alloc::vec::Vec<Organization>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.CreateApiKeyRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CreateApiKeyRequest {
    /// What it is for, 1 to 255 characters.
    #[prost(string, tag = "1")]
    pub label: ::prost::alloc::string::String,
    /// How long it is good for: 1 minute to 10 years; for ever if absent.
    #[prost(message, optional, tag = "2")]
    pub ttl: ::core::option::Option<::prost_types::Duration>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.CreateApiKeyResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
#[prost(skip_debug)]
pub struct CreateApiKeyResponse {
    /// Shown once.
    #[prost(string, tag = "1")]
    pub api_key: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub info: ::core::option::Option<ApiKey>,
}
/// An operator's api_key, without its secret.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ApiKey",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ApiKey {
    /// The 8 hex digits after `fleet_`.
    #[prost(string, tag = "1")]
    pub digits: ::prost::alloc::string::String,
    #[prost(string, tag = "2")]
    pub label: ::prost::alloc::string::String,
    #[prost(int64, tag = "3")]
    pub user_id: i64,
    #[prost(message, optional, tag = "4")]
    pub created_at: ::core::option::Option<::prost_types::Timestamp>,
    /// Absent if it does not expire.
    #[prost(message, optional, tag = "5")]
    pub expires_at: ::core::option::Option<::prost_types::Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub last_used_at: ::core::option::Option<::prost_types::Timestamp>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListApiKeysRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListApiKeysRequest {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListApiKeysResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListApiKeysResponse {
    #[prost(message, repeated, tag = "1")]
    pub api_keys: ::prost::alloc::vec::Vec<ApiKey>,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.RevokeApiKeyRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RevokeApiKeyRequest {
    /// The 8 hex digits after `fleet_`.
    #[prost(string, tag = "1")]
    pub digits: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.RevokeApiKeyResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RevokeApiKeyResponse {}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListActivityRequest",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListActivityRequest {
    /// 100 if 0, at most 1000.
    #[prost(int32, tag = "1")]
    pub page_size: i32,
    /// From the answer before.
    #[prost(string, tag = "2")]
    pub page_token: ::prost::alloc::string::String,
}
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.ListActivityResponse",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListActivityResponse {
    #[prost(message, repeated, tag = "1")]
    pub activities: ::prost::alloc::vec::Vec<Activity>,
    /// Empty on the last page.
    #[prost(string, tag = "2")]
    pub next_page_token: ::prost::alloc::string::String,
}
/// One line of the activity log.
#[derive(::prost_reflect::ReflectMessage)]
#[prost_reflect(
    message_name = "fleet.v1.Activity",
    descriptor_pool = "crate::DESCRIPTORS"
)]
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Activity {
    #[prost(message, optional, tag = "1")]
    pub at: ::core::option::Option<::prost_types::Timestamp>,
    /// `user:` and an id, `key:` and 8 hex digits, or `system`.
    #[prost(string, tag = "2")]
    pub actor: ::prost::alloc::string::String,
    /// What happened, for example `agent_confirmed`.
    #[prost(string, tag = "3")]
    pub kind: ::prost::alloc::string::String,
    /// The agent concerned, 0 for none.
    #[prost(int64, tag = "4")]
    pub agent_id: i64,
    /// The enrollment concerned, 0 for none.
    #[prost(int64, tag = "5")]
    pub pending_enrollment_id: i64,
    /// The device concerned, 0 for none.
    #[prost(int64, tag = "6")]
    pub device_id: i64,
    /// For people.
    #[prost(string, tag = "7")]
    pub detail: ::prost::alloc::string::String,
}
/// Operators' accounts. SetUp and Login carry their own credentials; every other call needs `Authorization: Bearer`
/// with the token of a login or an operator's api_key. An operator may belong to several organizations; a login's token
/// and an api_key act for exactly one.
#[cfg(feature = "server")]
pub trait OperatorService: Send + Sync + 'static {
    /// Makes the organization and its first operator, once, with the token of the set-up link.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn set_up(
        &self,
        context: crate::rpc::Context,
        request: SetUpRequest,
    ) -> impl ::core::future::Future<
        Output = Result<SetUpResponse, crate::rpc::Status>,
    > + Send;
    /// See the .proto file.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn login(
        &self,
        context: crate::rpc::Context,
        request: LoginRequest,
    ) -> impl ::core::future::Future<
        Output = Result<LoginResponse, crate::rpc::Status>,
    > + Send;
    /// Goes on in another of the operator's organizations, without a password: answers a new token that acts for it and
    /// ends the login that makes the call. The new token ends when the old one would have. An api_key cannot.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn select_organization(
        &self,
        context: crate::rpc::Context,
        request: SelectOrganizationRequest,
    ) -> impl ::core::future::Future<
        Output = Result<SelectOrganizationResponse, crate::rpc::Status>,
    > + Send;
    /// Ends all other logins of the operator, in every organization. Their api_keys stay. An api_key cannot.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn change_password(
        &self,
        context: crate::rpc::Context,
        request: ChangePasswordRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ChangePasswordResponse, crate::rpc::Status>,
    > + Send;
    /// Ends the login that makes the call. An api_key is revoked instead.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn logout(
        &self,
        context: crate::rpc::Context,
        request: LogoutRequest,
    ) -> impl ::core::future::Future<
        Output = Result<LogoutResponse, crate::rpc::Status>,
    > + Send;
    /// See the .proto file.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn who_am_i(
        &self,
        context: crate::rpc::Context,
        request: WhoAmIRequest,
    ) -> impl ::core::future::Future<
        Output = Result<WhoAmIResponse, crate::rpc::Status>,
    > + Send;
    /// Makes an api_key for scripts. It is shown once.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn create_api_key(
        &self,
        context: crate::rpc::Context,
        request: CreateApiKeyRequest,
    ) -> impl ::core::future::Future<
        Output = Result<CreateApiKeyResponse, crate::rpc::Status>,
    > + Send;
    /// See the .proto file.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_api_keys(
        &self,
        context: crate::rpc::Context,
        request: ListApiKeysRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListApiKeysResponse, crate::rpc::Status>,
    > + Send;
    /// See the .proto file.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn revoke_api_key(
        &self,
        context: crate::rpc::Context,
        request: RevokeApiKeyRequest,
    ) -> impl ::core::future::Future<
        Output = Result<RevokeApiKeyResponse, crate::rpc::Status>,
    > + Send;
    /// Who did what, newest first.
    ///
    /// # Cancel safety
    /// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
    /// is `Send`; a panic is answered as `internal`.
    fn list_activity(
        &self,
        context: crate::rpc::Context,
        request: ListActivityRequest,
    ) -> impl ::core::future::Future<
        Output = Result<ListActivityResponse, crate::rpc::Status>,
    > + Send;
}
/// Serves an implementation of [`OperatorService`].
#[cfg(feature = "server")]
pub struct OperatorServiceServer<T>(::std::sync::Arc<T>);
#[cfg(feature = "server")]
impl<T: OperatorService> OperatorServiceServer<T> {
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {
        Self(service)
    }
}
#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for OperatorServiceServer<T> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("OperatorServiceServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "server")]
impl<T: OperatorService> crate::rpc::Service for OperatorServiceServer<T> {}
#[cfg(feature = "server")]
impl<T: OperatorService> glue::Dispatcher for OperatorServiceServer<T> {
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {
        Some(
            match path {
                "fleet.v1.OperatorService/SetUp" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_SET_UP)
                }
                "fleet.v1.OperatorService/Login" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_LOGIN)
                }
                "fleet.v1.OperatorService/SelectOrganization" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_operator_service::OPERATOR_SERVICE_SELECT_ORGANIZATION,
                        )
                }
                "fleet.v1.OperatorService/ChangePassword" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_operator_service::OPERATOR_SERVICE_CHANGE_PASSWORD,
                        )
                }
                "fleet.v1.OperatorService/Logout" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_LOGOUT)
                }
                "fleet.v1.OperatorService/WhoAmI" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_WHO_AM_I)
                }
                "fleet.v1.OperatorService/CreateApiKey" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_operator_service::OPERATOR_SERVICE_CREATE_API_KEY,
                        )
                }
                "fleet.v1.OperatorService/ListApiKeys" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_LIST_API_KEYS)
                }
                "fleet.v1.OperatorService/RevokeApiKey" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(
                            spec_operator_service::OPERATOR_SERVICE_REVOKE_API_KEY,
                        )
                }
                "fleet.v1.OperatorService/ListActivity" => {
                    glue::MethodDescriptor::unary(false)
                        .with_spec(spec_operator_service::OPERATOR_SERVICE_LIST_ACTIVITY)
                }
                _ => return None,
            },
        )
    }
    fn call_unary(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::Payload,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        match path {
            "fleet.v1.OperatorService/SetUp" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .set_up(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/Login" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .login(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/SelectOrganization" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .select_organization(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/ChangePassword" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .change_password(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/Logout" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .logout(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/WhoAmI" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .who_am_i(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/CreateApiKey" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .create_api_key(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/ListApiKeys" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_api_keys(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/RevokeApiKey" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .revoke_api_key(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            "fleet.v1.OperatorService/ListActivity" => {
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {
                    let request = glue::decode(&request.encoded()?, format, true)?;
                    let response = service
                        .list_activity(glue::context(context), request)
                        .await
                        .map_err(glue::error)?;
                    glue::encode(response, format)
                })
            }
            _ => glue::missing(path),
        }
    }
    fn call_server_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: ::bytes::Bytes,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_client_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::UnaryResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        context: glue::RequestContext,
        request: glue::RequestStream,
        format: glue::CodecFormat,
    ) -> glue::StreamingResult {
        let _ = (context, request, format);
        glue::missing(path)
    }
}
#[cfg(any(feature = "client", feature = "server"))]
mod spec_operator_service {
    use crate::rpc::glue;
    pub(super) const OPERATOR_SERVICE_SET_UP: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/SetUp",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_LOGIN: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/Login",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_SELECT_ORGANIZATION: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/SelectOrganization",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_CHANGE_PASSWORD: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/ChangePassword",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_LOGOUT: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/Logout",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_WHO_AM_I: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/WhoAmI",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const OPERATOR_SERVICE_CREATE_API_KEY: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/CreateApiKey",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_LIST_API_KEYS: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/ListApiKeys",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
    pub(super) const OPERATOR_SERVICE_REVOKE_API_KEY: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/RevokeApiKey",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::Unknown);
    pub(super) const OPERATOR_SERVICE_LIST_ACTIVITY: glue::Spec = glue::Spec::server(
            "/fleet.v1.OperatorService/ListActivity",
            glue::StreamType::Unary,
        )
        .with_idempotency_level(glue::IdempotencyLevel::NoSideEffects);
}
/// Calls `fleet.v1.OperatorService`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct OperatorServiceClient(crate::rpc::Channel);
#[cfg(feature = "client")]
impl OperatorServiceClient {
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {
        Self(channel)
    }
    /// Makes the organization and its first operator, once, with the token of the set-up link.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn set_up(
        &self,
        request: SetUpRequest,
    ) -> Result<SetUpResponse, crate::rpc::Status> {
        self.0.unary(spec_operator_service::OPERATOR_SERVICE_SET_UP, request).await
    }
    /// See the .proto file.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn login(
        &self,
        request: LoginRequest,
    ) -> Result<LoginResponse, crate::rpc::Status> {
        self.0.unary(spec_operator_service::OPERATOR_SERVICE_LOGIN, request).await
    }
    /// Goes on in another of the operator's organizations, without a password: answers a new token that acts for it and
    /// ends the login that makes the call. The new token ends when the old one would have. An api_key cannot.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn select_organization(
        &self,
        request: SelectOrganizationRequest,
    ) -> Result<SelectOrganizationResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_SELECT_ORGANIZATION, request)
            .await
    }
    /// Ends all other logins of the operator, in every organization. Their api_keys stay. An api_key cannot.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn change_password(
        &self,
        request: ChangePasswordRequest,
    ) -> Result<ChangePasswordResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_CHANGE_PASSWORD, request)
            .await
    }
    /// Ends the login that makes the call. An api_key is revoked instead.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn logout(
        &self,
        request: LogoutRequest,
    ) -> Result<LogoutResponse, crate::rpc::Status> {
        self.0.unary(spec_operator_service::OPERATOR_SERVICE_LOGOUT, request).await
    }
    /// See the .proto file.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn who_am_i(
        &self,
        request: WhoAmIRequest,
    ) -> Result<WhoAmIResponse, crate::rpc::Status> {
        self.0.unary(spec_operator_service::OPERATOR_SERVICE_WHO_AM_I, request).await
    }
    /// Makes an api_key for scripts. It is shown once.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn create_api_key(
        &self,
        request: CreateApiKeyRequest,
    ) -> Result<CreateApiKeyResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_CREATE_API_KEY, request)
            .await
    }
    /// See the .proto file.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_api_keys(
        &self,
        request: ListApiKeysRequest,
    ) -> Result<ListApiKeysResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_LIST_API_KEYS, request)
            .await
    }
    /// See the .proto file.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn revoke_api_key(
        &self,
        request: RevokeApiKeyRequest,
    ) -> Result<RevokeApiKeyResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_REVOKE_API_KEY, request)
            .await
    }
    /// Who did what, newest first.
    ///
    /// # Errors
    /// [`Status`](crate::rpc::Status).
    ///
    /// # Cancel safety
    /// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn list_activity(
        &self,
        request: ListActivityRequest,
    ) -> Result<ListActivityResponse, crate::rpc::Status> {
        self.0
            .unary(spec_operator_service::OPERATOR_SERVICE_LIST_ACTIVITY, request)
            .await
    }
}
/// Every procedure of the service, as `package.Service/Method`.
pub const OPERATOR_SERVICE_PROCEDURES: [&str; 10] = [
    "fleet.v1.OperatorService/SetUp",
    "fleet.v1.OperatorService/Login",
    "fleet.v1.OperatorService/SelectOrganization",
    "fleet.v1.OperatorService/ChangePassword",
    "fleet.v1.OperatorService/Logout",
    "fleet.v1.OperatorService/WhoAmI",
    "fleet.v1.OperatorService/CreateApiKey",
    "fleet.v1.OperatorService/ListApiKeys",
    "fleet.v1.OperatorService/RevokeApiKey",
    "fleet.v1.OperatorService/ListActivity",
];
impl ::core::fmt::Debug for SetUpRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("SetUpRequest")
            .field("organization", &self.organization)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user_name", &self.user_name)
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for LoginResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("LoginResponse")
            .field("expires_at", &self.expires_at)
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for SelectOrganizationResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("SelectOrganizationResponse")
            .field("expires_at", &self.expires_at)
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for ChangePasswordRequest {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("ChangePasswordRequest").finish_non_exhaustive()
    }
}
impl ::core::fmt::Debug for CreateApiKeyResponse {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CreateApiKeyResponse")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
