//! Panics, said without the values that were at hand.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// Has every panic of this process say where it was, and what it was only in words that stand in the program. A message
/// that was put together may hold a key, a password, or half of somebody's message. A backtrace, which holds no values,
/// is added if `RUST_BACKTRACE` asks for it. To be called before anything secret is read.
pub fn terse_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let (place, what, trace) = (place(panic), what(panic), Backtrace::capture());
        let trace = (trace.status() == BacktraceStatus::Captured).then_some(trace);
        if tracing::dispatcher::has_been_set() {
            let backtrace = trace.as_ref().map(tracing::field::display);
            tracing::error!(place, backtrace, "panicked: {what}");
        } else {
            eprintln!("error: panicked at {place}: {what}");
            if let Some(trace) = trace {
                eprintln!("{trace}");
            }
        }
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(|| "a place that is not known".to_owned(), ToString::to_string)
}

fn what(panic: &PanicHookInfo<'_>) -> &'static str {
    // What was put together is a `String`.
    panic.payload().downcast_ref().copied().unwrap_or("its message may hold values and is not shown")
}
