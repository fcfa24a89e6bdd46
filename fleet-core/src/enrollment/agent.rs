//! The agent's half of enrollment.
//!
//! ```text
//! plan ─► NeedsProofs ─► ExpectAnswer ─► AskToJoin ─► ExpectAnswer ─► NeedsOpen ─► Done
//!                             │  (first answer)  (each repeat) │
//!                             └────────────────────────────────┴─► NeedsApiKey (paste)
//! ```
//!
//! Every arrow that changes what the agent keeps passes a [`NeedsSave`]: a crash at any point is
//! taken up from the saved state by [`plan`] and the same code.

use core::fmt;

use zeroize::Zeroizing;

use super::{RegisterRequest, RegisterResponse, api_key_info, transcripts};
use crate::code::{ApiKey, EnrollmentCode};
use crate::commit::NeedsSave;
use crate::fingerprint::Fingerprint;
use crate::id::AgentId;
use crate::keys::{AgentPublicKeys, KeyRole, Signature};
use crate::manifest::{ManifestError, SignedManifest, SuccessionError};
use crate::name::Name;
use crate::store::{AgentState, AgentStatus, Counters};
use crate::transcript::Transcript;

/// Why an agent stops enrolling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// This agent is enrolled, with this or another code.
    #[error("this agent is already enrolled; use another state directory for a second agent")]
    AlreadyEnrolled,
    /// The state belongs to other keys than the ones at hand.
    #[error("the saved state belongs to other keys")]
    OtherKeys,
    /// The server's manifest is malformed or not signed by its root.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest's keys are not those that the code pins.
    #[error(
        "the server is not the one that made the enrollment code: its keys are not those that the code names"
    )]
    WrongPin,
    /// A later manifest does not follow the one that the agent holds.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The server answers for other keys than the agent's.
    #[error("the server answered with another fingerprint than this agent's")]
    WrongFingerprint,
    /// The server answers for another agent than before.
    #[error("the server answered for agent {got}, expected {expected}")]
    WrongAgent {
        /// The id of the first answer.
        expected: AgentId,
        /// The id of this answer.
        got: AgentId,
    },
    /// A signer made a signature that does not verify.
    #[error("the signature made with {role} does not verify")]
    Signer {
        /// Which key's.
        role: KeyRole,
    },
    /// The sealed api_key does not open, or is none.
    #[error("the server sent an api_key that cannot be opened")]
    SealedApiKey,
    /// This enrollment is over, one way or the other: enroll again with the same code.
    #[error("this enrollment is over")]
    Over,
    /// The person at the agent did not agree to join.
    #[error("the agent was not allowed to join the organization")]
    Declined,
    /// An operator revoked the agent.
    #[error("the agent was revoked")]
    Revoked,
    /// The enrollment expired or was cancelled.
    #[error("the enrollment expired or was cancelled; ask for a new code")]
    Discarded,
}

/// What an agent with this code, at this state, must do first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every case")]
pub enum Plan {
    /// Make three new key pairs and have them on disk; then [`begin`].
    MakeKeys,
    /// Go on with the keys on disk; [`begin`].
    ReuseKeys,
}

/// Decides whether keys are made or reused: they are reused with the same code alone.
///
/// Sealing names no sender, so an api_key that came sealed may be of somebody's own making who stood in between. One that
/// has made no session yet can be asked for again, with the same code.
///
/// # Errors
/// [`EnrollError::AlreadyEnrolled`].
pub fn plan(state: Option<&AgentState>, code: &EnrollmentCode) -> Result<Plan, EnrollError> {
    let Some(state) = state else { return Ok(Plan::MakeKeys) };
    let is_same = state.code == code.hash();
    match (&state.api_key, &state.session) {
        (Some(_), Some(_)) => Err(EnrollError::AlreadyEnrolled),
        (Some(_), None) if !is_same => Err(EnrollError::AlreadyEnrolled),
        (_, _) if is_same => Ok(Plan::ReuseKeys),
        (_, _) => Ok(Plan::MakeKeys),
    }
}

