//! The server: the shipped machines between two states of the shipped store.

use fleet_core::code::SecretHash;
use fleet_core::commit::NeedsCommit;
use fleet_core::enrollment::server::{
    Confirm, ConfirmStep, CreateCode, Register, RegisterOutcome, Revoke, cancel, create_code, expire, reissue,
};
use fleet_core::handshake::server::{Begin, Complete, check_session, end_delivery, take_over};
use fleet_core::id::AgentId;
use fleet_core::store::{AgentStatus, ChallengeRecord, Changeset, Query, ServerStore as _, Snapshot};
use fleet_core::testing::block_on;
use fleet_core::transcript::Domain;

use crate::bugs::Bug;
use crate::cast::{Body, Holder, Message, at, auth, code_random, random};
use crate::fleet::{Fleet, keep};
use crate::intern::Id;
use crate::tables::{Committed, Tables};

/// One call to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Op {
    CreateCode(Holder),
    Register(Id<Message>),
    /// The fingerprint that an agent with these keys shows is typed for the agent of these keys' code.
    Confirm(Holder, AgentId),
    Cancel(Holder),
    Expire(Holder),
    Revoke(AgentId),
    Reissue,
    Begin(Id<Message>),
    Complete(Id<Message>),
    /// A call under a session.
    Call(Id<Message>),
    /// A session opens a control stream.
    Stream(Id<Message>),
}

/// What a machine was rebuilt from, besides its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) found: Option<Id<Snapshot>>,
    /// The challenge that Complete took.
    pub(crate) taken: Option<Id<ChallengeRecord>>,
    /// The server's time, in seconds.
    pub(crate) now: u64,
    /// Tells apart what is drawn anew each time.
    pub(crate) draw: u8,
}

/// What a machine came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) change: Id<Changeset>,
    pub(crate) reply: Option<Id<Message>>,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tables: Id<Tables>,
    pub(crate) reply: Option<Id<Message>>,
    /// The challenge for which a session was made.
    pub(crate) accepted: Option<Id<ChallengeRecord>>,
}

impl Fleet {
    /// A whole call at once: load, decide, commit.
    pub(crate) fn call(
        &mut self,
        op: Op,
        tables: Id<Tables>,
        now: u64,
        draw: u8,
        raced: bool,
    ) -> Option<Outcome> {
        let (taken_from, taken) = self.take(op, tables, raced);
        let read = Read { found: self.load(op, taken, taken_from), taken, now, draw };
        let refused =
            || (taken_from != tables).then_some(Outcome { tables: taken_from, reply: None, accepted: None });
        let Some(decision) = self.decide(op, read) else { return refused() };
        match self.commit(taken_from, decision.change, raced) {
            Committed::Done(tables) => Some(Outcome { tables, reply: decision.reply, accepted: taken }),
            Committed::Stale | Committed::Taken => refused(),
        }
    }

    /// The rest of a call that read the store some time ago: its commit, and if that comes too late, all of it again
    /// from what the store has now, as the drivers do. `None` if it is refused.
    pub(crate) fn land(&mut self, op: Op, read: Read, tables: Id<Tables>, now: u64) -> Option<Outcome> {
        let decision = self.decide(op, read)?;
        let done =
            |decision: Decision, tables| Outcome { tables, reply: decision.reply, accepted: read.taken };
        match (self.commit(tables, decision.change, true), op) {
            (Committed::Done(tables), _) => return Some(done(decision, tables)),
            (Committed::Taken, Op::Register(_)) => return None,
            (Committed::Stale | Committed::Taken, _) => {}
        }
        let again = Read { found: self.load(op, read.taken, tables), now, ..read };
        let decision = self.decide(op, again)?;
        match self.commit(tables, decision.change, true) {
            Committed::Done(tables) => Some(done(decision, tables)),
            Committed::Stale | Committed::Taken => None,
        }
    }

    /// Complete's first step: the store deletes the challenge and returns it.
    pub(crate) fn take(
        &mut self,
        op: Op,
        tables: Id<Tables>,
        raced: bool,
    ) -> (Id<Tables>, Option<Id<ChallengeRecord>>) {
        let Op::Complete(message) = op else { return (tables, None) };
        let challenge = self.messages.get(message).body.complete().expect("a Complete").challenge;
        let key = (tables, challenge, raced);
        if let Some(taken) = self.memo.recall(|memo| &memo.taken, &key) {
            return taken;
        }
        let store = self.store(tables);
        let record = block_on(store.take_challenge(challenge)).unwrap();
        let after = match &record {
            Some(_) if self.bug != Some(Bug::ChallengeStays) => {
                self.read(&store, Some(tables), &Changeset::default(), raced)
            }
            Some(_) | None => tables,
        };
        let record = record.map(|record| {
            let sha256 = auth(Domain::AuthAgent, &record).sha256();
            let id = self.challenges.record(record);
            keep(&mut self.memo.recorded, id, sha256);
            id
        });
        let taken = (after, record);
        keep(&mut self.memo.taken, key, taken);
        taken
    }

