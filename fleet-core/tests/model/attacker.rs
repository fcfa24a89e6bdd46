//! The attacker is the network: it has everything that was ever sent, and delivers of it what it likes, as often as it
//! likes, in any order and to either side; and besides that what it can put together of the parts and of its own keys.
//! What it does not deliver is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_core::certificate::AgentCertificate;
use fleet_core::code::SessionToken;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest, api_key_info};
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::hpke;
use fleet_core::id::AgentId;
use fleet_core::keys::{IdentityPublicKey, Signature};
use fleet_core::name::Name;
use fleet_core::store::{AgentStatus, ChallengeRecord};
use fleet_core::transcript::{Domain, Transcript};

use crate::cast::{Body, EVIL, Holder, Message, SITE, at, auth, nonce_bytes, random};
use crate::fleet::{Fleet, keep};
use crate::intern::Id;
use crate::server::Op;

/// Everything that the honest agent and the server have sent, in no order.
pub(crate) type Known = Vec<Id<Message>>;

/// What follows from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Knows {
    /// What the attacker can call the server with.
    pub(crate) calls: Vec<Op>,
    /// The SHA-256 of every handshake transcript that the honest agent signed.
    pub(crate) signed: Vec<[u8; 32]>,
    /// The SHA-256 of every one that the server asked an agent to sign.
    pub(crate) offered: Vec<[u8; 32]>,
    /// The agents whose api_keys the server sealed to the attacker.
    pub(crate) opened: Vec<AgentId>,
}

/// A message that was sent.
type Seen = (Id<Message>, Arc<Message>);

/// The kinds of calls that the attacker puts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Register,
    Begin,
    Complete,
}

/// Which answer the honest agent waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Awaits {
    Registered,
    /// With this nonce.
    Challenge(u8),
    Session,
}

/// The attacker's own keys.
const OWN: [Holder; 2] = [Holder::Insider, Holder::Spare];

/// The attacker's own nonce.
const NONCE: [u8; 32] = [0xee; 32];

impl Fleet {
    /// What was sent, of these kinds.
    fn seen(&self, known: Id<Known>, kind: impl Fn(&Body) -> bool) -> Vec<Seen> {
        let seen = self.known.get(known);
        let seen = seen.iter().map(|id| (*id, self.messages.get(*id)));
        seen.filter(|(_, message)| kind(&message.body)).collect()
    }

    /// Signs with a key of the attacker's, once.
    fn sign(&self, key: &[u8; 32], what: &Transcript, sign: impl FnOnce(&[u8]) -> Signature) -> Signature {
        let mut signatures = self.memo.signatures.borrow_mut();
        *signatures.entry((*key, what.sha256())).or_insert_with(|| sign(what.as_bytes()))
    }

    fn sign_as(&self, holder: Holder, what: &Transcript) -> Signature {
        let key = self.cast.public(holder).identity().as_bytes();
        self.sign(key, what, |bytes| self.cast.secret(holder).identity.sign(bytes))
    }

    /// What the attacker makes of all that was sent. `codes`: those that it has by other ways, as [`Holder::bit`]s.
    pub(crate) fn knows(&mut self, known: Id<Known>, codes: u8) -> Arc<Knows> {
        if let Some(held) = self.memo.knows.get(&(known, codes)) {
            return Arc::clone(held);
        }
        let mut calls = Vec::new();
        for part in [Part::Register, Part::Begin, Part::Complete] {
            calls.extend(self.part(known, part, codes).iter());
        }
        for (id, _) in self.seen(known, |body| body.session().is_some()) {
            calls.extend([Op::Call(id), Op::Stream(id)]);
        }
        let bodies = self.seen(known, |_| true);
        let signed = bodies.iter().filter_map(|(id, _)| self.memo.signed.get(id).copied()).collect();
        let offered = bodies.iter().filter_map(|(id, _)| self.memo.offered.get(id).copied()).collect();
        let mut opened = Vec::new();
        for (id, message) in &bodies {
            if let Some(answer) = message.body.registered()
                && self.opened(*id, answer).is_some()
            {
                opened.push(answer.agent_id);
            }
        }
        let knows = Arc::new(Knows { calls, signed, offered, opened });
        keep(&mut self.memo.knows, (known, codes), Arc::clone(&knows));
        knows
    }