/// Starts, or takes up after a crash. The keys must be on disk.
///
/// # Errors
/// [`EnrollError::OtherKeys`] if `state` was made for this code with other keys.
pub fn begin(
    code: EnrollmentCode,
    server: &str,
    name: Name,
    keys: AgentPublicKeys,
    state: Option<AgentState>,
) -> Result<NeedsSave<NeedsProofs>, EnrollError> {
    match state.filter(|state| state.code == code.hash()) {
        // The server knows the agent by the name of the first Register, so that one stays once it was answered. Its
        // URL may have changed: the pin says whether it is the same.
        Some(state) if state.keys == keys => {
            let next = NeedsProofs { code, state: state.clone() };
            let name = if state.manifest.is_none() { name } else { state.name.clone() };
            if state.name != name || state.server != server {
                let state = AgentState { name, server: server.to_owned(), ..state };
                return Ok(NeedsSave::new(state.clone(), NeedsProofs { state, ..next }));
            }
            Ok(NeedsSave::unchanged(next))
        }
        Some(_) => Err(EnrollError::OtherKeys),
        None => {
            let state = AgentState {
                server: server.to_owned(),
                name,
                code: code.hash(),
                keys,
                manifest: None,
                joined: false,
                agent_id: None,
                api_key: None,
                session: None,
                counters: Counters::default(),
            };
            Ok(NeedsSave::new(state.clone(), NeedsProofs { code, state }))
        }
    }
}

/// Waits for the two proofs.
#[derive(Debug)]
pub struct NeedsProofs {
    code: EnrollmentCode,
    state: AgentState,
}

impl NeedsProofs {
    /// What the identity key and the miner-signing key are to sign, in that order.
    #[must_use]
    pub fn to_sign(&self) -> [Transcript; 2] {
        transcripts(self.code.hash(), &self.state.name, self.state.keys.by_role().map(|(_, key)| key))
    }

    /// Takes the signatures.
    ///
    /// # Errors
    /// [`EnrollError::Signer`] if one does not verify, as when two key files are swapped.
    pub fn signed(self, proofs: [Signature; 2]) -> Result<ExpectAnswer, EnrollError> {
        let keys = &self.state.keys;
        let ([identity, miner_signing], [by_identity, by_miner_signing]) = (self.to_sign(), proofs);
        keys.identity()
            .verify(&identity, &by_identity)
            .map_err(|_| EnrollError::Signer { role: KeyRole::Identity })?;
        keys.miner_signing()
            .verify(&miner_signing, &by_miner_signing)
            .map_err(|_| EnrollError::Signer { role: KeyRole::MinerSigning })?;
        let request = RegisterRequest::new(
            self.code.expose().to_owned(),
            self.state.name.clone(),
            keys.by_role().map(|(_, key)| *key),
            proofs,
        );
        Ok(ExpectAnswer { request, code: self.code, state: self.state })
    }
}

/// Waits for Register's answer. Send [`ExpectAnswer::request`], now or again every 2 s.
#[derive(Debug)]
pub struct ExpectAnswer {
    code: EnrollmentCode,
    state: AgentState,
    request: RegisterRequest,
}

/// What an answer comes to.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every case")]
pub enum Progress {
    /// The first answer was verified: may this agent join the organization?
    AskToJoin(Box<AskToJoin>),
    /// Not confirmed yet: ask again in 2 s.
    Wait(Box<ExpectAnswer>),
    /// Confirmed: open the api_key.
    Open(Box<NeedsOpen>),
    /// Confirmed, and the server no longer delivers the api_key: it must be pasted, and is kept
    /// once a handshake with it has worked.
    NeedsApiKey,
}

impl ExpectAnswer {
    /// The same again, for a driver whose save may fail or be dropped: the answer can then be asked for once more.
    pub(crate) fn duplicate(&self) -> Self {
        Self { code: self.code.clone(), state: self.state.clone(), request: self.request.clone() }
    }

    /// What to send.
    #[must_use]
    pub const fn request(&self) -> &RegisterRequest {
        &self.request
    }

    /// This agent's fingerprint, for the operator to type.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.state.keys.fingerprint()
    }

    /// Judges an answer.
    ///
    /// # Errors
    /// [`EnrollError`]; nothing is kept of the answer then.
    pub fn answer(self, answer: RegisterResponse) -> Result<NeedsSave<Progress>, EnrollError> {
        let manifest = SignedManifest::verify(answer.manifest.manifest, answer.manifest.signature)?;
        match (&self.state.manifest, self.state.agent_id) {
            (Some(held), Some(expected)) => {
                manifest.succeeds(held.manifest())?;
                if answer.agent_id != expected {
                    return Err(EnrollError::WrongAgent { expected, got: answer.agent_id });
                }
            }
            (Some(_) | None, _) => {
                if manifest.manifest().pin() != *self.code.pin() {
                    return Err(EnrollError::WrongPin);
                }
            }
        }
        if !answer.fingerprint.matches(&self.state.keys.fingerprint()) {
            return Err(EnrollError::WrongFingerprint);
        }
        let organization = manifest.manifest().org_name.clone();
        let changed =
            self.state.manifest.as_ref() != Some(&manifest) || self.state.agent_id != Some(answer.agent_id);
        let state = AgentState { manifest: Some(manifest), agent_id: Some(answer.agent_id), ..self.state };
        let saved = changed.then(|| state.clone());
        let verified = Verified {
            expect: Self { code: self.code, state, request: self.request },
            agent_id: answer.agent_id,
            status: answer.status,
            sealed_api_key: answer.sealed_api_key,
        };
        let next = if verified.expect.state.joined {
            verified.go_on()?
        } else {
            Progress::AskToJoin(Box::new(AskToJoin { verified, organization }))
        };
        Ok(match saved {
            Some(state) => NeedsSave::new(state, next),
            None => NeedsSave::unchanged(next),
        })
    }
}