    /// What the store has for a call.
    pub(crate) fn load(
        &mut self,
        op: Op,
        taken: Option<Id<ChallengeRecord>>,
        tables: Id<Tables>,
    ) -> Option<Id<Snapshot>> {
        let query = match op {
            Op::CreateCode(_) | Op::Reissue => Query::Organization(self.cast.org_id),
            Op::Cancel(holder) | Op::Expire(holder) => Query::Enrollment(self.cast.enrollment(holder)),
            Op::Confirm(_, agent) | Op::Revoke(agent) => Query::Agent(agent),
            Op::Register(message) => {
                Register::new(self.messages.get(message).body.register()?.clone()).query()
            }
            Op::Begin(message) => Begin::new(self.messages.get(message).body.begin()?.clone()).query(),
            // As `NeedsAgent::query`, which only a good signature leads to.
            Op::Complete(_) => Query::AgentByApiKey(self.challenges.get(taken?).api_key),
            Op::Call(message) | Op::Stream(message) => Query::AgentBySession(self.token(message)),
        };
        let facts = self.facts(tables);
        facts.found.iter().find(|(asked, _)| *asked == query).map(|(_, found)| *found)
    }

    pub(crate) fn token(&self, message: Id<Message>) -> SecretHash {
        self.messages.get(message).body.session().expect("a session").token.hash()
    }

    /// Runs the machine of a call up to what it wants committed; `None` if it refuses or wants nothing.
    pub(crate) fn decide(&mut self, op: Op, read: Read) -> Option<Decision> {
        if let Some(known) = self.memo.recall(|memo| &memo.decided, &(op, read)) {
            return known;
        }
        let decision = self.run(op, read).map(|(change, reply)| {
            let offered = change.challenge.as_ref().map(|record| auth(Domain::AuthAgent, record).sha256());
            let reply = reply.map(|body| self.messages.id(body.into()));
            if let (Some(reply), Some(offered)) = (reply, offered) {
                keep(&mut self.memo.offered, reply, offered);
            }
            Decision { change: self.changes.record(change), reply }
        });
        keep(&mut self.memo.decided, (op, read), decision);
        decision
    }