    /// The calls of one kind that the attacker can make: they follow from the messages of a few kinds.
    fn part(&mut self, known: Id<Known>, part: Part, codes: u8) -> Arc<Vec<Op>> {
        let seen = self.seen(known, |body| match part {
            Part::Register => body.register().is_some(),
            Part::Begin => body.begin().is_some() || body.registered().is_some(),
            Part::Complete => {
                body.begin().is_some() || body.challenge().is_some() || body.complete().is_some()
            }
        });
        let key = (part, codes, seen.iter().map(|(id, _)| *id).collect());
        if let Some(held) = self.memo.parts.get(&key) {
            return Arc::clone(held);
        }
        let mut calls = match part {
            Part::Register => self.registers(&seen, codes),
            Part::Begin => self.begins(&seen),
            Part::Complete => self.completes(&seen),
        };
        distinct(&mut calls);
        let calls = Arc::new(calls);
        keep(&mut self.memo.parts, key, Arc::clone(&calls));
        calls
    }

    /// Registers: replayed, under another code, under another name; the attacker's keys; and mixtures of keys, with
    /// the proofs that it can make or has seen.
    fn registers(&mut self, bodies: &[Seen], codes: u8) -> Vec<Op> {
        let seen: Vec<_> = bodies.iter().filter_map(|(_, message)| message.body.register()).collect();
        let code_seen = |holder| seen.iter().any(|r| r.expose_token() == self.cast.code(holder).expose());
        let codes: Vec<_> = Holder::INVITED
            .into_iter()
            .filter(|holder| codes & holder.bit() != 0 || code_seen(*holder))
            .chain([Holder::Insider])
            .collect();
        let mut requests = Vec::new();
        for code in codes {
            let token = self.cast.code(code).expose();
            for (name, keys) in [(EVIL, Holder::Spare), (SITE, Holder::Spare), (SITE, Holder::Insider)] {
                let bytes = self.cast.public(keys).by_role().map(|(_, key)| *key);
                requests.push(self.prove(token, name, bytes, [keys; 2], [None; 2]));
            }
            for theirs in &seen {
                let [identity, miner_signing, sealing] =
                    [theirs.identity, theirs.miner_signing, theirs.sealing];
                let proofs = [theirs.identity_proof, theirs.miner_signing_proof];
                let replay =
                    |name: &Name, keys| RegisterRequest::new(token.to_owned(), name.clone(), keys, proofs);
                requests.push(replay(&theirs.name, [identity, miner_signing, sealing]));
                requests.push(replay(&Name::new(EVIL).unwrap(), [identity, miner_signing, sealing]));
                let [own_identity, own_signing, own_sealing] =
                    self.cast.public(Holder::Spare).by_role().map(|(_, key)| *key);
                for (keys, replayed) in [
                    ([identity, own_signing, own_sealing], [Some(proofs[0]), None]),
                    ([own_identity, miner_signing, own_sealing], [None, Some(proofs[1])]),
                    // The sealing key proves nothing, so this is one that the attacker can make whole.
                    ([own_identity, own_signing, sealing], [None, None]),
                ] {
                    requests.push(self.prove(token, EVIL, keys, [Holder::Spare; 2], replayed));
                }
            }
        }
        requests.into_iter().map(|r| Op::Register(self.messages.id(Body::Register(r).into()))).collect()
    }

    /// A Register with the proofs of these holders, or with others in their place.
    pub(crate) fn prove(
        &self,
        token: &str,
        name: &str,
        keys: [[u8; 32]; 3],
        [identity, miner_signing]: [Holder; 2],
        replayed: [Option<Signature>; 2],
    ) -> RegisterRequest {
        let name = Name::new(name).unwrap();
        let blank =
            RegisterRequest::new(token.to_owned(), name.clone(), keys, [Signature::from_bytes([0; 64]); 2]);
        let [first, second] = blank.transcripts();
        let proofs = [
            replayed[0].unwrap_or_else(|| self.sign_as(identity, &first)),
            replayed[1].unwrap_or_else(|| {
                let key = self.cast.public(miner_signing).miner_signing().as_bytes();
                self.sign(key, &second, |bytes| self.cast.secret(miner_signing).miner_signing.sign(bytes))
            }),
        ];
        RegisterRequest::new(token.to_owned(), name, keys, proofs)
    }

