//! Faults of the backend, as [`StoreError`]s that keep their cause.

use fleet_core::store::StoreError;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A stored row is not what this crate writes: somebody else wrote it, or the disk did.
///
/// It is the source of the [`StoreError`] that a read then fails with. It does not repeat the
/// value.
#[derive(Debug, thiserror::Error)]
#[error("the database holds no valid {table}.{column}")]
pub struct DecodeError {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// What is wrong with the value.
    #[source]
    pub source: Cause,
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self(Box::new(error))
    }
}

/// A value that this version does not know how to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this version cannot store such a {table}.{column}")]
pub struct UnsupportedValue {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

impl From<UnsupportedValue> for StoreError {
    fn from(error: UnsupportedValue) -> Self {
        Self(Box::new(error))
    }
}

/// A column's text is none of the words that it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub(crate) struct UnknownWord;

/// A column that goes with others is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("missing")]
pub(crate) struct Missing;

/// A column's bytes have another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a multiple of {expected} bytes, got {got}")]
pub(crate) struct WrongLength {
    pub(crate) expected: usize,
    pub(crate) got: usize,
}

/// The backend's own error, whole.
pub(crate) fn backend(error: DbErr) -> StoreError {
    StoreError(Box::new(error))
}

/// Whether a write failed for a row that has the same key.
pub(crate) fn is_unique(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Whether a write failed for a row that it refers to.
pub(crate) fn is_foreign_key(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_)))
}

/// Whether a write failed for this very constraint: PostgreSQL names the index, SQLite the
/// columns.
pub(crate) fn is_unique_in(error: &DbErr, index: &str, columns: &str) -> bool {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(message)) => {
            message.contains(index) || message.contains(columns)
        }
        _ => false,
    }
}

/// Whether PostgreSQL gave up this transaction in favor of another; nothing of it happened.
pub(crate) fn is_contention(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    let code = cause.as_database_error().and_then(|cause| cause.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Whether SQLite could not connect since another process had the database for itself
/// (`SQLITE_BUSY`, with any extension).
pub(crate) fn is_busy(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(cause)) = error else { return false };
    let code = cause.as_database_error().and_then(|cause| cause.code());
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| code & 0xff == 5)
}
