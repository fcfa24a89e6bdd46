//! A server's records as bytes, for stores that keep bytes. Integers have 8 of them, big-endian; whatever has no fixed
//! length has its length before it; manifests and certificates are the messages of `fleet-proto`, and verified again.

use fleet_core::code::SecretHash;
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::{AgentPublicKeys, CommandPublicKey, IdentityPublicKey, RootPublicKey};
use fleet_core::name::Name;
use fleet_core::store::{
    Activity, AgentApiKeyRecord, AgentKind, AgentRecord, AgentStatus, ChallengeRecord, Changeset,
    EnrollmentRecord, EnrollmentState, OrganizationRecord, Put, SessionRecord, Version,
};
use fleet_core::{certificate::SignedCertificate, manifest::SignedManifest, time::UnixMillis};
use fleet_proto::fleet::v1;
use prost::Message as _;

/// What is left to read, and the root that certificates in it are verified under.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8], Option<RootPublicKey>);

/// Something that is kept.
pub trait Record: Sized {
    /// Appends it.
    fn put(&self, to: &mut Vec<u8>);
    /// Reads what [`Record::put`] appended; `None` if that is something else.
    fn take(from: &mut Bytes<'_>) -> Option<Self>;
}

/// A change, and the root of the organization that its agent belongs to. The activity is not in it.
#[must_use]
pub fn encode(change: &Changeset, root: Option<RootPublicKey>) -> Vec<u8> {
    let mut bytes = Vec::new();
    root.put(&mut bytes);
    change.put(&mut bytes);
    bytes
}

/// The change again.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Changeset> {
    let mut bytes = Bytes(bytes, None);
    bytes.1 = Record::take(&mut bytes)?;
    Changeset::take(&mut bytes).filter(|_| bytes.0.is_empty())
}

impl<const N: usize> Record for [u8; N] {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self);
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        let (bytes, rest) = from.0.split_first_chunk()?;
        from.0 = rest;
        Some(*bytes)
    }
}

impl Record for Vec<u8> {
    fn put(&self, to: &mut Vec<u8>) {
        i64::try_from(self.len()).unwrap_or(i64::MAX).put(to);
        to.extend(self);
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        let length = usize::try_from(i64::take(from)?).ok()?;
        let (bytes, rest) = from.0.split_at_checked(length)?;
        from.0 = rest;
        Some(bytes.to_vec())
    }
}

impl<T: Record> Record for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        [u8::from(self.is_some())].put(to);
        self.iter().for_each(|one| one.put(to));
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        match <[u8; 1]>::take(from)? {
            [0] => Some(None),
            _ => T::take(from).map(Some),
        }
    }
}

impl<T: Record> Record for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.iter().for_each(|one| {
            [1].put(to);
            one.put(to)
        });
        [0].put(to);
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        let mut all = Self::new();
        while <[u8; 1]>::take(from)? == [1] {
            all.push(T::take(from)?);
        }
        Some(all)
    }
}

/// What is kept as something else: `type, kept as: there, and back`.
macro_rules! kept_as {
    ($($type:ty, $as:ty: $there:expr, $back:expr;)*) => {$(
        impl Record for $type {
            fn put(&self, to: &mut Vec<u8>) {
                let there: fn(&Self) -> $as = $there;
                there(self).put(to);
            }

            fn take(from: &mut Bytes<'_>) -> Option<Self> {
                let back: fn($as) -> Option<Self> = $back;
                back(Record::take(from)?)
            }
        }
    )*};
}

