//! What the fuzz targets run: plain functions that panic where a promise is broken.
//!
//! Each has a corpus in `corpus/`, which the tests here replay. A file whose name starts with `valid-` must be
//! taken, so what is on the wire and on paper today stays readable; any other file may be refused.
#![forbid(unsafe_code)]

mod agent;
mod code;
mod operations;
mod payloads;
mod proto_messages;
mod script;
mod server;
mod state;

/// How far an input came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was refused, as nearly everything is.
    Refused,
    /// It was taken, and what was made of it survived the way back.
    Taken,
}

/// Strings that people and programs handle: the first byte picks a kind, the rest is the text. What is taken is taken
/// again in its own written form, and a code with up to four wrong characters is refused.
pub fn code(data: &[u8]) {
    code::run(data);
}

/// Every message of the .proto files: the first byte picks one, the rest is the message. What the rules and conversions
/// take is the same after a way through the domain, through protobuf and through JSON.
pub fn proto_messages(data: &[u8]) {
    proto_messages::run(data);
}

/// The full name of each message, in the place that picks it.
#[must_use]
pub fn message_names() -> Vec<String> {
    proto_messages::names()
}

/// Payloads of uploads: samples if the first byte is 0, events if it is 1. What is taken is the same after
/// encoding it again.
pub fn payloads(data: &[u8]) {
    payloads::run(data);
}

/// A script of what is sent to a server: changed messages of two agents, bytes, time that passes, and what the operator
/// does. A session exists only for keys that the operator confirmed, and what is revoked stays so.
pub fn server(data: &[u8]) {
    server::run(data);
}

/// A script of what an agent is answered while it enrolls and makes sessions. It stays with the organization that its
/// code pins, its keys and its id, and takes no older manifest.
pub fn agent(data: &[u8]) {
    agent::run(data);
}

/// A schedule of operators, agents, an attacker and faults, as text or drawn from the input. The named invariants of
/// `fleet_core::testing::simulation` hold after each event.
pub fn operations(data: &[u8]) {
    operations::run(data);
}

pub use state::FILES as STATE_FILES;

/// The files of an agent's state directory: for each its number, its length in two bytes, and its content. What is read
/// is the same after writing it.
pub fn state(data: &[u8]) {
    state::run(data);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Outcome;

    fn replay(target: &str, run: fn(&[u8]) -> Outcome) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut files: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut valid = 0;
        for file in &files {
            let name = file.file_name().unwrap().to_str().unwrap();
            // Printed only when the test fails: the last line names the file.
            println!("{target}/{name}");
            let outcome = run(&fs::read(file).unwrap());
            if name.starts_with("valid-") {
                assert_eq!(outcome, Outcome::Taken, "{target}/{name} is no longer taken");
                valid += 1;
            }
        }
        assert!(valid > 0 && valid < files.len(), "{target}: {valid} of {} files are valid", files.len());
    }

    #[test]
    fn agent() {
        replay("agent", super::agent::run);
    }

    #[test]
    fn server() {
        replay("server", super::server::run);
    }

    #[test]
    fn state() {
        replay("state", super::state::run);
    }

    #[test]
    fn operations() {
        replay("operations", super::operations::run);
    }

    #[test]
    fn code() {
        replay("code", super::code::run);
    }

    #[test]
    fn payloads() {
        replay("payloads", super::payloads::run);
    }

    #[test]
    fn proto_messages() {
        replay("proto_messages", super::proto_messages::run);
    }
}
