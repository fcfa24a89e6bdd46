//! The honest agent: the shipped machines between two states of its disk.

use core::time::Duration;

use fleet_core::code::ApiKey;
use fleet_core::commit::NeedsSave;
use fleet_core::enrollment::RegisterResponse;
use fleet_core::enrollment::agent::{EnrollError, ExpectAnswer, Plan, Progress, begin as enroll, plan};
use fleet_core::handshake::agent::{ExpectChallenge, NeedsSignature, begin as handshake};
use fleet_core::handshake::{BeginResponse, CompleteRequest};
use fleet_core::hpke;
use fleet_core::id::AgentId;
use fleet_core::manifest::SignedManifest;
use fleet_core::name::Name;
use fleet_core::store::{AgentState, ChallengeRecord, Counters};
use fleet_core::time::Monotonic;
use fleet_core::transcript::Domain;

use crate::bugs::Bug;
use crate::cast::{Body, Holder, Message, SITE, URL, auth, nonce_random};
use crate::fleet::{Fleet, keep};
use crate::intern::Id;

/// What the agent keeps: an [`AgentState`], less what is always the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// Whose keys, and for whom the code was made.
    pub(crate) holder: Holder,
    pub(crate) manifest: Option<Id<SignedManifest>>,
    pub(crate) joined: bool,
    pub(crate) agent_id: Option<AgentId>,
    pub(crate) api_key: Option<Id<String>>,
}

/// What the agent has in memory: where its newest handshake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    /// Begin was sent at this time, with this nonce.
    Begun {
        sent: u64,
        nonce: u8,
    },
    /// This answer was verified and signed at this time.
    Signed {
        sent: u64,
        nonce: u8,
        challenge: Id<Message>,
        complete: Id<Message>,
        at: u64,
    },
}

/// The honest agent, and what is remembered of it to judge it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    pub(crate) disk: Option<Id<Disk>>,
    pub(crate) phase: Phase,
    /// How many handshakes it began with its present keys.
    pub(crate) begun: u8,
    /// The Complete of each handshake that brought it online, with its keys.
    pub(crate) online: Vec<(Holder, Id<Message>)>,
    /// The highest epoch of a manifest that it accepted with its present keys.
    pub(crate) epoch: i64,
    /// It accepted a manifest of a lower epoch than that.
    pub(crate) went_back: bool,
}

/// What came of an answer to Register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) disk: Id<Disk>,
    /// The epoch of a manifest that was accepted.
    pub(crate) epoch: Option<i64>,
}

/// What came of an answer to Begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Challenged {
    pub(crate) disk: Id<Disk>,
    pub(crate) epoch: Option<i64>,
    /// The Complete that was sent, and whether the agent waits for its answer.
    pub(crate) complete: Option<(Id<Message>, bool)>,
}

/// A Complete that the agent makes.
struct Signed {
    request: CompleteRequest,
    /// Whether it waits for the answer.
    waits: bool,
    /// The SHA-256 of what it signed.
    sha256: [u8; 32],
}

impl Agent {
    pub(crate) const fn new() -> Self {
        let online = Vec::new();
        Self { disk: None, phase: Phase::Idle, begun: 0, online, epoch: 0, went_back: false }
    }

    pub(crate) fn accept(&mut self, epoch: Option<i64>) {
        if let Some(epoch) = epoch {
            self.went_back |= epoch < self.epoch;
            self.epoch = self.epoch.max(epoch);
        }
    }
}

impl Fleet {
    /// The agent's state as the crate knows it. Sessions and counters are left out: no machine here reads them.
    fn state(&self, disk: &Disk) -> AgentState {
        AgentState {
            server: URL.to_owned(),
            name: Name::new(SITE).unwrap(),
            code: self.cast.code(disk.holder).hash(),
            keys: *self.cast.public(disk.holder),
            manifest: disk.manifest.map(|id| (*self.manifests.get(id)).clone()),
            joined: disk.joined,
            agent_id: disk.agent_id,
            api_key: disk.api_key.map(|id| ApiKey::parse(&self.secrets.get(id)).unwrap()),
            session: None,
            counters: Counters::default(),
        }
    }

    fn disk(&mut self, state: &AgentState) -> Disk {
        assert_eq!((state.server.as_str(), state.name.as_str()), (URL, SITE));
        let holder = self.cast.holder(&state.keys).expect("its own keys");
        assert_eq!(state.code, self.cast.code(holder).hash());
        Disk {
            holder,
            manifest: state.manifest.clone().map(|manifest| self.manifests.record(manifest)),
            joined: state.joined,
            agent_id: state.agent_id,
            api_key: state.api_key.as_ref().map(|key| self.secrets.id(key.expose().to_owned())),
        }
    }

