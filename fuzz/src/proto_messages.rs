//! Every message that there is: what agents, operators, their servers and probes send each other.

use core::fmt::Debug;

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::keys::Signature;
use fleet_core::manifest::SignedManifest;
use fleet_core::telemetry::Sample;
use fleet_proto::agentgateway::v1;
use fleet_proto::convert::{sample_from_message, sample_to_message};
use fleet_proto::grpc::health::v1 as health;
use fleet_proto::validate::Validate;
use fleet_proto::{agentadmin::v1 as admin, fleet::v1 as fleet};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, ReflectMessage};

use crate::{Outcome, payloads};

/// One message, and what is done with it.
struct Entry {
    name: fn() -> String,
    run: fn(&[u8]) -> Outcome,
}

/// A message that stands for a type of the domain, or holds one.
const fn with<M>(run: fn(&[u8]) -> Outcome) -> Entry
where
    M: Default + ReflectMessage,
{
    Entry { name: || M::default().descriptor().full_name().to_owned(), run }
}

/// A message that callers take as it is.
const fn wire<M>() -> Entry
where
    M: Message + Default + PartialEq + Validate + ReflectMessage,
{
    with::<M>(wire_only::<M>)
}

/// The first byte of an input is a place in this list, so new messages are added at its end.
const MESSAGES: &[Entry] = &[
    with::<v1::RegisterRequest>(|wire| domain::<v1::RegisterRequest, RegisterRequest>(wire, same, |_| ())),
    with::<v1::RegisterResponse>(|wire| {
        domain::<v1::RegisterResponse, RegisterResponse>(wire, canonical_fingerprint, |response| {
            manifest(&response.manifest);
        })
    }),
    with::<v1::BeginAuthHandshakeRequest>(|wire| {
        domain::<v1::BeginAuthHandshakeRequest, BeginRequest>(wire, same, |_| ())
    }),
    with::<v1::BeginAuthHandshakeResponse>(|wire| {
        domain::<v1::BeginAuthHandshakeResponse, BeginResponse>(wire, same, |response| {
            manifest(&response.manifest);
            certificate(&response.certificate, &response.manifest);
        })
    }),
    with::<v1::CompleteAuthHandshakeRequest>(|wire| {
        domain::<v1::CompleteAuthHandshakeRequest, CompleteRequest>(wire, same, |_| ())
    }),
    with::<v1::CompleteAuthHandshakeResponse>(|wire| {
        domain::<v1::CompleteAuthHandshakeResponse, CompleteResponse>(wire, same, |_| ())
    }),
    wire::<v1::UploadTelemetryRequest>(),
    wire::<v1::UploadTelemetryResponse>(),
    wire::<v1::UploadEventsRequest>(),
    wire::<v1::UploadEventsResponse>(),
    wire::<v1::UploadHeartbeatRequest>(),
    wire::<v1::UploadHeartbeatResponse>(),
    wire::<v1::ControlStreamRequest>(),
    wire::<v1::ControlStreamResponse>(),
    wire::<v1::ControlHello>(),
    wire::<v1::ControlAccepted>(),
    wire::<v1::ControlGoaway>(),
    wire::<v1::ControlCommand>(),
    wire::<v1::ControlAck>(),
    // What operators call to enroll and end agents.
    wire::<admin::Agent>(),
    wire::<admin::Enrollment>(),
    wire::<admin::CreateEnrollmentCodeRequest>(),
    wire::<admin::CreateEnrollmentCodeResponse>(),
    wire::<admin::CancelEnrollmentRequest>(),
    wire::<admin::CancelEnrollmentResponse>(),
    wire::<admin::ListEnrollmentsRequest>(),
    wire::<admin::ListEnrollmentsResponse>(),
    wire::<admin::ListAgentsRequest>(),
    wire::<admin::ListAgentsResponse>(),
    wire::<admin::GetAgentRequest>(),
    wire::<admin::GetAgentResponse>(),
    with::<admin::ConfirmAgentRequest>(confirm_agent),
    wire::<admin::ConfirmAgentResponse>(),
    wire::<admin::RevokeAgentRequest>(),
    wire::<admin::RevokeAgentResponse>(),
    // What messages share, and what operators call besides.
    with::<fleet::OrgManifest>(org_manifest),
    with::<fleet::AgentCertificate>(agent_certificate),
    with::<fleet::TelemetryBatch>(|wire| batch::<fleet::TelemetryBatch>(wire, payloads::samples)),
    with::<fleet::Sample>(sample),
    wire::<fleet::BoardSample>(),
    with::<fleet::EventBatch>(|wire| batch::<fleet::EventBatch>(wire, payloads::events)),
    with::<fleet::Event>(event),
    wire::<fleet::MinerDiscovered>(),
    wire::<fleet::MinerStatusChanged>(),
    wire::<fleet::AgentCommand>(),
    wire::<fleet::CommandResult>(),
    wire::<fleet::Device>(),
    wire::<fleet::PairDevicesRequest>(),
    wire::<fleet::PairDevicesResponse>(),
    wire::<fleet::SkippedDevice>(),
    wire::<fleet::UnpairDevicesRequest>(),
    wire::<fleet::UnpairDevicesResponse>(),
    wire::<fleet::ListDevicesRequest>(),
    wire::<fleet::ListDevicesResponse>(),
    wire::<fleet::GetLatestReadingRequest>(),
    wire::<fleet::GetLatestReadingResponse>(),
    wire::<fleet::ListReadingsRequest>(),
    wire::<fleet::ListReadingsResponse>(),
    wire::<fleet::DeviceHistoryRequest>(),
    wire::<fleet::DeviceHistoryResponse>(),
    wire::<fleet::DevicePoint>(),
    wire::<fleet::Spread>(),
    wire::<fleet::FleetHistoryRequest>(),
    wire::<fleet::FleetHistoryResponse>(),
    wire::<fleet::FleetPoint>(),
    wire::<fleet::SetUpRequest>(),
    wire::<fleet::SetUpResponse>(),
    wire::<fleet::LoginRequest>(),
    wire::<fleet::LoginResponse>(),
    wire::<fleet::Organization>(),
    wire::<fleet::SelectOrganizationRequest>(),
    wire::<fleet::SelectOrganizationResponse>(),
    wire::<fleet::ChangePasswordRequest>(),
    wire::<fleet::ChangePasswordResponse>(),
    wire::<fleet::LogoutRequest>(),
    wire::<fleet::LogoutResponse>(),
    wire::<fleet::WhoAmIRequest>(),
    wire::<fleet::WhoAmIResponse>(),
    wire::<fleet::CreateApiKeyRequest>(),
    wire::<fleet::CreateApiKeyResponse>(),
    wire::<fleet::ApiKey>(),
    wire::<fleet::ListApiKeysRequest>(),
    wire::<fleet::ListApiKeysResponse>(),
    wire::<fleet::RevokeApiKeyRequest>(),
    wire::<fleet::RevokeApiKeyResponse>(),
    wire::<fleet::ListActivityRequest>(),
    wire::<fleet::ListActivityResponse>(),
    wire::<fleet::Activity>(),
    // What probes call.
    wire::<health::HealthListRequest>(),
    wire::<health::HealthListResponse>(),
    wire::<health::HealthCheckRequest>(),
    wire::<health::HealthCheckResponse>(),
];