kept_as! {
    i64, [u8; 8]: |it| it.to_be_bytes(), |it| Some(Self::from_be_bytes(it));
    OrgId, i64: |it| it.value(), |it| Self::new(it).ok();
    AgentId, i64: |it| it.value(), |it| Self::new(it).ok();
    EnrollmentId, i64: |it| it.value(), |it| Self::new(it).ok();
    UnixMillis, i64: |it| it.value(), |it| Self::new(it).ok();
    Version, i64: |it| it.value(), |it| Some(Self::from_value(it));
    String, Vec<u8>: |it| it.as_bytes().to_vec(), |it| Self::from_utf8(it).ok();
    Name, String: |it| it.as_str().to_owned(), |it| Self::new(it).ok();
    SecretHash, [u8; 32]: |it| *it.as_bytes(), |it| Some(Self::from_bytes(it));
    RootPublicKey, [u8; 32]: |it| *it.as_bytes(), |it| Self::parse(&it).ok();
    CommandPublicKey, [u8; 32]: |it| *it.as_bytes(), |it| Self::parse(&it).ok();
    IdentityPublicKey, [u8; 32]: |it| *it.as_bytes(), |it| Self::parse(&it).ok();
    AgentPublicKeys, Vec<[u8; 32]>: |it| it.by_role().map(|(_, key)| *key).to_vec(), |it| match it.as_slice() {
        [identity, miner_signing, sealing] => Self::parse(identity, miner_signing, sealing).ok(),
        _ => None,
    };
    AgentKind, i64: |it| i64::from(*it == Self::Local), |it| Some(if it == 0 { Self::Remote } else { Self::Local });
    AgentStatus, i64: |it| place(&STATUSES, it), |it| at(&STATUSES, it);
    EnrollmentState, i64: |it| place(&STATES, it), |it| at(&STATES, it);
    SignedManifest, Vec<u8>: |it| v1::OrgManifest::from(&UnverifiedManifest::from(it)).encode_to_vec(), |it| {
        let message = v1::OrgManifest::decode(it.as_slice()).ok()?;
        let UnverifiedManifest { manifest, signature } = (&message).try_into().ok()?;
        Self::verify(manifest, signature).ok()
    };
}

const STATUSES: [AgentStatus; 4] =
    [AgentStatus::Pending, AgentStatus::Confirmed, AgentStatus::Revoked, AgentStatus::Discarded];
const STATES: [EnrollmentState; 5] = [
    EnrollmentState::Pending,
    EnrollmentState::AwaitingConfirmation,
    EnrollmentState::Confirmed,
    EnrollmentState::Expired,
    EnrollmentState::Cancelled,
];

fn place<T: PartialEq>(all: &[T], it: &T) -> i64 {
    all.iter().position(|one| one == it).and_then(|place| i64::try_from(place).ok()).unwrap_or(-1)
}

fn at<T: Copy>(all: &[T], place: i64) -> Option<T> {
    all.get(usize::try_from(place).ok()?).copied()
}

impl Record for SignedCertificate {
    fn put(&self, to: &mut Vec<u8>) {
        v1::AgentCertificate::from(&(self.certificate().clone(), *self.signature())).encode_to_vec().put(to);
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        let message = v1::AgentCertificate::decode(Vec::take(from)?.as_slice()).ok()?;
        let (certificate, signature) = (&message).try_into().ok()?;
        Self::verify(certificate, signature, from.1.as_ref()?).ok()
    }
}

/// What was done is for people to read, and no part of what a store answers.
impl Record for Vec<Activity> {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut Bytes<'_>) -> Option<Self> {
        Some(Self::new())
    }
}

impl<A: Record, B: Record> Record for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn take(from: &mut Bytes<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

macro_rules! fields {
    ($($type:ident $(<$of:ident>)? { $($field:ident),* })*) => {$(
        impl $(<$of: Record>)? Record for $type $(<$of>)? {
            fn put(&self, to: &mut Vec<u8>) {
                $(self.$field.put(to);)*
            }

            fn take(from: &mut Bytes<'_>) -> Option<Self> {
                Some(Self { $($field: Record::take(from)?),* })
            }
        }
    )*};
}

fields! {
    Put<T> { record, expected }
    OrganizationRecord { id, manifest, created_at }
    EnrollmentRecord { id, org_id, code, state, created_at, expires_at, agent_id, answered_at, second_uses, second_use_at }
    AgentRecord {
        id, org_id, name, kind, keys, status, enrollment_id, certificate, sealed_api_key, created_at, confirmed_at,
        revoked_at, last_sequence, last_begin_at
    }
    AgentApiKeyRecord { hash, digits, agent_id, created_at }
    ChallengeRecord {
        challenge, agent_id, api_key, identity, client_nonce, command, server_time, expires_at, last_sequence,
        manifest_hash
    }
    SessionRecord { token, agent_id, api_key, identity, command, created_at, expires_at }
    Changeset {
        organization, organization_unchanged, agent, enrollment, api_key, challenge, sessions, forget_credentials, activity
    }
}