    /// The machine itself, with its keys. Everything that it is given is in the arguments.
    pub(crate) fn run(&self, op: Op, read: Read) -> Option<(Changeset, Option<Body>)> {
        let cast = &self.cast;
        let (now, policy) = (at(read.now), &cast.policy);
        let found = read.found.map(|found| (*self.snapshots.get(found)).clone());
        let request = |message: Id<Message>| self.messages.get(message).body.clone();
        let silent = |step: NeedsCommit<()>| (step.change().clone(), None);
        Some(match op {
            Op::CreateCode(holder) => {
                let request = CreateCode::default();
                let random = code_random(holder);
                let step = create_code(request, &cast.operator, &found?, now, policy, &random).ok()?;
                let change = step.change().clone();
                let made = step.committed();
                assert_eq!(made.code.map(|code| code.hash()), Some(cast.code(holder).hash()));
                assert_eq!(made.enrollment_id, cast.enrollment(holder));
                (change, None)
            }
            Op::Register(message) => {
                let request = request(message).register()?.clone();
                let random = random("register", &[request.code().as_bytes(), &request.identity]);
                match Register::new(request).resolve(found, now, policy, &random).ok()? {
                    RegisterOutcome::Answer(step) => {
                        let change = step.change().clone();
                        (change, Some(Body::Registered(Box::new(step.committed()))))
                    }
                    RegisterOutcome::Refuse(step) => (self.capped(step.change().clone()), None),
                }
            }
            Op::Confirm(holder, agent_id) => {
                let mut fingerprint = cast.public(holder).fingerprint();
                if self.bug == Some(Bug::FingerprintNotCompared) {
                    fingerprint = found.as_ref()?.agent.as_ref()?.record.keys.fingerprint();
                }
                let (operator, enrollment_id) = (cast.operator.clone(), cast.enrollment(holder));
                let confirm = Confirm { operator, agent_id, enrollment_id, fingerprint, certificate: None };
                let random = random("confirm", &[&agent_id.value().to_be_bytes()]);
                match confirm.resolve(found, now).ok()? {
                    ConfirmStep::Sign(needs) => {
                        let signature = needs.to_sign().map(|bytes| cast.root.sign(bytes.as_bytes()));
                        let step = needs.signed(signature, now, &random).ok()?;
                        // The api_key for pasting goes to the operator and no further.
                        (step.change().clone(), None)
                    }
                    ConfirmStep::Refuse(step) => (step.change().clone(), None),
                }
            }
            Op::Cancel(holder) => silent(cancel(cast.enrollment(holder), &cast.operator, found, now).ok()?),
            Op::Expire(_) => silent(expire(&found?, now).ok()?),
            Op::Revoke(agent_id) => {
                let needs = Revoke { operator: cast.operator.clone(), agent_id }.resolve(found, now).ok()?;
                assert!(needs.can_be_signed_by(cast.root.public().as_bytes()));
                let signature = cast.root.sign(needs.to_sign().as_bytes());
                let (mut change, reply) = silent(needs.signed(signature, now).ok()?);
                if self.bug == Some(Bug::RevokedKeepsCredentials) {
                    change.forget_credentials = None;
                }
                (change, reply)
            }
            Op::Reissue => {
                let needs = reissue(cast.operator.clone(), found, now).ok()?;
                let signature = cast.root.sign(needs.to_sign().as_bytes());
                (needs.signed(signature, now).ok()?.change().clone(), None)
            }
            Op::Begin(message) => {
                let request = request(message).begin()?.clone();
                let random = random("challenge", &[&request.identity, &[read.draw]]);
                let needs = Begin::new(request).resolve(found, now, policy, &random).ok()?;
                let signature = cast.command.sign(needs.to_sign().as_bytes());
                let step = needs.signed(signature).ok()?;
                let change = step.change().clone();
                (change, Some(Body::Challenge(Box::new(step.committed()))))
            }
            Op::Complete(message) => {
                let request = request(message).complete()?.clone();
                let random = random("token", &[&request.challenge, &[read.draw]]);
                let taken = read.taken.map(|taken| (*self.challenges.get(taken)).clone());
                let api_key = taken.as_ref().map(|taken| taken.api_key);
                let needs = Complete::new(request).taken(taken, now).ok()?;
                assert_eq!(Some(needs.query()), api_key.map(Query::AgentByApiKey));
                let step = needs.resolve(found, now, policy, &random).ok()?;
                let change = step.change().clone();
                (change, Some(Body::Session(step.committed())))
            }
            Op::Call(message) => {
                check_session(&self.token(message), found.as_ref(), now).ok()?;
                silent(end_delivery(&found?)?)
            }
            Op::Stream(message) => {
                (take_over(&self.token(message), found.as_ref(), now).ok()?.change().clone(), None)
            }
        })
    }

    /// Whose session tokens pass the shipped check at this time, as [`Holder::bit`]s; all bits if one passes that is
    /// of no confirmed agent, or of a mixture of keys.
    pub(crate) fn tokens_that_pass(&mut self, tables: Id<Tables>, now: u64) -> u8 {
        if let Some(known) = self.memo.recall(|memo| &memo.tokens, &(tables, now)) {
            return known;
        }
        let facts = self.facts(tables);
        let mut bits = 0;
        for id in &self.tables.get(tables).sessions {
            let token = self.sessions.get(*id).token;
            let query = Query::AgentBySession(token);
            let found = facts.found.iter().find(|(asked, _)| *asked == query);
            let found = found.map(|(_, found)| self.snapshots.get(*found));
            let Ok(caller) = check_session(&token, found.as_deref(), at(now)) else { continue };
            bits |= match facts.agents.iter().find(|(id, ..)| *id == caller.agent_id) {
                Some((_, AgentStatus::Confirmed, Some(holder))) => holder.bit(),
                Some(_) | None => u8::MAX,
            };
        }
        keep(&mut self.memo.tokens, (tables, now), bits);
        bits
    }

    /// Nothing decides by how often a code was used again, so the count goes to one, or stays what it was, where the
    /// bounds say so: it would tell states apart for nothing. The record is written all the same.
    fn capped(&self, mut change: Changeset) -> Changeset {
        if let Some(put) = &mut change.enrollment {
            put.record.second_uses = i64::from(self.bounds.second_uses);
            put.record.second_use_at = put.record.second_use_at.filter(|_| self.bounds.second_uses);
        }
        change
    }
}
