//! Option values, checked together so that every bad one is reported at once.

use std::{fmt::Display, time::Duration};

/// Collects what is wrong with a command line.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// The value, or `None` after noting what is wrong with `option`.
    pub(super) fn check<T, E: Display>(&mut self, option: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.0.push(format!("{option}: {error}"))).ok()
    }

    /// Whether nothing was wrong so far.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems so far.
    pub(super) fn into_inner(self) -> Vec<String> {
        self.0
    }
}

/// The text is no time span of the kind that an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum IntervalError {
    #[error("expected a time span such as 5s, 500ms or 2m")]
    Syntax,
    #[error("must be between {} s and {} s", .shortest.as_secs(), .longest.as_secs())]
    Range { shortest: Duration, longest: Duration },
}

/// Reads `5s`, `500ms`, `2m`, or a number of seconds.
pub(super) fn interval(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, IntervalError> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| IntervalError::Syntax)?;
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => Duration::from_millis(1),
        "" | "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        _ => return Err(IntervalError::Syntax),
    };
    let interval = unit.saturating_mul(number);
    if interval < shortest || interval > longest {
        return Err(IntervalError::Range { shortest, longest });
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units_and_bounds() {
        let read = |text| interval(text, Duration::from_secs(1), Duration::from_secs(600));
        for (text, millis) in
            [("5s", 5_000), ("5", 5_000), ("1500ms", 1_500), ("2m", 120_000), (" 3s ", 3_000)]
        {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5h", "-1s", "1.5s", "five"] {
            assert_eq!(read(text), Err(IntervalError::Syntax), "{text}");
        }
        for text in ["0s", "999ms", "11m", "4000000000m"] {
            assert!(matches!(read(text), Err(IntervalError::Range { .. })), "{text}");
        }
    }
}
