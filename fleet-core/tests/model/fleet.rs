//! Every value that the model has met, and every step that was computed.

use core::cell::RefCell;
use core::fmt::Debug;
use core::hash::Hash;
use std::sync::Arc;

use fleet_core::id::AgentId;
use fleet_core::keys::Signature;
use fleet_core::manifest::SignedManifest;
use fleet_core::store::{
    AgentApiKeyRecord, AgentRecord, ChallengeRecord, Changeset, EnrollmentRecord, OrganizationRecord,
    SessionRecord, Snapshot,
};

use crate::agent::{Agent, Answered, Challenged, Disk};
use crate::attacker::{Awaits, Known, Knows, Part};
use crate::bugs::Bug;
use crate::cast::{Cast, Holder, Message};
use crate::intern::{Id, Interner, Memo};
use crate::server::{Decision, Op, Read};
use crate::state::Bounds;
use crate::tables::{Committed, Facts, Tables};

/// Every value that the model has met, and every step that was computed. A step is a function of what stands in its
/// key: it is the whole machine, with the signatures that it verifies and those that it makes, that is remembered.
pub(crate) struct Fleet {
    pub(crate) cast: Cast,
    pub(crate) bug: Option<Bug>,
    pub(crate) bounds: Bounds,

    pub(crate) messages: Interner<Message>,
    pub(crate) organizations: Interner<OrganizationRecord>,
    pub(crate) agents: Interner<AgentRecord>,
    pub(crate) enrollments: Interner<EnrollmentRecord>,
    pub(crate) api_keys: Interner<AgentApiKeyRecord>,
    pub(crate) challenges: Interner<ChallengeRecord>,
    pub(crate) sessions: Interner<SessionRecord>,
    pub(crate) tables: Interner<Tables>,
    pub(crate) snapshots: Interner<Snapshot>,
    pub(crate) changes: Interner<Changeset>,
    pub(crate) manifests: Interner<SignedManifest>,
    /// Api_keys in clear, as agents and the attacker have them.
    pub(crate) secrets: Interner<String>,
    pub(crate) disks: Interner<Disk>,
    pub(crate) hosts: Interner<Agent>,
    pub(crate) known: Interner<Known>,
    /// The challenges that sessions were made for, in no order.
    pub(crate) accepted: Interner<Vec<Id<ChallengeRecord>>>,

    pub(crate) memo: Memos,
}

#[derive(Default)]
#[allow(clippy::type_complexity, reason = "a key lists what a step was computed from")]
pub(crate) struct Memos {
    /// Every step of a machine and of the store is computed each time, and must come to what it came to before.
    pub(crate) doubts: bool,
    pub(crate) taken: Memo<(Id<Tables>, [u8; 32], bool), (Id<Tables>, Option<Id<ChallengeRecord>>)>,
    pub(crate) decided: Memo<(Op, Read), Option<Decision>>,
    pub(crate) committed: Memo<(Id<Tables>, Id<Changeset>, bool), Committed>,
    pub(crate) settled: Memo<Id<Tables>, Id<Tables>>,
    pub(crate) facts: Memo<Id<Tables>, Arc<Facts>>,
    pub(crate) registers: Memo<Id<Disk>, Id<Message>>,
    pub(crate) answered: Memo<(Id<Disk>, Id<Message>, bool), Answered>,
    pub(crate) begun: Memo<(Id<Disk>, u8), Id<Message>>,
    pub(crate) challenged: Memo<(Id<Disk>, u8, u64, Id<Message>), Challenged>,
    pub(crate) online: Memo<(Id<Disk>, u8, Id<Message>, (u64, u64), Id<Message>), bool>,
    /// The SHA-256 of what the honest agent signed, by the Complete that it sent.
    pub(crate) signed: Memo<Id<Message>, [u8; 32]>,
    /// The SHA-256 of what an agent is to sign, by the server's answer to Begin.
    pub(crate) offered: Memo<Id<Message>, [u8; 32]>,
    /// The same, by the server's record.
    pub(crate) recorded: Memo<Id<ChallengeRecord>, [u8; 32]>,
    pub(crate) opened: Memo<Id<Message>, Option<Id<String>>>,
    pub(crate) knows: Memo<(Id<Known>, u8), Arc<Knows>>,
    pub(crate) parts: Memo<(Part, u8, Vec<Id<Message>>), Arc<Vec<Op>>>,
    /// What the attacker signed, by public key and SHA-256.
    pub(crate) signatures: RefCell<Memo<([u8; 32], [u8; 32]), Signature>>,
    pub(crate) answers_of: Memo<(Vec<Id<Message>>, Holder, Option<AgentId>, Awaits), Arc<Vec<Id<Message>>>>,
    pub(crate) answers: Memo<(Id<Known>, Holder, Option<AgentId>, Awaits), Arc<Vec<Id<Message>>>>,
    pub(crate) tokens: Memo<(Id<Tables>, u64), u8>,
}

impl Memos {
    /// What a step came to, unless that is in doubt.
    pub(crate) fn recall<K: Eq + Hash, V: Clone>(
        &self,
        of: impl Fn(&Self) -> &Memo<K, V>,
        key: &K,
    ) -> Option<V> {
        if self.doubts { None } else { of(self).get(key).cloned() }
    }
}

/// Remembers what a step came to.
pub(crate) fn keep<K: Eq + Hash, V: PartialEq + Debug + Clone>(memo: &mut Memo<K, V>, key: K, value: V) {
    let held = memo.entry(key).or_insert_with(|| value.clone());
    assert_eq!(*held, value, "a step is no function of what it was remembered by");
}

impl Fleet {
    pub(crate) fn new(bounds: Bounds, bug: Option<Bug>) -> Self {
        Self {
            cast: Cast::new(),
            bug,
            bounds,
            messages: Interner::default(),
            organizations: Interner::default(),
            agents: Interner::default(),
            enrollments: Interner::default(),
            api_keys: Interner::default(),
            challenges: Interner::default(),
            sessions: Interner::default(),
            tables: Interner::default(),
            snapshots: Interner::default(),
            changes: Interner::default(),
            manifests: Interner::default(),
            secrets: Interner::default(),
            disks: Interner::default(),
            hosts: Interner::default(),
            known: Interner::default(),
            accepted: Interner::default(),
            memo: Memos::default(),
        }
    }

    pub(crate) fn facts(&self, tables: Id<Tables>) -> Arc<Facts> {
        Arc::clone(&self.memo.facts[&tables])
    }
}