    /// Saves what a machine wants saved.
    fn save<T>(&mut self, disk: &mut Disk, step: NeedsSave<T>) -> T {
        if let Some(state) = step.state() {
            let held = disk.manifest;
            *disk = self.disk(state);
            if self.bug == Some(Bug::ManifestNotSaved) {
                disk.manifest = held.or(disk.manifest);
            }
        }
        step.saved()
    }

    /// The disk of an agent that is about to enroll with new keys.
    pub(crate) fn fresh(&mut self, holder: Holder) -> Id<Disk> {
        let disk = Disk { holder, manifest: None, joined: false, agent_id: None, api_key: None };
        self.disks.id(disk)
    }

    /// Enrollment as it waits for Register's answer, from the disk alone.
    fn asking(&self, disk: &Disk) -> Result<ExpectAnswer, EnrollError> {
        let code = self.cast.code(disk.holder).clone();
        let state = Some(self.state(disk));
        assert_eq!(plan(state.as_ref(), &code)?, Plan::ReuseKeys);
        let keys = *self.cast.public(disk.holder);
        let proofs = enroll(code, URL, Name::new(SITE).unwrap(), keys, state)?.saved();
        let secret = self.cast.secret(disk.holder);
        let [identity, miner_signing] = proofs.to_sign();
        proofs.signed([
            secret.identity.sign(identity.as_bytes()),
            secret.miner_signing.sign(miner_signing.as_bytes()),
        ])
    }

    /// The Register that an agent with this disk sends.
    pub(crate) fn register(&mut self, disk: Id<Disk>) -> Id<Message> {
        if let Some(known) = self.memo.recall(|memo| &memo.registers, &disk) {
            return known;
        }
        let request = self.asking(&self.disks.get(disk)).unwrap().request().clone();
        let message = self.messages.id(Body::Register(request).into());
        keep(&mut self.memo.registers, disk, message);
        message
    }

    /// An answer to Register arrives. `joins`: the process lives long enough for a person to agree.
    pub(crate) fn answered(&mut self, disk: Id<Disk>, message: Id<Message>, joins: bool) -> Answered {
        let key = (disk, message, joins);
        if let Some(known) = self.memo.recall(|memo| &memo.answered, &key) {
            return known;
        }
        let answer = self.messages.get(message).body.registered().expect("an answer to Register").clone();
        let mut held = (*self.disks.get(disk)).clone();
        let epoch = self.judge_answer(&mut held, answer, joins);
        let answered = Answered { disk: self.disks.id(held), epoch };
        keep(&mut self.memo.answered, key, answered);
        answered
    }

    fn judge_answer(&mut self, disk: &mut Disk, answer: RegisterResponse, joins: bool) -> Option<i64> {
        // An agent that is enrolled does not ask.
        let asking = self.asking(disk).ok()?;
        let epoch = answer.manifest.manifest.epoch;
        let step = match asking.answer(answer.clone()) {
            Err(EnrollError::WrongPin) if self.bug == Some(Bug::PinNotChecked) => {
                let said = answer.manifest;
                let manifest = SignedManifest::verify(said.manifest, said.signature).ok()?;
                disk.manifest = Some(self.manifests.record(manifest));
                disk.agent_id = Some(answer.agent_id);
                disk.joined = joins;
                return Some(epoch);
            }
            Err(_) => return None,
            Ok(step) => step,
        };
        let mut progress = self.save(disk, step);
        if let (Progress::AskToJoin(ask), true) = (&progress, joins) {
            assert_eq!(ask.organization().as_str(), "Acme");
        }
        if let Progress::AskToJoin(ask) = progress {
            if !joins {
                return Some(epoch);
            }
            let Ok(step) = ask.join() else { return Some(epoch) };
            progress = self.save(disk, step);
        }
        match progress {
            Progress::Open(needs) => {
                let sealing = &self.cast.secret(disk.holder).sealing;
                let opened = hpke::open(sealing, needs.info().as_bytes(), &[], needs.sealed());
                if let Some(step) = opened.ok().and_then(|opened| needs.opened(&opened).ok()) {
                    self.save(disk, step);
                }
            }
            Progress::AskToJoin(_) | Progress::Wait(_) | Progress::NeedsApiKey => {}
        }
        Some(epoch)
    }

    /// A handshake as it waits for the server's challenge, from the disk alone. It began at time zero: the machines
    /// only ever ask how long ago something was.
    fn waiting(&self, disk: &Disk, nonce: u8) -> Option<ExpectChallenge> {
        let state = self.state(disk);
        let api_key = state.api_key.clone()?;
        handshake(state, api_key, Monotonic::default(), &nonce_random(disk.holder, nonce)).ok()
    }

    /// The Begin that an agent with this disk sends, if it may.
    pub(crate) fn begin(&mut self, disk: Id<Disk>, nonce: u8) -> Option<Id<Message>> {
        if let Some(known) = self.memo.recall(|memo| &memo.begun, &(disk, nonce)) {
            return Some(known);
        }
        let request = self.waiting(&self.disks.get(disk), nonce)?.request();
        let message = self.messages.id(Body::Begin(request).into());
        keep(&mut self.memo.begun, (disk, nonce), message);
        Some(message)
    }

