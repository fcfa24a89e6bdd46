//! Named points between the steps of a driver, where tests crash it.

/// A point between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the documentation: what has just been done")]
pub enum Point {
    AgentPlanned,
    AgentKeysSaved,
    AgentStateSaved,
    AgentProofsMade,
    AgentRegisterAnswered,
    AgentManifestSaved,
    AgentJoined,
    AgentApiKeyOpened,
    AgentApiKeySaved,
    AgentBeginAnswered,
    AgentChallengeSigned,
    AgentCompleteAnswered,
    AgentSessionSaved,
    ServerRegisterDecided,
    ServerRegisterCommitted,
    ServerConfirmDecided,
    ServerConfirmSigned,
    ServerConfirmCommitted,
    ServerBeginDecided,
    ServerBeginSigned,
    ServerBeginCommitted,
    ServerChallengeTaken,
    ServerSessionDecided,
    ServerSessionCommitted,
    ServerDeliveryEnded,
}

impl Point {
    /// Every point, in the order of an enrollment and its first handshake, agent first.
    pub const ALL: [Self; 25] = [
        Self::AgentPlanned,
        Self::AgentKeysSaved,
        Self::AgentStateSaved,
        Self::AgentProofsMade,
        Self::AgentRegisterAnswered,
        Self::AgentManifestSaved,
        Self::AgentJoined,
        Self::AgentApiKeyOpened,
        Self::AgentApiKeySaved,
        Self::AgentBeginAnswered,
        Self::AgentChallengeSigned,
        Self::AgentCompleteAnswered,
        Self::AgentSessionSaved,
        Self::ServerRegisterDecided,
        Self::ServerRegisterCommitted,
        Self::ServerConfirmDecided,
        Self::ServerConfirmSigned,
        Self::ServerConfirmCommitted,
        Self::ServerBeginDecided,
        Self::ServerBeginSigned,
        Self::ServerBeginCommitted,
        Self::ServerChallengeTaken,
        Self::ServerSessionDecided,
        Self::ServerSessionCommitted,
        Self::ServerDeliveryEnded,
    ];

    /// The point's name, for a command line or an environment variable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentPlanned => "agent-planned",
            Self::AgentKeysSaved => "agent-keys-saved",
            Self::AgentStateSaved => "agent-state-saved",
            Self::AgentProofsMade => "agent-proofs-made",
            Self::AgentRegisterAnswered => "agent-register-answered",
            Self::AgentManifestSaved => "agent-manifest-saved",
            Self::AgentJoined => "agent-joined",
            Self::AgentApiKeyOpened => "agent-api-key-opened",
            Self::AgentApiKeySaved => "agent-api-key-saved",
            Self::AgentBeginAnswered => "agent-begin-answered",
            Self::AgentChallengeSigned => "agent-challenge-signed",
            Self::AgentCompleteAnswered => "agent-complete-answered",
            Self::AgentSessionSaved => "agent-session-saved",
            Self::ServerRegisterDecided => "server-register-decided",
            Self::ServerRegisterCommitted => "server-register-committed",
            Self::ServerConfirmDecided => "server-confirm-decided",
            Self::ServerConfirmSigned => "server-confirm-signed",
            Self::ServerConfirmCommitted => "server-confirm-committed",
            Self::ServerBeginDecided => "server-begin-decided",
            Self::ServerBeginSigned => "server-begin-signed",
            Self::ServerBeginCommitted => "server-begin-committed",
            Self::ServerChallengeTaken => "server-challenge-taken",
            Self::ServerSessionDecided => "server-session-decided",
            Self::ServerSessionCommitted => "server-session-committed",
            Self::ServerDeliveryEnded => "server-delivery-ended",
        }
    }
}

/// Told of every point that a driver reaches; tests make it crash there.
pub trait Probe: core::fmt::Debug + Send + Sync {
    /// The driver has just passed `point`.
    fn reached(&self, point: Point);
}

/// A probe that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn reached(&self, _: Point) {}
}
