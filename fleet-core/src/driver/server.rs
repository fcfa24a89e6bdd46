use std::sync::Arc;

use super::{Gate, NoProbe, OfflineRoots, OneRoot, OpenGate, Point, Probe, RootError, RootKeys};
use crate::code::{ApiKey, SecretHash};
use crate::commit::NeedsCommit;
use crate::enrollment::server::{
    Confirm, ConfirmError, ConfirmStep, CreateCode, CreateCodeError, EndError, Operator, Register,
    RegisterError, RegisterOutcome, Revoke, RevokeError, cancel, create_code, expire,
};
use crate::enrollment::{NewCode, RegisterRequest, RegisterResponse};
use crate::handshake::server::{
    AgentIdentity, AuthError, Begin, Complete, check_session, end_delivery, take_over,
};
use crate::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::id::{EnrollmentId, OrgId};
use crate::keys::{
    CommandPublicKey, KeyError, KeyRole, RecoveryPublicKey, RootPublicKey, Signer, SignerError,
};
use crate::manifest::{ManifestError, OrgManifest, SignedManifest};
use crate::name::Name;
use crate::policy::Policy;
use crate::random::{RandomError, SecureRandom};
use crate::refusal::{Code, Refusal};
use crate::store::{
    Activity, ActivityKind, Actor, Changeset, CommitError, OrganizationRecord, Put, Query, ServerStore,
    Snapshot, StoreError,
};
use crate::time::{Clock, next_counter};

/// How often a decision is made anew because the records changed meanwhile.
const ATTEMPTS: usize = 16;

/// The server's signing keys.
#[derive(Debug, Clone)]
pub struct ServerKeys {
    /// The organizations' own roots.
    pub roots: Arc<dyn RootKeys>,
    /// Signs the server's half of handshakes, of every organization.
    pub command: Arc<dyn Signer>,
}

impl ServerKeys {
    /// The keys of a server with one organization, whose root it manages.
    #[must_use]
    pub fn managed(root: Arc<dyn Signer>, command: Arc<dyn Signer>) -> Self {
        Self { roots: Arc::new(OneRoot(root)), command }
    }