pub(crate) fn run(data: &[u8]) -> Outcome {
    let Some((which, wire)) = data.split_first() else { return Outcome::Refused };
    MESSAGES.get(usize::from(*which)).map_or(Outcome::Refused, |entry| (entry.run)(wire))
}

/// The full names of the messages, each in its place.
pub(crate) fn names() -> Vec<String> {
    MESSAGES.iter().map(|entry| (entry.name)()).collect()
}

/// What every service and client of `fleet-proto` does with bytes first.
fn accepted<M>(wire: &[u8]) -> Option<M>
where
    M: Message + Default + PartialEq + Validate + ReflectMessage,
{
    let message = M::decode(wire).ok()?;
    message.validate().ok()?;
    // Where no rule forbids it, as in answers, a number may be none, and is then not equal to itself.
    let comparable = M::decode(wire).is_ok_and(|twin| twin == message);
    let encoded = message.encode_to_vec();
    let again = M::decode(encoded.as_slice()).expect("what was encoded is decoded");
    assert!(again == message || !comparable, "protobuf");

    let json = serde_json::to_string(&message.transcode_to_dynamic()).expect("JSON");
    let mut reader = serde_json::Deserializer::from_str(&json);
    let strict = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(message.descriptor(), &mut reader, &strict);
    let read: M = read.expect("what was written is read").transcode_to().expect("the same message");
    assert!(read == message || !comparable, "JSON: {json}");
    Some(message)
}

/// A message that callers take as it is.
fn wire_only<M>(wire: &[u8]) -> Outcome
where
    M: Message + Default + PartialEq + Validate + ReflectMessage,
{
    accepted::<M>(wire).map_or(Outcome::Refused, |_| Outcome::Taken)
}

/// A message that stands for a type of the domain. `canonical` is what the way there and back makes of it.
fn domain<M, D>(wire: &[u8], canonical: fn(M) -> M, then: fn(&D)) -> Outcome
where
    M: Message + Default + Clone + PartialEq + Validate + ReflectMessage + for<'a> From<&'a D>,
    D: TryFrom<M, Error: Debug> + Debug,
{
    let Some(message) = accepted::<M>(wire) else { return Outcome::Refused };
    match there_and_back(&message, |message| D::try_from(message.clone()), |value| M::from(value), canonical)
    {
        Some(value) => {
            then(&value);
            Outcome::Taken
        }
        None => Outcome::Refused,
    }
}

