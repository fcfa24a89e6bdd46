//! `state.yaml`: everything of an agent's state that is no secret.

use std::{io, path::PathBuf};

use fleet_core::{
    code::SecretHash,
    fingerprint::Fingerprint,
    id::{AgentId, OrgId},
    keys::{
        AgentPublicKeys, CommandPublicKey, OperatorPublicKey, RecoveryPublicKey, RootPublicKey, Signature,
    },
    manifest::{OrgManifest, RevokedKeyId, SignedManifest},
    name::Name,
    store::AgentState,
};
use serde::{Deserialize, Serialize};

use crate::server_url::ServerUrl;

/// The format that this program writes.
const FORMAT: u32 = 1;

/// A file of the state directory cannot be used. Nothing of what it holds is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It does not hold what this program writes.
    #[error("{} is damaged: {problem}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: Damage,
    },
    /// A store was asked to write without the lock of its directory.
    #[error("{} is open for reading only", .path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
}

/// What is wrong with a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It cannot be parsed.
    #[error("it cannot be parsed{}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Syntax {
        /// Where, counted from 1.
        line: Option<usize>,
    },
    /// A field is missing or does not have a value that this program writes.
    #[error("{field} is not valid")]
    Field {
        /// Which field.
        field: &'static str,
    },
    /// Another version of this program wrote it.
    #[error("it has format {got}, and this version reads format {FORMAT}")]
    Format {
        /// Its format.
        got: u32,
    },
}

/// How far an agent's enrollment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EnrollmentStage {
    /// Keys are made; the server has not answered yet.
    Begun,
    /// The server answered; the person at the agent has not agreed to join yet.
    Answered,
    /// It waits for an operator to confirm its fingerprint.
    AwaitingConfirmation,
    /// It has an api_key.
    Enrolled,
}

impl EnrollmentStage {
    /// The stage of a state.
    #[must_use]
    pub const fn of(state: &AgentState) -> Self {
        match (&state.api_key, &state.manifest, state.joined) {
            (Some(_), _, _) => Self::Enrolled,
            (None, None, _) => Self::Begun,
            (None, Some(_), false) => Self::Answered,
            (None, Some(_), true) => Self::AwaitingConfirmation,
        }
    }

    /// For people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Begun => "begun; the server has not answered yet",
            Self::Answered => "answered; this agent has not agreed to join yet",
            Self::AwaitingConfirmation => "waiting for an operator to confirm the fingerprint",
            Self::Enrolled => "enrolled",
        }
    }
}

/// What `status` may show of an agent's state: no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublicState {
    /// The server's URL.
    pub server: ServerUrl,
    /// The agent's name.
    pub name: Name,
    /// How far its enrollment is.
    pub stage: EnrollmentStage,
    /// Its id, from the first answer on.
    pub agent_id: Option<AgentId>,
    /// Its public keys.
    pub keys: AgentPublicKeys,
    /// Whether the person at the agent agreed to join.
    pub joined: bool,
    /// The hash of the code that it enrolls or enrolled with.
    pub code: SecretHash,
    /// The newest manifest of its organization.
    pub manifest: Option<SignedManifest>,
    /// How often the file was written.
    pub generation: i64,
}

impl PublicState {
    /// The fingerprint of the agent's keys.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.keys.fingerprint()
    }

    /// The organization's name, once the server answered.
    #[must_use]
    pub fn organization(&self) -> Option<&Name> {
        self.manifest.as_ref().map(|manifest| &manifest.manifest().org_name)
    }
}

