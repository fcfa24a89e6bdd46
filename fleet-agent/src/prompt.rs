//! How secrets are entered: without echo at a terminal, one a line from a pipe; never on a command
//! line or in the environment, where other processes can read them.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use zeroize::Zeroizing;

/// The longest line that is read, bytes: far above any secret's length.
const MAX_LINE: u64 = 8 * 1024;

/// Nothing was entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Standard input ended.
    #[error("standard input ended before {what} was entered")]
    Ended {
        /// What was asked for.
        what: &'static str,
    },
    /// The line is too long to be what was asked for.
    #[error("the line is too long for {what}")]
    TooLong {
        /// What was asked for.
        what: &'static str,
    },
    /// The system refused.
    #[error("cannot read {what}")]
    Io {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Whether a person is at standard input.
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a secret. `what` is for the prompt and for errors, for example "the enrollment code".
///
/// # Errors
/// [`PromptError`].
pub fn secret(what: &'static str) -> Result<Zeroizing<String>, PromptError> {
    if is_interactive() {
        let mut capitals = what.chars();
        let first = capitals.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        let entered = rpassword::prompt_password(format!("{first}{} (not shown): ", capitals.as_str()));
        return entered.map(Zeroizing::new).map_err(|source| PromptError::Io { what, source });
    }
    line(what)
}

/// Asks a question that is answered with yes or no; anything but yes is no.
///
/// # Errors
/// [`PromptError`].
pub fn confirm(question: &str) -> Result<bool, PromptError> {
    const WHAT: &str = "the answer";
    let mut out = io::stderr();
    write!(out, "{question} [y/N] ")
        .and_then(|()| out.flush())
        .map_err(|source| PromptError::Io { what: WHAT, source })?;
    let answer = line(WHAT)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Reads one line. The standard library's buffer keeps what it read ahead, so the next secret of a
/// pipe is still there for the next call.
/// A line that nobody asked for, without a prompt; at a terminal without echo.
///
/// # Errors
/// [`PromptError::Ended`] at the end of standard input.
pub fn unasked() -> Result<Zeroizing<String>, PromptError> {
    const WHAT: &str = "a line";
    if is_interactive() {
        return rpassword::read_password()
            .map(Zeroizing::new)
            .map_err(|source| PromptError::Io { what: WHAT, source });
    }
    line(WHAT)
}

fn line(what: &'static str) -> Result<Zeroizing<String>, PromptError> {
    read_line(&mut io::stdin().lock(), what)
}

fn read_line(input: &mut impl io::BufRead, what: &'static str) -> Result<Zeroizing<String>, PromptError> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let mut limited = io::Read::take(input, MAX_LINE);
    let count = limited.read_line(&mut text).map_err(|source| PromptError::Io { what, source })?;
    if count == 0 {
        return Err(PromptError::Ended { what });
    }
    if !text.ends_with('\n') && limited.limit() == 0 {
        return Err(PromptError::TooLong { what });
    }
    while text.ends_with(['\n', '\r']) {
        text.pop();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gives_one_secret_a_line() {
        let mut pipe = io::Cursor::new("first\r\nsecond ü\nlast");
        for expected in ["first", "second ü", "last"] {
            assert_eq!(read_line(&mut pipe, "the code").unwrap().as_str(), expected);
        }
        let error = read_line(&mut pipe, "the code").unwrap_err();
        assert_eq!(error.to_string(), "standard input ended before the code was entered");
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut pipe = io::Cursor::new("x".repeat(100_000));
        assert!(matches!(read_line(&mut pipe, "the code"), Err(PromptError::TooLong { .. })));
    }
}
