//! How commands end.

use std::{fmt, io::Write as _, process::ExitCode};

use fleet_core::{driver::AgentError, handshake::agent::HandshakeError};

use crate::{
    enroll::{EnrollFailure, is_unauthenticated, passing},
    gateway::ConnectError,
    keeper::{KeeperEnd, chain},
    miner::credentials::CredentialError,
    prompt::PromptError,
    run::RunError,
    state::{StateDirError, StateFileError},
};

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0.
    Success,
    /// 1: it failed.
    Failure,
    /// 64: the command line or configuration is wrong.
    Usage,
    /// 75: it may work later.
    Temporary,
    /// 77: the server refuses for good.
    Refused,
}

impl Exit {
    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 64,
            Self::Temporary => 75,
            Self::Refused => 77,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, and how it exits.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    problems: Vec<String>,
}

impl Failure {
    /// The command line has these problems.
    pub(super) const fn usage(problems: Vec<String>) -> Self {
        Self { exit: Exit::Usage, problems }
    }

    pub(super) fn because(exit: Exit, problem: &str) -> Self {
        Self { exit, problems: vec![problem.to_owned()] }
    }

    pub(super) fn new(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit, problems: vec![chain(error)] }
    }

    /// Tells the person, and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        let mut out = std::io::stderr().lock();
        for problem in &self.problems {
            // With standard error gone there is nobody to tell.
            drop(writeln!(out, "error: {problem}"));
        }
        self.exit.into()
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (Exit, &[String]) {
        (self.exit, &self.problems)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failure, error.as_ref())
    }
}

impl From<StateDirError> for Failure {
    fn from(error: StateDirError) -> Self {
        let exit = match &error {
            StateDirError::NoHome => Exit::Usage,
            StateDirError::Locked { .. } => Exit::Temporary,
            StateDirError::Missing { .. }
            | StateDirError::Shared { .. }
            | StateDirError::Symlink { .. }
            | StateDirError::NotADirectory { .. }
            | StateDirError::OtherOwner { .. }
            | StateDirError::Io { .. } => Exit::Failure,
        };
        Self::new(exit, &error)
    }
}

impl From<StateFileError> for Failure {
    fn from(error: StateFileError) -> Self {
        Self::new(Exit::Failure, &error)
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::new(Exit::Failure, &error)
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        Self::new(Exit::Failure, &error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(Exit::Usage, &error)
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let is_revoked = matches!(error, AgentError::Handshake(HandshakeError::Revoked));
        let exit = if is_revoked || is_unauthenticated(&error) {
            Exit::Refused
        } else if passing(&error).is_some() {
            Exit::Temporary
        } else {
            Exit::Failure
        };
        Self::new(exit, &error)
    }
}

impl From<EnrollFailure> for Failure {
    fn from(error: EnrollFailure) -> Self {
        let exit = if matches!(error, EnrollFailure::Unreachable(_) | EnrollFailure::NotOnline(_)) {
            Exit::Temporary
        } else if error.is_final() {
            Exit::Refused
        } else {
            Exit::Failure
        };
        Self::new(exit, &error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::StateDir(error) => error.into(),
            RunError::State(error) => error.into(),
            RunError::Connect(error) => error.into(),
            RunError::Keeper(KeeperEnd::Refused) => Self::new(Exit::Refused, &KeeperEnd::Refused),
            RunError::Store(_)
            | RunError::Counters(_)
            | RunError::NotEnrolled
            | RunError::Health { .. }
            | RunError::Keeper(KeeperEnd::Broken(_))
            | RunError::Part(_) => Self::new(Exit::Failure, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_refused_for_good_exits_77() {
        let failure = Failure::from(RunError::Keeper(KeeperEnd::Refused));
        assert_eq!(failure.parts().0.code(), 77);
        assert_eq!(Failure::from(EnrollFailure::CodeRefused).parts().0.code(), 77);
        assert_eq!(Failure::from(RunError::NotEnrolled).parts().0.code(), 1);
    }
}
