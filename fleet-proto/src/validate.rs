//! The rules of the .proto files, enforced.
//!
//! Every message implements [`Validate`]; the implementations are generated from the `buf.validate` options, so
//! those are the one statement of the limits. Lengths of strings count characters, those of bytes count bytes.

use core::fmt;

/// A message whose rules can be checked.
pub trait Validate {
    /// Checks every rule of the message and of those within it.
    ///
    /// # Errors
    /// The first [`Violation`], in the order of the fields.
    fn validate(&self) -> Result<(), Violation> {
        self.validate_at(&Path::ROOT)
    }

    /// As [`Validate::validate`], for a message at `path` within another.
    ///
    /// # Errors
    /// The first [`Violation`].
    fn validate_at(&self, path: &Path<'_>) -> Result<(), Violation>;
}

/// Where a value stands in the message that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Root,
    Field(&'static str),
    Index(usize),
}

/// A value breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Violation {
    /// The field, as a path from the message that was checked, for example `samples[3].endpoint`.
    pub field: String,
    /// What it should be, and what it is.
    pub rule: Rule,
}

/// What a value should be, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// It must be there.
    #[error("is required")]
    Required,
    /// A length in some unit.
    #[error("must be {} {unit}, got {got}", Bounds(*min, *max))]
    Length {
        /// What is counted.
        unit: &'static str,
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
        /// How many there are.
        got: u64,
    },
    /// An integer within bounds.
    #[error("must be {}, got {got}", Range(*min, *max))]
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// What it is.
        got: i64,
    },
    /// A number that is finite and not below a bound.
    #[error("must be a finite number{}", if *not_negative { " of at least 0" } else { "" })]
    Finite {
        /// Whether it must be 0 or more.
        not_negative: bool,
    },
    /// One of the values of an enum.
    #[error("must be a defined value, got {got}")]
    Defined {
        /// What it is.
        got: i32,
    },
    /// A time of whole milliseconds, not before 1970.
    #[error("must be a time of whole milliseconds, not before 1970")]
    Timestamp,
    /// A duration within bounds.
    #[error("must be {min} to {max} seconds")]
    Duration {
        /// The shortest, s.
        min: i64,
        /// The longest, s.
        max: i64,
    },
}

/// `exactly 32`, `at most 5`, `1 to 255`, `at least 1`.
struct Bounds(u64, u64);

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(min, max) if min == max => write!(f, "exactly {min}"),
            Self(0, max) => write!(f, "at most {max}"),
            Self(min, u64::MAX) => write!(f, "at least {min}"),
            Self(min, max) => write!(f, "{min} to {max}"),
        }
    }
}

struct Range(i64, i64);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(min, i64::MAX) => write!(f, "at least {min}"),
            Self(i64::MIN, max) => write!(f, "at most {max}"),
            Self(min, max) => write!(f, "{min} to {max}"),
        }
    }
}

/// What the generated checks call. Each gives a violation at this path if the value breaks its rule.
impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) const fn field(&'a self, name: &'static str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(crate) fn missing(&self) -> Violation {
        self.violation(Rule::Required)
    }

    pub(crate) fn items(&self, got: usize, min: u64, max: u64) -> Result<(), Violation> {
        self.length("items", got, min, max)
    }

    pub(crate) fn chars(&self, text: &str, min: u64, max: u64) -> Result<(), Violation> {
        self.length("characters", text.chars().count(), min, max)
    }

    pub(crate) fn bytes(&self, bytes: &[u8], min: u64, max: u64) -> Result<(), Violation> {
        self.length("bytes", bytes.len(), min, max)
    }

    fn length(&self, unit: &'static str, got: usize, min: u64, max: u64) -> Result<(), Violation> {
        let got = u64::try_from(got).unwrap_or(u64::MAX);
        if (min..=max).contains(&got) {
            return Ok(());
        }
        Err(self.violation(Rule::Length { unit, min, max, got }))
    }

    pub(crate) fn integer(&self, got: i64, min: i64, max: i64) -> Result<(), Violation> {
        if (min..=max).contains(&got) {
            return Ok(());
        }
        Err(self.violation(Rule::Integer { min, max, got }))
    }

    pub(crate) fn finite(&self, got: f64, min: Option<f64>) -> Result<(), Violation> {
        if got.is_finite() && min.is_none_or(|min| got >= min) {
            return Ok(());
        }
        Err(self.violation(Rule::Finite { not_negative: min.is_some() }))
    }

    pub(crate) fn defined(&self, known: bool, got: i32, zero: bool) -> Result<(), Violation> {
        if known && (zero || got != 0) {
            return Ok(());
        }
        Err(self.violation(Rule::Defined { got }))
    }

    pub(crate) fn timestamp(&self, time: &prost_types::Timestamp) -> Result<(), Violation> {
        crate::convert::millis(time).map(drop).map_err(|_| self.violation(Rule::Timestamp))
    }

    pub(crate) fn duration(&self, time: &prost_types::Duration, min: i64, max: i64) -> Result<(), Violation> {
        let whole = (0..1_000_000_000).contains(&time.nanos);
        if whole && time.seconds >= min && (time.seconds < max || (time.seconds == max && time.nanos == 0)) {
            return Ok(());
        }
        Err(self.violation(Rule::Duration { min, max }))
    }

    fn violation(&self, rule: Rule) -> Violation {
        Violation { field: self.to_string(), rule }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Field(name) if self.parent.is_some_and(|parent| !matches!(parent.step, Step::Root)) => {
                write!(f, ".{name}")
            }
            Step::Field(name) => f.write_str(name),
        }
    }
}