    /// The keys of a server that manages no root.
    #[must_use]
    pub fn offline(command: Arc<dyn Signer>) -> Self {
        Self { roots: Arc::new(OfflineRoots), command }
    }
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Register was refused.
    #[error("register: {0}")]
    Register(#[from] RegisterError),
    /// A handshake or session was refused.
    #[error("auth: {0}")]
    Auth(#[from] AuthError),
    /// A code was not made.
    #[error("create code: {0}")]
    CreateCode(#[from] CreateCodeError),
    /// A confirmation was refused.
    #[error("confirm: {0}")]
    Confirm(#[from] ConfirmError),
    /// An enrollment was not ended.
    #[error("end enrollment: {0}")]
    End(#[from] EndError),
    /// A revocation was refused.
    #[error("revoke: {0}")]
    Revoke(#[from] RevokeError),
    /// There is no such organization.
    #[error("no such organization")]
    Organization,
    /// The stored manifest names other keys than this server's.
    #[error("the stored manifest's {role} is not this server's")]
    OtherKey {
        /// Which key.
        role: KeyRole,
    },
    /// The organization could not be made.
    #[error("the organization's manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// A key of the server is not acceptable.
    #[error("the server's key: {0}")]
    Key(#[from] KeyError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The organization's root cannot be had.
    #[error("the organization's root: {0}")]
    Root(#[from] RootError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records changed faster than decisions could be made.
    #[error("the records keep changing")]
    Contention,
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Register(error) => error.into(),
            ServerError::Auth(error) => error.into(),
            ServerError::CreateCode(error) => error.into(),
            ServerError::Confirm(error) => error.into(),
            ServerError::End(error) => error.into(),
            ServerError::Revoke(error) => error.into(),
            ServerError::Organization => Self::new(Code::NotFound, error),
            ServerError::Manifest(_) | ServerError::Key(_) | ServerError::OtherKey { .. } => {
                Self::new(Code::Internal, "internal error")
            }
            ServerError::Random(_)
            | ServerError::Signer(_)
            | ServerError::Root(_)
            | ServerError::Store(_)
            | ServerError::Contention => Self::unavailable(),
        }
    }
}

/// What an organization is made of.
#[derive(Debug, Clone)]
pub struct Founding {
    /// Its id.
    pub org_id: OrgId,
    /// Its name.
    pub name: Name,
    /// The recovery key of its kit, if it has one. It is compared with the organization's other keys alone: a store has
    /// no query by key, so that no agent of another organization has it is for the maker of the kit to see.
    pub recovery: Option<RecoveryPublicKey>,
    /// Who makes it.
    pub actor: Actor,
}

/// Answers the calls of agents and operators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerDriver {
    store: Arc<dyn ServerStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    keys: ServerKeys,
    policy: Policy,
    probe: Arc<dyn Probe>,
    gate: Arc<dyn Gate>,
}

/// What one attempt came to.
enum Attempt<T> {
    Done(T),
    Stale,
}

impl ServerDriver {
    /// A driver over a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn ServerStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
        keys: ServerKeys,
        policy: Policy,
    ) -> Self {
        let (probe, gate) = (Arc::new(NoProbe), Arc::new(OpenGate));
        Self { store, clock, random, keys, policy, probe, gate }
    }

    /// With a probe, for tests that crash the driver.
    #[must_use]
    pub fn with_probe(self, probe: Arc<dyn Probe>) -> Self {
        Self { probe, ..self }
    }

    /// With a gate, which bounds how many sessions begin.
    #[must_use]
    pub fn with_gate(self, gate: Arc<dyn Gate>) -> Self {
        Self { gate, ..self }
    }

    /// Makes an organization with a managed root: its first manifest, signed. The change is handed
    /// out so that the store's own records of the first operator can join it in one transaction.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Nothing is stored here, so it may be dropped at any point. The future is `Send`; it does not panic.
    pub async fn found_organization(
        &self,
        founding: Founding,
    ) -> Result<NeedsCommit<SignedManifest>, ServerError> {
        let now = self.clock.now();
        let root = self.keys.roots.root(founding.org_id).await?.ok_or(ServerError::Organization)?;
        let manifest = OrgManifest {
            org_id: founding.org_id,
            org_name: founding.name,
            epoch: next_counter(0, now),
            root: RootPublicKey::parse(&root.public_key())?,
            command: CommandPublicKey::parse(&self.keys.command.public_key())?,
            recovery: founding.recovery,
            operators: Vec::new(),
            revoked: Vec::new(),
        };
        manifest.validate()?;
        let signature = root.sign(manifest.transcript().as_bytes()).await?;
        let manifest = SignedManifest::verify(manifest, signature)?;
        let record = OrganizationRecord { id: founding.org_id, manifest: manifest.clone(), created_at: now };
        let activity = Activity {
            at: now,
            org_id: founding.org_id,
            actor: founding.actor,
            kind: ActivityKind::OrganizationCreated,
            agent_id: None,
            enrollment_id: None,
        };
        let change = Changeset {
            organization: Some(Put::new(record)),
            activity: vec![activity],
            ..Changeset::default()
        };
        Ok(NeedsCommit::new(change, manifest))
    }

    /// CreateEnrollmentCode.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped while it stores, there may be a code that nobody has seen, which expires by itself. Calling
    /// again makes another. The future is `Send`; it does not panic.
    pub async fn create_code(
        &self,
        request: CreateCode,
        operator: &Operator,
    ) -> Result<NewCode, ServerError> {
        for _ in 0..ATTEMPTS {
            if let Some(hash) = request.code_sha256 {
                let code = SecretHash::from_bytes(hash);
                if self.load(Query::EnrollmentByCode(code)).await?.is_some() {
                    return Err(CreateCodeError::CodeTaken.into());
                }
            }
            let found = self.load(Query::Organization(operator.org_id)).await?;
            let found = found.ok_or(ServerError::Organization)?;
            let root = self.root_of(&found).await?;
            if root.is_none() && request.code_sha256.is_none() {
                return Err(CreateCodeError::HashRequired.into());
            }
            let now = self.clock.now();
            let random = self.random.as_ref();
            let step = create_code(request, operator, &found, now, &self.policy, random)?;
            if let Attempt::Done(code) = self.commit(step).await? {
                return Ok(code);
            }
        }
        Err(ServerError::Contention)
    }

    /// Register.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point: the agent is registered, or it is not, and its repeat is answered as if
    /// the answer had been lost. The future is `Send`; it does not panic.
    pub async fn register(&self, request: RegisterRequest) -> Result<RegisterResponse, ServerError> {
        for _ in 0..ATTEMPTS {
            let register = Register::new(request.clone());
            let found = self.load(register.query()).await?;
            if let Some(found) = &found {
                self.root_of(found).await?;
            }
            let outcome = register.resolve(found, self.clock.now(), &self.policy, self.random.as_ref())?;
            self.probe.reached(Point::ServerRegisterDecided);
            match outcome {
                RegisterOutcome::Answer(step) => {
                    if let Attempt::Done(response) = self.commit_registration(*step).await? {
                        self.probe.reached(Point::ServerRegisterCommitted);
                        return Ok(response);
                    }
                }
                RegisterOutcome::Refuse(step) => {
                    if let Attempt::Done(error) = self.commit_registration(step).await? {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(ServerError::Contention)
    }

    /// ConfirmAgent. The api_key is the one to paste.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped while it stores, the agent may be confirmed: a second call then says that it does not wait,
    /// and the api_key reaches the agent by Register's repeat alone. The future is `Send`; it does not panic.
    pub async fn confirm(&self, request: Confirm) -> Result<ApiKey, ServerError> {
        for _ in 0..ATTEMPTS {
            let found = self.load(request.query()).await?;
            // Of another organization's agent nothing may show, not even that its root cannot be had.
            let found = found.filter(|found| found.organization.record.id == request.operator.org_id);
            let root = match &found {
                Some(found) => self.root_of(found).await?,
                None => None,
            };
            let now = self.clock.now();
            let step = request.clone().resolve(found, now)?;
            self.probe.reached(Point::ServerConfirmDecided);
            match step {
                ConfirmStep::Sign(needs) => {
                    let signature = match (needs.to_sign(), &root) {
                        (Some(transcript), Some(root)) => Some(root.sign(transcript.as_bytes()).await?),
                        (None, _) | (_, None) => None,
                    };
                    self.probe.reached(Point::ServerConfirmSigned);
                    let step = needs.signed(signature, now, self.random.as_ref())?;
                    if let Attempt::Done(api_key) = self.commit(step).await? {
                        self.probe.reached(Point::ServerConfirmCommitted);
                        return Ok(api_key);
                    }
                }
                ConfirmStep::Refuse(step) => {
                    if let Attempt::Done(error) = self.commit(step).await? {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(ServerError::Contention)
    }

    /// CancelEnrollment.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped while it stores, the enrollment may be cancelled: a second call then says that it does not
    /// wait. The future is `Send`; it does not panic.
    pub async fn cancel(&self, enrollment: EnrollmentId, operator: &Operator) -> Result<(), ServerError> {
        for _ in 0..ATTEMPTS {
            let found = self.load(Query::Enrollment(enrollment)).await?;
            let step = cancel(enrollment, operator, found, self.clock.now())?;
            if let Attempt::Done(()) = self.commit(step).await? {
                return Ok(());
            }
        }
        Err(ServerError::Contention)
    }

    /// RevokeAgent. When this is done, nothing of the agent is accepted any more; closing its
    /// streams is for the caller. A root that cannot be had does not keep an agent alive: the manifest that lists it
    /// is then owed, and made by revoking once more.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped while it stores, the agent may be revoked. Call it again until it is done: that is no error,
    /// and what is owed is made good. The future is `Send`; it does not panic.
    pub async fn revoke(&self, request: Revoke) -> Result<(), ServerError> {
        for _ in 0..ATTEMPTS {
            let found = self.load(request.query()).await?;
            let now = self.clock.now();
            let needs = request.clone().resolve(found, now)?;
            let root = self.keys.roots.root(request.operator.org_id).await.unwrap_or_default();
            let root = root.filter(|root| needs.can_be_signed_by(&root.public_key()));
            let step = match root {
                Some(root) => {
                    let signature = root.sign(needs.to_sign().as_bytes()).await?;
                    needs.signed(signature, now)?
                }
                None => needs.unsigned(now)?,
            };
            if let Attempt::Done(()) = self.commit(step).await? {
                return Ok(());
            }
        }
        Err(ServerError::Contention)
    }

    /// Expires enrollments whose time is up, at most `limit`; returns how many.
    ///
    /// # Errors
    /// [`ServerError::Store`].
    ///
    /// # Cancel safety
    /// May be dropped between any two enrollments; those that have expired by then stay so, and the next call
    /// goes on. The future is `Send`; it does not panic.
    pub async fn sweep(&self, limit: u32) -> Result<usize, ServerError> {
        let now = self.clock.now();
        let mut expired = 0usize;
        for id in self.store.due(now, limit).await? {
            let Some(found) = self.load(Query::Enrollment(id)).await? else { continue };
            // Confirmed or cancelled meanwhile, or changed under the commit: no longer due.
            let Ok(step) = expire(&found, now) else { continue };
            if let Attempt::Done(()) = self.commit(step).await? {
                expired = expired.saturating_add(1);
            }
        }
        Ok(expired)
    }

    /// BeginAuthHandshake.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped while it stores, there may be a challenge that nobody knows. The agent's next one replaces it.
    /// The future is `Send`; it does not panic.
    pub async fn begin(&self, request: BeginRequest) -> Result<BeginResponse, ServerError> {
        let mut is_admitted = false;
        for _ in 0..ATTEMPTS {
            let begin = Begin::new(request.clone());
            let found = self.load(begin.query()).await?;
            let needs = begin.resolve(found, self.clock.now(), &self.policy, self.random.as_ref())?;
            if !core::mem::replace(&mut is_admitted, true) {
                let admitted = self.gate.admit(needs.agent_id(), self.clock.monotonic());
                admitted.map_err(|retry_after| AuthError::Busy { retry_after })?;
            }
            self.probe.reached(Point::ServerBeginDecided);
            let signature = self.keys.command.sign(needs.to_sign().as_bytes()).await?;
            self.probe.reached(Point::ServerBeginSigned);
            let step = needs.signed(signature)?;
            if let Attempt::Done(response) = self.commit(step).await? {
                self.probe.reached(Point::ServerBeginCommitted);
                return Ok(response);
            }
        }
        Err(ServerError::Contention)
    }

    /// CompleteAuthHandshake.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropped after the challenge was taken, the agent begins anew: it works once. There may be a session
    /// that nobody has the token of. The future is `Send`; it does not panic.
    pub async fn complete(&self, request: CompleteRequest) -> Result<CompleteResponse, ServerError> {
        let complete = Complete::new(request);
        let record = self.store.take_challenge(complete.challenge()).await?;
        self.probe.reached(Point::ServerChallengeTaken);
        let mut needs = complete.taken(record, self.clock.now())?;
        for _ in 0..ATTEMPTS {
            let found = self.load(needs.query()).await?;
            let step = needs.resolve(found, self.clock.now(), &self.policy, self.random.as_ref())?;
            self.probe.reached(Point::ServerSessionDecided);
            match self.write(step.change()).await? {
                Attempt::Done(()) => {
                    self.probe.reached(Point::ServerSessionCommitted);
                    return Ok(step.committed());
                }
                Attempt::Stale => needs = step.stale(),
            }
        }
        Err(ServerError::Contention)
    }

    /// Checks a session token, on every call and every message of a stream. The first call under a
    /// session ends the sealed delivery of the agent's api_key.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: the sealed delivery has ended, or the next call ends it.
    /// The future is `Send`; it does not panic.
    pub async fn authenticate(&self, token: &SecretHash) -> Result<AgentIdentity, ServerError> {
        for _ in 0..ATTEMPTS {
            let found = self.load(Query::AgentBySession(*token)).await?;
            let identity = check_session(token, found.as_ref(), self.clock.now())?;
            let Some(step) = found.as_ref().and_then(end_delivery) else { return Ok(identity) };
            if let Attempt::Done(()) = self.commit(step).await? {
                self.probe.reached(Point::ServerDeliveryEnded);
                return Ok(identity);
            }
        }
        Err(ServerError::Contention)
    }

    /// A session opens a control stream: the agent's other sessions end.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: the other sessions have ended or not. The future is
    /// `Send`; it does not panic.
    pub async fn take_over(&self, token: &SecretHash) -> Result<AgentIdentity, ServerError> {
        for _ in 0..ATTEMPTS {
            let found = self.load(Query::AgentBySession(*token)).await?;
            let step = take_over(token, found.as_ref(), self.clock.now())?;
            if let Attempt::Done(identity) = self.commit(step).await? {
                return Ok(identity);
            }
        }
        Err(ServerError::Contention)
    }

    /// The root of an organization, if it is managed.
    ///
    /// A manifest verifies under the root that it names itself: whoever can write to the database can plant one. What
    /// this server's codes and certificates rest on must name this server's own command key, and the organization's
    /// own root.
    async fn root_of(&self, found: &Snapshot) -> Result<Option<Arc<dyn Signer>>, ServerError> {
        let organization = &found.organization.record;
        let manifest = organization.manifest.manifest();
        if self.keys.command.public_key() != *manifest.command.as_bytes() {
            return Err(ServerError::OtherKey { role: KeyRole::Command });
        }
        let root = self.keys.roots.root(organization.id).await?;
        if root.as_ref().is_some_and(|root| root.public_key() != *manifest.root.as_bytes()) {
            return Err(ServerError::OtherKey { role: KeyRole::Root });
        }
        Ok(root)
    }

    async fn load(&self, query: Query) -> Result<Option<Snapshot>, ServerError> {
        Ok(self.store.load(query).await?)
    }

    async fn commit<T>(&self, step: NeedsCommit<T>) -> Result<Attempt<T>, ServerError> {
        Ok(match self.write(step.change()).await? {
            Attempt::Done(()) => Attempt::Done(step.committed()),
            Attempt::Stale => Attempt::Stale,
        })
    }

    async fn write(&self, change: &Changeset) -> Result<Attempt<()>, ServerError> {
        match self.store.commit(change.clone()).await {
            Ok(()) => Ok(Attempt::Done(())),
            // A random id that is taken is drawn again; names and keys were checked when the
            // agent was made, and nothing else changes them.
            Err(CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. }) => {
                Ok(Attempt::Stale)
            }
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn commit_registration<T>(&self, step: NeedsCommit<T>) -> Result<Attempt<T>, ServerError> {
        match self.store.commit(step.change().clone()).await {
            Ok(()) => Ok(Attempt::Done(step.committed())),
            Err(CommitError::Stale) => Ok(Attempt::Stale),
            Err(CommitError::NameTaken) => Err(RegisterError::NameTaken.into()),
            Err(CommitError::KeyTaken { role }) => Err(RegisterError::KeyTaken { role }.into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
