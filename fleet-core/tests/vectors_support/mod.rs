//! A vector's file, what is given in it, and how an operation says no.

pub(crate) mod blocks;
pub(crate) mod enrollment;
pub(crate) mod handshake;
pub(crate) mod later;
pub(crate) mod roots;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use fleet_core::refusal::{Code, Refusal};
use serde_json::{Map, Value};

/// Where the vectors are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Every file below [`directory`] but the two that describe them, by its path from there.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    fn walk(at: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &path, found);
            } else if !["README.md", "SHA256SUMS"].contains(&&path[..]) {
                found.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&directory(), "", &mut found);
    found
}

/// One vector.
pub(crate) struct Vector {
    pub(crate) path: String,
    pub(crate) op: String,
    object: Value,
}

impl Vector {
    pub(crate) fn read(path: &str, file: &[u8]) -> Self {
        let object: Value = serde_json::from_slice(file).unwrap();
        Self { path: path.to_owned(), op: object["op"].as_str().unwrap_or_default().to_owned(), object }
    }

    pub(crate) fn given(&self) -> &Value {
        &self.object["in"]
    }

    /// What comes out of it; a refusal has none.
    pub(crate) fn out(&self) -> Option<&Map<String, Value>> {
        let accept = self.path.ends_with(".accept.json");
        assert!(accept || self.path.ends_with(".refuse.json"), "{} has no verdict in its name", self.path);
        assert_eq!(accept, self.object["out"].is_object(), "{}: out", self.path);
        assert_eq!(!accept, self.object["refused"].is_object(), "{}: refused", self.path);
        self.object["out"].as_object()
    }

    /// `code`, `reason` or `field` of a refusal.
    pub(crate) fn refused(&self, name: &str) -> &str {
        self.object["refused"][name].as_str().unwrap_or_default()
    }

    /// What is given, without the one fault.
    pub(crate) fn mended(&self) -> Value {
        let mut given = self.given().clone();
        merge(&mut given, &self.object["mended"]);
        given
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (name, change) in patch {
        if change.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// Why an operation stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// `fleet-core` refused.
    Refused { code: &'static str, message: String },
    /// The type that would have to hold this field has no room for it: what is there is no array of its length, no
    /// `i64`, or not there at all. On the wire that is for `fleet-proto` to refuse, and its own test demands it.
    NoRoom { field: String },
}

/// The agent stops.
pub(crate) fn agent(error: impl Display) -> Stop {
    Stop::Refused { code: "agent-refuses", message: error.to_string() }
}

/// A building block says no.
pub(crate) fn block(error: impl Display) -> Stop {
    Stop::Refused { code: "none", message: error.to_string() }
}

/// The server answers so.
pub(crate) fn server(error: impl Into<Refusal>) -> Stop {
    let refusal = error.into();
    let codes = [
        (Code::InvalidArgument, "invalid_argument"),
        (Code::Unauthenticated, "unauthenticated"),
        (Code::FailedPrecondition, "failed_precondition"),
        (Code::ResourceExhausted, "resource_exhausted"),
    ];
    let code = codes.iter().find(|(code, _)| *code == refusal.code);
    let (_, code) = code.unwrap_or_else(|| panic!("{:?}: {}", refusal.code, refusal.message));
    Stop::Refused { code, message: refusal.message }
}

/// An object in a vector.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a Value);

impl<'a> Given<'a> {
    fn field(self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not given"))
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    pub(crate) fn object(self, name: &str) -> Self {
        Self(self.field(name))
    }

    /// A message within a message: absent if nothing is there.
    pub(crate) fn message(self, name: &str) -> Result<Self, Stop> {
        self.0.get(name).map(Self).ok_or_else(|| Stop::NoRoom { field: name.to_owned() })
    }

    pub(crate) fn list(self, name: &str) -> &'a [Value] {
        self.field(name).as_array().unwrap_or_else(|| panic!("{name} is no list"))
    }

    pub(crate) fn text(self, name: &str) -> &'a str {
        self.field(name).as_str().unwrap_or_else(|| panic!("{name} is no text"))
    }

    pub(crate) fn bytes(self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap_or_else(|_| panic!("{name} is no hex"))
    }

    pub(crate) fn array<const N: usize>(self, name: &str) -> Result<[u8; N], Stop> {
        array(name, self.text(name))
    }

    pub(crate) fn integer(self, name: &str) -> Result<i64, Stop> {
        let value = self.field(name);
        match value.as_str() {
            Some(digits) => digits.parse().map_err(|_| Stop::NoRoom { field: name.to_owned() }),
            None => Ok(value.as_i64().unwrap_or_else(|| panic!("{name} is no integer: {value}"))),
        }
    }

    /// A draw of 32 bytes.
    pub(crate) fn draw(self, name: &str) -> [u8; 32] {
        self.draws(name).try_into().unwrap()
    }

    /// A draw of whatever length.
    pub(crate) fn draws(self, name: &str) -> Vec<u8> {
        self.object("draws").bytes(name)
    }

    pub(crate) fn has_draw(self, name: &str) -> bool {
        self.object("draws").has(name)
    }
}

/// Hex of an exact length.
pub(crate) fn array<const N: usize>(field: &str, text: &str) -> Result<[u8; N], Stop> {
    let bytes = hex::decode(text).unwrap_or_else(|_| panic!("{field} is no hex"));
    bytes.try_into().map_err(|_| Stop::NoRoom { field: field.to_owned() })
}