/// `state.yaml` as it is written. Fields that people read come first; `enrollment`, `fingerprint`
/// and `organization` follow from others and are compared with them when read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    generation: i64,
    server: String,
    name: String,
    enrollment: EnrollmentStage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_id: Option<i64>,
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    joined: bool,
    code_sha256: String,
    public_keys: KeysDocument,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestDocument>,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(Document: std::fmt::Debug);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysDocument {
    identity: String,
    miner_signing: String,
    sealing: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestDocument {
    org_id: i64,
    org_name: String,
    epoch: i64,
    root: String,
    command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
    operators: Vec<String>,
    revoked: Vec<String>,
    signature: String,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(ManifestDocument: std::fmt::Debug);

/// The document of a state.
pub(super) fn render(state: &AgentState, generation: i64) -> Result<String, Damage> {
    let document = Document {
        format: FORMAT,
        generation,
        server: state.server.clone(),
        name: state.name.as_str().to_owned(),
        enrollment: EnrollmentStage::of(state),
        agent_id: state.agent_id.map(AgentId::value),
        fingerprint: state.keys.fingerprint().to_string(),
        organization: state.manifest.as_ref().map(|signed| signed.manifest().org_name.as_str().to_owned()),
        joined: state.joined,
        code_sha256: hex::encode(state.code.as_bytes()),
        public_keys: KeysDocument {
            identity: hex::encode(state.keys.identity().as_bytes()),
            miner_signing: hex::encode(state.keys.miner_signing().as_bytes()),
            sealing: hex::encode(state.keys.sealing().as_bytes()),
        },
        manifest: state.manifest.as_ref().map(ManifestDocument::of),
    };
    let text = serde_yaml_ng::to_string(&document).map_err(|_| Damage::Field { field: "state" })?;
    Ok(format!("# Written by fleet-agent. It holds no secret; the files beside it do.\n{text}"))
}

/// Reads a document. The server's URL is checked anew; whether plain HTTP is allowed is for
/// whoever connects to say.
pub(super) fn parse(text: &[u8]) -> Result<PublicState, Damage> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let syntax = |error: &serde_yaml_ng::Error| Damage::Syntax { line: error.location().map(|at| at.line()) };
    let Format { format } = serde_yaml_ng::from_slice(text).map_err(|error| syntax(&error))?;
    if format != FORMAT {
        return Err(Damage::Format { got: format });
    }
    let document: Document = serde_yaml_ng::from_slice(text).map_err(|error| syntax(&error))?;
    let keys = &document.public_keys;
    let keys = AgentPublicKeys::parse(
        &bytes::<32>(&keys.identity, "public_keys.identity")?,
        &bytes::<32>(&keys.miner_signing, "public_keys.miner_signing")?,
        &bytes::<32>(&keys.sealing, "public_keys.sealing")?,
    )
    .map_err(field("public_keys"))?;
    if keys.fingerprint().to_string() != document.fingerprint {
        return Err(Damage::Field { field: "fingerprint" });
    }
    let manifest = document.manifest.map(ManifestDocument::verify).transpose()?;
    let organization = manifest.as_ref().map(|signed| signed.manifest().org_name.as_str());
    if document.organization.as_deref() != organization {
        return Err(Damage::Field { field: "organization" });
    }
    Ok(PublicState {
        server: ServerUrl::parse_stored(&document.server).map_err(field("server"))?,
        name: Name::new(document.name).map_err(field("name"))?,
        stage: document.enrollment,
        agent_id: document.agent_id.map(AgentId::new).transpose().map_err(field("agent_id"))?,
        keys,
        joined: document.joined,
        code: SecretHash::from_bytes(bytes(&document.code_sha256, "code_sha256")?),
        manifest,
        generation: document.generation.max(1),
    })
}

impl ManifestDocument {
    fn of(signed: &SignedManifest) -> Self {
        let manifest = signed.manifest();
        Self {
            org_id: manifest.org_id.value(),
            org_name: manifest.org_name.as_str().to_owned(),
            epoch: manifest.epoch,
            root: hex::encode(manifest.root.as_bytes()),
            command: hex::encode(manifest.command.as_bytes()),
            recovery: manifest.recovery.as_ref().map(|key| hex::encode(key.as_bytes())),
            operators: manifest.operators.iter().map(|key| hex::encode(key.as_bytes())).collect(),
            revoked: manifest.revoked.iter().map(|id| hex::encode(id.as_bytes())).collect(),
            signature: hex::encode(signed.signature().to_bytes()),
        }
    }

    /// The signature is verified again: a manifest that was changed on disk is not believed.
    fn verify(self) -> Result<SignedManifest, Damage> {
        let recovery = self.recovery.map(|text| bytes::<32>(&text, "manifest.recovery")).transpose()?;
        let operators = self.operators.iter().map(|text| {
            let key = bytes::<32>(text, "manifest.operators")?;
            OperatorPublicKey::parse(&key).map_err(field("manifest.operators"))
        });
        let revoked = self
            .revoked
            .iter()
            .map(|text| bytes::<16>(text, "manifest.revoked").map(RevokedKeyId::from_bytes));
        let manifest = OrgManifest {
            org_id: OrgId::new(self.org_id).map_err(field("manifest.org_id"))?,
            org_name: Name::new(self.org_name).map_err(field("manifest.org_name"))?,
            epoch: self.epoch,
            root: RootPublicKey::parse(&bytes::<32>(&self.root, "manifest.root")?)
                .map_err(field("manifest.root"))?,
            command: CommandPublicKey::parse(&bytes::<32>(&self.command, "manifest.command")?)
                .map_err(field("manifest.command"))?,
            recovery: recovery
                .map(|key| RecoveryPublicKey::parse(&key))
                .transpose()
                .map_err(field("manifest.recovery"))?,
            operators: operators.collect::<Result<_, _>>()?,
            revoked: revoked.collect::<Result<_, _>>()?,
        };
        let signature = Signature::from_bytes(bytes(&self.signature, "manifest.signature")?);
        SignedManifest::verify(manifest, signature).map_err(field("manifest.signature"))
    }
}

fn bytes<const N: usize>(text: &str, field: &'static str) -> Result<[u8; N], Damage> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Damage::Field { field })?;
    Ok(bytes)
}

fn field<E>(field: &'static str) -> impl FnOnce(E) -> Damage {
    move |_| Damage::Field { field }
}
