//! Faults put in on purpose, one at a time, into what stands around the machines: the store, the drivers, the operator.
//! Each has a test that the checker finds it. The machines themselves stay as they are shipped.

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The store looks a challenge up and does not delete it.
    ChallengeStays,
    /// An agent is confirmed with the fingerprint in the server's own record, not with the one that was typed.
    FingerprintNotCompared,
    /// Revoking changes the agent's status and leaves its api_key, challenge and sessions.
    RevokedKeepsCredentials,
    /// The store writes whatever version a record has.
    VersionsIgnored,
    /// The agent signs a challenge although the server's signature does not verify.
    SignsUnverified,
    /// The agent takes the first manifest that is signed by anybody, whatever its code pins.
    PinNotChecked,
    /// The agent goes on with a newer manifest without having saved it.
    ManifestNotSaved,
}
