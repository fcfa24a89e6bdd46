//! Every message of agentgateway.v1: what an agent and a server send each other.

use core::fmt::Debug;

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::keys::Signature;
use fleet_core::manifest::SignedManifest;
use fleet_proto::agentgateway::v1;
use fleet_proto::validate::Validate;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, ReflectMessage};

use crate::Outcome;

/// The first byte of an input is a place in this list, so new messages are added at its end.
const MESSAGES: [fn(&[u8]) -> Outcome; 14] = [
    |wire| domain::<v1::RegisterRequest, RegisterRequest>(wire, same, |_| ()),
    |wire| {
        domain::<v1::RegisterResponse, RegisterResponse>(wire, canonical_fingerprint, |response| {
            manifest(&response.manifest);
        })
    },
    |wire| domain::<v1::BeginAuthHandshakeRequest, BeginRequest>(wire, same, |_| ()),
    |wire| {
        domain::<v1::BeginAuthHandshakeResponse, BeginResponse>(wire, same, |response| {
            manifest(&response.manifest);
            certificate(&response.certificate, &response.manifest);
        })
    },
    |wire| domain::<v1::CompleteAuthHandshakeRequest, CompleteRequest>(wire, same, |_| ()),
    |wire| domain::<v1::CompleteAuthHandshakeResponse, CompleteResponse>(wire, same, |_| ()),
    wire_only::<v1::UploadTelemetryRequest>,
    wire_only::<v1::UploadTelemetryResponse>,
    wire_only::<v1::UploadEventsRequest>,
    wire_only::<v1::UploadEventsResponse>,
    wire_only::<v1::UploadHeartbeatRequest>,
    wire_only::<v1::UploadHeartbeatResponse>,
    wire_only::<v1::ControlStreamRequest>,
    wire_only::<v1::ControlStreamResponse>,
];

pub(crate) fn run(data: &[u8]) -> Outcome {
    let Some((which, wire)) = data.split_first() else { return Outcome::Refused };
    MESSAGES.get(usize::from(*which)).map_or(Outcome::Refused, |run| run(wire))
}

/// What every service and client of `fleet-proto` does with bytes first.
fn accepted<M>(wire: &[u8]) -> Option<M>
where
    M: Message + Default + PartialEq + Validate + ReflectMessage,
{
    let message = M::decode(wire).ok()?;
    message.validate().ok()?;
    let encoded = message.encode_to_vec();
    assert!(M::decode(encoded.as_slice()).expect("what was encoded is decoded") == message, "protobuf");

    let json = serde_json::to_string(&message.transcode_to_dynamic()).expect("JSON");
    let mut reader = serde_json::Deserializer::from_str(&json);
    let strict = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(message.descriptor(), &mut reader, &strict);
    let read: M = read.expect("what was written is read").transcode_to().expect("the same message");
    assert!(read == message, "JSON: {json}");
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
    let Ok(value) = D::try_from(message.clone()) else { return Outcome::Refused };
    let back = M::from(&value);
    back.validate().expect("what was taken obeys the rules");
    assert!(back == canonical(message), "the way through the domain changed {value:?}");
    let again = D::try_from(back.clone()).expect("what was taken is taken again");
    assert!(M::from(&again) == back);
    then(&value);
    Outcome::Taken
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
