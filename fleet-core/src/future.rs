//! The one future type of this crate's traits: boxed and `Send`, so that the traits are
//! object-safe and no runtime is named.

use core::{future::Future, pin::Pin};

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A future that is done.
pub fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(core::future::ready(value))
}
