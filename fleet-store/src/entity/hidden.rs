//! Columns that no `Debug` shows, of a row or of a change to one: hashes that credentials are looked up by, challenges,
//! signatures and what is sealed.

use core::fmt;

use sea_orm::{DbErr, DeriveValueType, TryFromU64};

#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct HiddenBytes(pub Vec<u8>);

#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct HiddenText(pub String);

impl fmt::Debug for HiddenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// A primary key must have it. No database numbers these.
impl TryFromU64 for HiddenBytes {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("HiddenBytes"))
    }
}