/// What a message that obeys the rules stands for, which stands for the same message.
fn there_and_back<M, D, E>(
    message: &M,
    there: impl Fn(&M) -> Result<D, E>,
    back: impl Fn(&D) -> M,
    canonical: fn(M) -> M,
) -> Option<D>
where
    M: Clone + PartialEq + Validate,
    D: Debug,
    E: Debug,
{
    let value = there(message).ok()?;
    let message = canonical(message.clone());
    let told = back(&value);
    told.validate().expect("what was taken obeys the rules");
    assert!(told == message, "the way through the domain changed {value:?}");
    let again = there(&told).expect("what was taken is taken again");
    assert!(back(&again) == told);
    Some(value)
}

/// A message that was taken from within another, or alone.
fn taken<D>(value: Option<D>) -> Outcome {
    value.map_or(Outcome::Refused, |_| Outcome::Taken)
}

fn org_manifest(wire: &[u8]) -> Outcome {
    let Some(message) = accepted::<fleet::OrgManifest>(wire) else { return Outcome::Refused };
    let there = |message: &fleet::OrgManifest| UnverifiedManifest::try_from(message);
    taken(there_and_back(&message, there, |value| value.into(), same).inspect(manifest))
}

fn agent_certificate(wire: &[u8]) -> Outcome {
    accepted::<fleet::AgentCertificate>(wire).map_or(Outcome::Refused, |message| taken(certified(&message)))
}

fn certified(message: &fleet::AgentCertificate) -> Option<(AgentCertificate, Signature)> {
    let there = |message: &fleet::AgentCertificate| <(AgentCertificate, Signature)>::try_from(message);
    there_and_back(message, there, |value| value.into(), same)
}

/// A server reads the fingerprint as it was typed, and with an offline root the certificate.
fn confirm_agent(wire: &[u8]) -> Outcome {
    let Some(message) = accepted::<admin::ConfirmAgentRequest>(wire) else { return Outcome::Refused };
    let Ok(fingerprint) = message.fingerprint.parse::<Fingerprint>() else { return Outcome::Refused };
    let written = fingerprint.to_string().parse::<Fingerprint>().expect("what was written is read");
    assert!(written.matches(&fingerprint));
    message.agent_certificate.as_ref().map_or(Outcome::Taken, |message| taken(certified(message)))
}

fn sample(wire: &[u8]) -> Outcome {
    let Some(message) = accepted::<fleet::Sample>(wire) else { return Outcome::Refused };
    taken::<Sample>(there_and_back(&message, sample_from_message, sample_to_message, same))
}

/// An event is read from a batch alone.
fn event(wire: &[u8]) -> Outcome {
    let Some(message) = accepted::<fleet::Event>(wire) else { return Outcome::Refused };
    payloads::events(&fleet::EventBatch { events: vec![message] }.encode_to_vec())
}

fn batch<M>(wire: &[u8], read: fn(&[u8]) -> Outcome) -> Outcome
where
    M: Message + Default + PartialEq + Validate + ReflectMessage,
{
    accepted::<M>(wire).map_or(Outcome::Refused, |_| read(wire))
}

fn same<M>(message: M) -> M {
    message
}

/// A fingerprint is read as people write it, and written in one way.
fn canonical_fingerprint(message: v1::RegisterResponse) -> v1::RegisterResponse {
    let fingerprint = message.identity_fingerprint.parse::<Fingerprint>().expect("it was converted");
    v1::RegisterResponse { identity_fingerprint: fingerprint.to_string(), ..message }
}

/// A manifest is verified before anything is made of it; one that verifies says what it said.
fn manifest(unverified: &UnverifiedManifest) {
    let UnverifiedManifest { manifest, signature } = unverified.clone();
    if let Ok(signed) = SignedManifest::verify(manifest, signature) {
        assert!(signed.manifest().validate().is_ok());
        assert_eq!(&UnverifiedManifest::from(&signed), unverified);
    }
}

fn certificate((certificate, signature): &(AgentCertificate, Signature), manifest: &UnverifiedManifest) {
    let verified = SignedCertificate::verify(certificate.clone(), *signature, &manifest.manifest.root);
    if let Ok(signed) = verified {
        assert_eq!(signed.certificate(), certificate);
        assert!(certificate.key_epoch >= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is listed is what the .proto files declare: a new message cannot be forgotten, nor one be listed twice.
    #[test]
    fn every_message_is_fed() {
        let mut fed = names();
        fed.sort();
        let of_others = ["google.protobuf", "buf.validate"];
        let mut declared: Vec<_> = fleet_proto::DESCRIPTORS
            .all_messages()
            // The entries of a map are no message that anybody sends.
            .filter(|message| !message.is_map_entry() && !of_others.contains(&message.package_name()))
            .map(|message| message.full_name().to_owned())
            .collect();
        declared.sort();
        assert_eq!(fed, declared);
    }
}
