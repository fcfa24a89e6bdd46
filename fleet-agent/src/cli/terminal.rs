//! Talking to the person at the terminal.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::exit::{Exit, Failure};
use crate::prompt::PromptError;

/// Prints a line of what was asked for. With standard output gone there is nobody to tell.
pub(super) fn say(line: impl Display) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// Prints a line about how it goes.
pub(super) fn tell(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Asks where it blocks no other task.
pub(super) async fn asked<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, PromptError> + Send + 'static,
) -> Result<T, PromptError> {
    tokio::task::spawn_blocking(ask)
        .await
        .unwrap_or_else(|error| Err(PromptError::Io { what: "the answer", source: error.into() }))
}

/// Puts the terminal back as it was: a prompt for a secret turns echo off, and may be left waiting.
pub(super) struct EchoRestored(Option<Termios>);

impl EchoRestored {
    pub(super) fn new() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for EchoRestored {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Runs a command that may prompt. SIGINT ends it as a crash would, which every command survives,
/// but with the terminal as it was: a prompt for a secret turns echo off.
pub(super) async fn interruptible(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let _echo = EchoRestored::new();
    tokio::select! {
        outcome = command => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::because(Exit::Failure, "interrupted")),
    }
}