/// An answer that passed every check.
struct Verified {
    expect: ExpectAnswer,
    agent_id: AgentId,
    status: AgentStatus,
    sealed_api_key: Option<Vec<u8>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("expect", &self.expect)
            .field("agent_id", &self.agent_id)
            .field("status", &self.status)
            .field("sealed_api_key", &self.sealed_api_key.as_ref().map(|_| format_args!("..")))
            .finish()
    }
}

impl Verified {
    fn go_on(self) -> Result<Progress, EnrollError> {
        match (self.status, self.sealed_api_key) {
            (AgentStatus::Pending, _) => Ok(Progress::Wait(Box::new(self.expect))),
            (AgentStatus::Confirmed, Some(sealed)) => Ok(Progress::Open(Box::new(NeedsOpen {
                agent_id: self.agent_id,
                state: self.expect.state,
                sealed,
            }))),
            (AgentStatus::Confirmed, None) => Ok(Progress::NeedsApiKey),
            (AgentStatus::Revoked, _) => Err(EnrollError::Revoked),
            (AgentStatus::Discarded, _) => Err(EnrollError::Discarded),
        }
    }
}

/// Waits for a person's word, unless there was told to be none to ask.
#[derive(Debug)]
pub struct AskToJoin {
    verified: Verified,
    organization: Name,
}

impl AskToJoin {
    /// The same again, as [`ExpectAnswer::duplicate`].
    pub(crate) fn duplicate(&self) -> Self {
        let verified = Verified {
            expect: self.verified.expect.duplicate(),
            agent_id: self.verified.agent_id,
            status: self.verified.status,
            sealed_api_key: self.verified.sealed_api_key.clone(),
        };
        Self { verified, organization: self.organization.clone() }
    }

    /// The organization's name, as its root signed it.
    #[must_use]
    pub const fn organization(&self) -> &Name {
        &self.organization
    }

    /// This agent's fingerprint, for the operator to type.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.verified.expect.fingerprint()
    }

    /// The agent joins.
    ///
    /// # Errors
    /// [`EnrollError::Revoked`] or [`EnrollError::Discarded`], if that is what the answer said.
    pub fn join(self) -> Result<NeedsSave<Progress>, EnrollError> {
        let mut verified = self.verified;
        verified.expect.state.joined = true;
        let state = verified.expect.state.clone();
        Ok(NeedsSave::new(state, verified.go_on()?))
    }

    /// The agent does not join.
    #[must_use]
    pub fn decline(self) -> EnrollError {
        EnrollError::Declined
    }
}

/// Waits for the sealing key to open the api_key.
pub struct NeedsOpen {
    agent_id: AgentId,
    state: AgentState,
    sealed: Vec<u8>,
}

impl fmt::Debug for NeedsOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NeedsOpen")
            .field("agent_id", &self.agent_id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl NeedsOpen {
    /// The HPKE `info`; the aad is empty.
    #[must_use]
    pub fn info(&self) -> Transcript {
        api_key_info(self.agent_id, self.state.code, self.state.keys.sealing().as_bytes())
    }

    /// `enc || ct`.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Takes what was opened. The key is saved before it is used; then comes the handshake.
    ///
    /// # Errors
    /// [`EnrollError::SealedApiKey`] if it is no api_key.
    pub fn opened(self, plaintext: &Zeroizing<Vec<u8>>) -> Result<NeedsSave<()>, EnrollError> {
        let text = core::str::from_utf8(plaintext).map_err(|_| EnrollError::SealedApiKey)?;
        let api_key = ApiKey::parse(text).map_err(|_| EnrollError::SealedApiKey)?;
        let state = AgentState { api_key: Some(api_key), ..self.state };
        Ok(NeedsSave::new(state, ()))
    }
}