    /// An answer to Begin arrives, `took` seconds after it was sent.
    pub(crate) fn challenged(
        &mut self,
        disk: Id<Disk>,
        nonce: u8,
        took: u64,
        message: Id<Message>,
    ) -> Challenged {
        let key = (disk, nonce, took, message);
        if let Some(known) = self.memo.recall(|memo| &memo.challenged, &key) {
            return known;
        }
        let answer = self.messages.get(message).body.challenge().expect("an answer to Begin").clone();
        let mut held = (*self.disks.get(disk)).clone();
        let (epoch, complete) = self.judge_challenge(&mut held, nonce, took, &answer);
        let complete = complete.map(|Signed { request, waits, sha256 }| {
            let complete = self.messages.id(Body::Complete(request).into());
            keep(&mut self.memo.signed, complete, sha256);
            (complete, waits)
        });
        let challenged = Challenged { disk: self.disks.id(held), epoch, complete };
        keep(&mut self.memo.challenged, key, challenged);
        challenged
    }

    fn judge_challenge(
        &mut self,
        disk: &mut Disk,
        nonce: u8,
        took: u64,
        answer: &BeginResponse,
    ) -> (Option<i64>, Option<Signed>) {
        let Some(waiting) = self.waiting(disk, nonce) else { return (None, None) };
        let begun = waiting.request();
        let Ok(step) = waiting.challenge(answer.clone(), seconds(took)) else { return (None, None) };
        let epoch = Some(answer.manifest.manifest.epoch);
        let verified = self.save(disk, step).verify();
        let identity = &self.cast.secret(disk.holder).identity;
        match verified {
            Ok(needs) => {
                let transcript = needs.to_sign();
                let signature = identity.sign(transcript.as_bytes());
                let request = needs.signed(signature, seconds(took)).unwrap().request().clone();
                (epoch, Some(Signed { request, waits: true, sha256: transcript.sha256() }))
            }
            Err(_) if self.bug == Some(Bug::SignsUnverified) => {
                let said = ChallengeRecord {
                    challenge: answer.challenge,
                    agent_id: disk.agent_id.expect("enrolled"),
                    api_key: self.cast.code(disk.holder).hash(),
                    identity: *self.cast.public(disk.holder).identity(),
                    client_nonce: begun.client_nonce,
                    command: answer.manifest.manifest.command,
                    server_time: answer.server_time,
                    expires_at: answer.expires_at,
                    last_sequence: answer.last_sequence,
                    manifest_hash: answer.manifest.manifest.transcript().sha256(),
                };
                let transcript = auth(Domain::AuthAgent, &said);
                let signature = identity.sign(transcript.as_bytes());
                let request = CompleteRequest { challenge: answer.challenge, signature };
                (epoch, Some(Signed { request, waits: false, sha256: transcript.sha256() }))
            }
            Err(_) => (epoch, None),
        }
    }

    fn signing(&self, disk: &Disk, nonce: u8, took: u64, challenge: Id<Message>) -> Option<NeedsSignature> {
        let answer = self.messages.get(challenge).body.challenge()?.clone();
        let step = self.waiting(disk, nonce)?.challenge(answer, seconds(took)).ok()?;
        step.saved().verify().ok()
    }

    /// An answer to Complete arrives: is the agent online? `took`: how long the answers to Begin and to Complete took.
    pub(crate) fn comes_online(
        &mut self,
        disk: Id<Disk>,
        nonce: u8,
        challenge: Id<Message>,
        took: (u64, u64),
        message: Id<Message>,
    ) -> bool {
        let key = (disk, nonce, challenge, took, message);
        if let Some(known) = self.memo.recall(|memo| &memo.online, &key) {
            return known;
        }
        let held = self.disks.get(disk);
        let answer = self.messages.get(message).body.session().expect("an answer to Complete").clone();
        let online = self.signing(&held, nonce, took.0, challenge).and_then(|needs| {
            let signature = self.cast.secret(held.holder).identity.sign(needs.to_sign().as_bytes());
            let sent = needs.signed(signature, seconds(took.0)).ok()?;
            sent.session(answer, seconds(took.0 + took.1)).ok()
        });
        if let Some(step) = &online {
            // Nothing but the session is new.
            let state = step.state().expect("a session is saved").clone();
            assert!(self.disk(&state) == *held || self.bug == Some(Bug::ManifestNotSaved));
        }
        let online = online.is_some();
        keep(&mut self.memo.online, key, online);
        online
    }
}

const fn seconds(seconds: u64) -> Monotonic {
    Monotonic::new(Duration::from_secs(seconds))
}
