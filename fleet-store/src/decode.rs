//! From columns to values; every refusal names its table and column.

use fleet_core::code::SecretHash;
use fleet_core::time::UnixMillis;

use crate::error::{DecodeError, UnknownWord, WrongLength};

/// The columns of one table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns(pub(crate) &'static str);

impl Columns {
    pub(crate) fn bad(
        self,
        column: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DecodeError {
        DecodeError { table: self.0, column, source: source.into() }
    }

    /// What a fallible constructor made of a column.
    pub(crate) fn value<T, E>(self, column: &'static str, result: Result<T, E>) -> Result<T, DecodeError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        result.map_err(|source| self.bad(column, source))
    }

    pub(crate) fn id<T: TryFrom<i64>>(self, column: &'static str, id: i64) -> Result<T, DecodeError>
    where
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        self.value(column, T::try_from(id))
    }

    pub(crate) fn optional_id<T: TryFrom<i64>>(
        self,
        column: &'static str,
        id: Option<i64>,
    ) -> Result<Option<T>, DecodeError>
    where
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        id.map(|id| self.id(column, id)).transpose()
    }

    pub(crate) fn time(self, column: &'static str, millis: i64) -> Result<UnixMillis, DecodeError> {
        self.id(column, millis)
    }

    pub(crate) fn optional_time(
        self,
        column: &'static str,
        millis: Option<i64>,
    ) -> Result<Option<UnixMillis>, DecodeError> {
        self.optional_id(column, millis)
    }

    pub(crate) fn word<T>(self, column: &'static str, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.bad(column, UnknownWord))
    }

    pub(crate) fn bytes<const N: usize>(
        self,
        column: &'static str,
        bytes: &[u8],
    ) -> Result<[u8; N], DecodeError> {
        let wrong = WrongLength { expected: N, got: bytes.len() };
        <[u8; N]>::try_from(bytes).map_err(|_| self.bad(column, wrong))
    }

    pub(crate) fn hash(self, column: &'static str, bytes: &[u8]) -> Result<SecretHash, DecodeError> {
        self.bytes(column, bytes).map(SecretHash::from_bytes)
    }

    /// A list of items of `N` bytes, concatenated.
    pub(crate) fn list<const N: usize>(
        self,
        column: &'static str,
        bytes: &[u8],
    ) -> Result<Vec<[u8; N]>, DecodeError> {
        let (items, rest) = bytes.as_chunks::<N>();
        if rest.is_empty() {
            Ok(items.to_vec())
        } else {
            Err(self.bad(column, WrongLength { expected: N, got: bytes.len() }))
        }
    }
}
