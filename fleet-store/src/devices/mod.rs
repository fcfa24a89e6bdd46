//! Devices: what agents have seen, and who owns what.

mod list;
mod pair;

pub use list::{DeviceFilter, DeviceListing, DeviceRecord};
pub(crate) use pair::release;
pub use pair::{PairError, Paired, Selection, SkipReason};