    /// The api_key in an answer to Register, if it is sealed to the attacker.
    fn opened(&mut self, id: Id<Message>, answer: &RegisterResponse) -> Option<Id<String>> {
        if let Some(known) = self.memo.recall(|memo| &memo.opened, &id) {
            return known;
        }
        let sealed = answer.sealed_api_key.as_deref().unwrap_or_default();
        let open = |holder: Holder, code: Holder| {
            let sealing = self.cast.public(holder).sealing().as_bytes();
            let info = api_key_info(answer.agent_id, self.cast.code(code).hash(), sealing);
            hpke::open(&self.cast.secret(holder).sealing, info.as_bytes(), &[], sealed).ok()
        };
        let mut tries = OWN.into_iter().flat_map(|holder| Holder::INVITED.map(|code| (holder, code)));
        let opened = tries.find_map(|(holder, code)| open(holder, code));
        let opened = opened.map(|key| self.secrets.id(String::from_utf8(key.to_vec()).unwrap()));
        keep(&mut self.memo.opened, id, opened);
        opened
    }

    /// Every api_key that the attacker has: those sealed to it, and those that were sent in a Begin.
    fn api_keys(&mut self, bodies: &[Seen]) -> Vec<String> {
        let mut keys = Vec::new();
        for (id, message) in bodies {
            match &message.body {
                Body::Registered(answer) => keys.extend(self.opened(*id, answer)),
                Body::Begin(request) => keys.push(self.secrets.id(request.expose_api_key().to_owned())),
                Body::Register(_) | Body::Challenge(_) | Body::Complete(_) | Body::Session(_) => {}
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|id| (*self.secrets.get(id)).clone()).collect()
    }

    /// Begins: any api_key that the attacker has, with any identity key, with a nonce of its own or one that was seen.
    fn begins(&mut self, bodies: &[Seen]) -> Vec<Op> {
        let mut requests = Vec::new();
        let mut nonces = vec![NONCE];
        let mut identities = OWN.map(|holder| *self.cast.public(holder).identity().as_bytes()).to_vec();
        for request in bodies.iter().filter_map(|(_, message)| message.body.begin()) {
            nonces.push(request.client_nonce);
            identities.push(request.identity);
        }
        identities.dedup();
        for key in self.api_keys(bodies) {
            for identity in &identities {
                for nonce in &nonces {
                    requests.push(BeginRequest::new(key.clone(), *identity, *nonce));
                }
            }
        }
        requests.into_iter().map(|r| Op::Begin(self.messages.id(Body::Begin(r).into()))).collect()
    }

    /// Completes: to every challenge that the attacker has seen, every signature that it has seen, the server's own
    /// among them, and its own over what is to be signed.
    fn completes(&mut self, bodies: &[Seen]) -> Vec<Op> {
        let mut requests = Vec::new();
        for answer in bodies.iter().filter_map(|(_, message)| message.body.challenge()) {
            let challenge = answer.challenge;
            let completes = bodies.iter().filter_map(|(_, message)| message.body.complete());
            let seen = completes.map(|complete| complete.signature);
            let mut signatures: Vec<_> = [answer.signature].into_iter().chain(seen).collect();
            // As whichever agent of the attacker's the challenge is for, and else as the one that is enrolled.
            let of = answer.certificate.0.keys;
            let own = OWN.into_iter().find(|own| *self.cast.public(*own) == of).unwrap_or(Holder::Insider);
            let nonces =
                bodies.iter().filter_map(|(_, message)| message.body.begin()).map(|begin| begin.client_nonce);
            for nonce in nonces.chain([NONCE]) {
                let identity = self.cast.public(own).identity();
                let said = said(answer, answer.certificate.0.agent_id, identity, nonce);
                let transcript = auth(Domain::AuthAgent, &said);
                signatures.push(self.sign_as(own, &transcript));
            }
            requests.extend(signatures.into_iter().map(|signature| CompleteRequest { challenge, signature }));
        }
        requests.into_iter().map(|r| Op::Complete(self.messages.id(Body::Complete(r).into()))).collect()
    }

    /// What the attacker can answer to the honest agent.
    pub(crate) fn answers(
        &mut self,
        known: Id<Known>,
        holder: Holder,
        agent_id: Option<AgentId>,
        awaits: Awaits,
    ) -> Arc<Vec<Id<Message>>> {
        let key = (known, holder, agent_id, awaits);
        if let Some(held) = self.memo.answers.get(&key) {
            return Arc::clone(held);
        }
        let bodies = self.seen(known, |body| match awaits {
            Awaits::Registered => body.registered().is_some() || body.begin().is_some(),
            Awaits::Challenge(_) => body.registered().is_some() || body.challenge().is_some(),
            Awaits::Session => body.session().is_some(),
        });
        let of = (bodies.iter().map(|(id, _)| *id).collect(), holder, agent_id, awaits);
        if let Some(held) = self.memo.answers_of.get(&of) {
            let held = Arc::clone(held);
            keep(&mut self.memo.answers, key, Arc::clone(&held));
            return held;
        }
        let made = match awaits {
            Awaits::Registered => self.answers_to_register(&bodies, holder),
            Awaits::Challenge(nonce) => {
                self.answers_to_begin(&bodies, holder, agent_id.expect("enrolled"), nonce)
            }
            Awaits::Session => answers_to_complete(&bodies),
        };
        let mut answers = made.into_iter().map(|body| self.messages.id(body.into())).collect();
        distinct(&mut answers);
        let answers = Arc::new(answers);
        keep(&mut self.memo.answers_of, of, Arc::clone(&answers));
        keep(&mut self.memo.answers, key, Arc::clone(&answers));
        answers
    }

    /// Every manifest that the attacker has seen, the newest first, and those that its server can sign.
    fn manifests(&self, bodies: &[Seen]) -> Vec<UnverifiedManifest> {
        let mut manifests = Vec::new();
        for (_, message) in bodies {
            let manifest = match &message.body {
                Body::Registered(answer) => &answer.manifest,
                Body::Challenge(answer) => &answer.manifest,
                Body::Register(_) | Body::Begin(_) | Body::Complete(_) | Body::Session(_) => continue,
            };
            if !manifests.contains(manifest) {
                manifests.push(manifest.clone());
            }
        }
        manifests.sort_by_key(|said| core::cmp::Reverse(said.manifest.epoch));
        manifests.extend(self.cast.forged_manifests.clone());
        manifests
    }

    /// Answers to Register: those that were seen, and any agent's id with any manifest, with any api_key that was seen
    /// sealed or that the attacker seals.
    fn answers_to_register(&mut self, bodies: &[Seen], holder: Holder) -> Vec<Body> {
        let (mut made, mut ids, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for (_, message) in bodies {
            let Some(answer) = message.body.registered() else { continue };
            made.push(message.body.clone());
            if !ids.contains(&answer.agent_id) {
                ids.push(answer.agent_id);
            }
            sealed.extend(answer.sealed_api_key.clone());
        }
        let keys = *self.cast.public(holder);
        let manifests = self.manifests(bodies);
        let api_keys = self.api_keys(bodies);
        for agent_id in ids {
            let forged = |status, manifest: &UnverifiedManifest, sealed_api_key| {
                let (manifest, fingerprint) = (manifest.clone(), keys.fingerprint());
                let forged = RegisterResponse { agent_id, status, fingerprint, manifest, sealed_api_key };
                Body::Registered(Box::new(forged))
            };
            made.extend(manifests.iter().map(|manifest| forged(AgentStatus::Pending, manifest, None)));
            let info = api_key_info(agent_id, self.cast.code(holder).hash(), keys.sealing().as_bytes());
            let own = api_keys.iter().map(|key| {
                let random = random("seal", &[key.as_bytes(), &agent_id.value().to_be_bytes()]);
                hpke::seal(keys.sealing(), info.as_bytes(), &[], key.as_bytes(), &random).unwrap()
            });
            for sealed in sealed.iter().cloned().chain(own) {
                made.push(forged(AgentStatus::Confirmed, &manifests[0], Some(sealed)));
            }
        }
        made
    }

    /// Answers to Begin: those that were seen, whole, or with one part from elsewhere; and an impostor's, with what the
    /// attacker's server can sign.
    fn answers_to_begin(&self, bodies: &[Seen], holder: Holder, agent_id: AgentId, nonce: u8) -> Vec<Body> {
        let identity = self.cast.public(holder).identity();
        let nonce = nonce_bytes(holder, nonce);
        let resigned = |mut answer: BeginResponse| {
            let transcript = auth(Domain::AuthServer, &said(&answer, agent_id, identity, nonce));
            let key = self.cast.other_command.public();
            let sign = |bytes: &[u8]| self.cast.other_command.sign(bytes);
            answer.signature = self.sign(key.as_bytes(), &transcript, sign);
            answer
        };
        let seen = || bodies.iter().filter_map(|(_, message)| message.body.challenge()).cloned();
        let manifests = self.manifests(bodies);
        let mut certificates: Vec<(AgentCertificate, Signature)> =
            vec![self.cast.forged_certificate(agent_id, holder)];
        for answer in seen() {
            if !certificates.contains(&answer.certificate) {
                certificates.push(answer.certificate);
            }
        }
        let mut made = Vec::new();
        for answer in seen() {
            made.push(answer.clone());
            made.push(resigned(answer.clone()));
            made.push(BeginResponse { last_sequence: answer.last_sequence + 1, ..answer.clone() });
            made.push(BeginResponse { expires_at: at(24 * 3600), ..answer.clone() });
            for manifest in &manifests {
                made.push(BeginResponse { manifest: manifest.clone(), ..answer.clone() });
            }
            for certificate in &certificates {
                made.push(BeginResponse { certificate: certificate.clone(), ..answer.clone() });
            }
        }
        for manifest in &manifests {
            for certificate in &certificates {
                made.push(resigned(BeginResponse {
                    challenge: [0xdd; 32],
                    expires_at: at(24 * 3600),
                    server_time: at(0),
                    last_sequence: 0,
                    manifest: manifest.clone(),
                    certificate: certificate.clone(),
                    signature: Signature::from_bytes([0; 64]),
                }));
            }
        }
        made.into_iter().map(|answer| Body::Challenge(Box::new(answer))).collect()
    }
}

/// Answers to Complete, which nobody signs: any token, for any time.
fn answers_to_complete(bodies: &[Seen]) -> Vec<Body> {
    let mut made = Vec::new();
    for (_, message) in bodies {
        if let Some(answer) = message.body.session() {
            made.push(message.body.clone());
            made.push(Body::Session(CompleteResponse { expires_at: at(12 * 3600), ..answer.clone() }));
        }
    }
    let token = SessionToken::generate(&random("forged token", &[])).unwrap();
    made.push(Body::Session(CompleteResponse { token, expires_at: at(12 * 3600) }));
    made
}

fn distinct<T: Copy + Ord>(values: &mut Vec<T>) {
    let mut seen = BTreeSet::new();
    values.retain(|value| seen.insert(*value));
}

/// What an answer to Begin says to this agent.
fn said(
    answer: &BeginResponse,
    agent_id: AgentId,
    identity: &IdentityPublicKey,
    client_nonce: [u8; 32],
) -> ChallengeRecord {
    ChallengeRecord {
        challenge: answer.challenge,
        agent_id,
        // No part of a transcript.
        api_key: fleet_core::code::SecretHash::from_bytes([0; 32]),
        identity: *identity,
        client_nonce,
        command: answer.manifest.manifest.command,
        server_time: answer.server_time,
        expires_at: answer.expires_at,
        last_sequence: answer.last_sequence,
        manifest_hash: answer.manifest.manifest.transcript().sha256(),
    }
}
