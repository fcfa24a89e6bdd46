//! A panic says where it was, and nothing of the values that were at hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

const SECRET: &str = "the-password-of-a-miner-4711";

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Said {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn fails() -> Result<(), String> {
    Err(SECRET.to_owned())
}

const fn nothing() -> Option<()> {
    None
}

// One test: the hook and the log are the process's.
#[test]
fn a_panic_says_where_it_was_and_no_values() {
    let said = Said::default();
    tracing_subscriber::fmt().with_writer(said.clone()).with_ansi(false).init();
    fleet_agent::cli::terse_panics();

    catch_unwind(|| fails().unwrap()).unwrap_err();
    let text = said.take();
    assert!(text.contains("ERROR") && text.contains("tests/panics.rs:"), "{text}");
    assert!(text.contains("its message may hold values") && !text.contains(SECRET), "{text}");

    catch_unwind(|| panic!("{SECRET}")).unwrap_err();
    assert!(!said.take().contains(SECRET));
    catch_unwind(|| std::panic::panic_any(SECRET.to_owned())).unwrap_err();
    assert!(!said.take().contains(SECRET));

    // What stands in the program is shown.
    catch_unwind(|| nothing().unwrap()).unwrap_err();
    let text = said.take();
    assert!(text.contains("called `Option::unwrap()` on a `None` value"), "{text}");
}
