//! The settings by name, and where their values come from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Problem;

/// What kind of value a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the kinds of settings")]
pub enum Kind {
    /// One value.
    One,
    /// Any number of values: a TOML array, or separated by commas.
    Many,
    /// `true` or `false`; on the command line its mere presence.
    Switch,
}

/// A setting: `--data-dir`, `FLEETD_DATA_DIR`, `data-dir = ` in the file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
}

const fn one(name: &'static str) -> Setting {
    Setting { name, kind: Kind::One }
}

/// Every setting.
pub const SETTINGS: [Setting; 37] = [
    one("mode"),
    Setting { name: "listen", kind: Kind::Many },
    one("metrics-listen"),
    one("data-dir"),
    one("key-dir"),
    one("database-url"),
    one("database-url-file"),
    one("tls-cert"),
    one("tls-key"),
    one("tls-client-ca"),
    one("tls-client-auth"),
    Setting { name: "allow-plaintext", kind: Kind::Switch },
    Setting { name: "scan", kind: Kind::Many },
    one("proto-port"),
    one("poll-interval"),
    one("keep-readings"),
    one("keep-history"),
    one("log-format"),
    one("unauthenticated-rate"),
    one("session-rate"),
    one("begin-rate"),
    one("max-connections"),
    one("max-unauthenticated-connections"),
    one("max-calls-per-agent"),
    one("max-devices-per-agent"),
    one("max-message-bytes"),
    one("max-header-bytes"),
    one("handshake-timeout"),
    one("request-timeout"),
    one("idle-timeout"),
    one("drain-timeout"),
    one("ca-file"),
    one("client-cert"),
    one("client-key"),
    Setting { name: "allow-insecure-transport", kind: Kind::Switch },
    one("health"),
    one("config"),
];

/// Settings that only an agent of its own uses.
pub(super) const AGENT_ONLY: [&str; 5] =
    ["ca-file", "client-cert", "client-key", "allow-insecure-transport", "health"];
/// Settings that only a server uses.
pub(super) const SERVER_ONLY: [&str; 26] = [
    "keep-readings",
    "keep-history",
    "unauthenticated-rate",
    "session-rate",
    "begin-rate",
    "max-connections",
    "max-unauthenticated-connections",
    "max-calls-per-agent",
    "max-devices-per-agent",
    "max-message-bytes",
    "max-header-bytes",
    "handshake-timeout",
    "request-timeout",
    "idle-timeout",
    "listen",
    "metrics-listen",
    "key-dir",
    "database-url",
    "database-url-file",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "tls-client-auth",
    "handshake-timeout",
    "drain-timeout",
    "allow-plaintext",
];
/// Settings of whoever reads miners.
pub(super) const MINERS_ONLY: [&str; 3] = ["scan", "proto-port", "poll-interval"];

/// Values of one setting and where they stand.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) values: Vec<String>,
    /// For messages: `--listen`, `FLEETD_LISTEN`, or `listen in /etc/fleetd.toml`.
    pub(super) source: String,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A database's URL may hold a password.
        f.debug_struct("Given").field("source", &self.source).finish_non_exhaustive()
    }
}

pub(super) type Layer = BTreeMap<&'static str, Given>;

/// What the command line says, by setting.
pub(super) fn arguments(given: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Layer {
    let given = given.into_iter().filter(|(_, values)| !values.is_empty());
    given.map(|(name, values)| (name, Given { values, source: format!("--{name}") })).collect()
}

/// What the environment says.
pub(super) fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("FLEETD_")) else { continue };
        let named = |setting: &&Setting| self::variable(setting.name) == variable;
        let Some(setting) = SETTINGS.iter().find(named) else {
            problems.push(Problem::Unknown { key: variable.to_owned() });
            continue;
        };
        let source = variable.to_owned();
        let Some(value) = value.to_str() else {
            problems.push(Problem::NotText { key: source });
            continue;
        };
        let values = match setting.kind {
            Kind::Many => {
                value.split(',').map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
            }
            Kind::One | Kind::Switch => vec![value.to_owned()],
        };
        layer.insert(setting.name, Given { values, source });
    }
    layer
}

/// `FLEETD_DATA_DIR` for `data-dir`.
fn variable(setting: &str) -> String {
    format!("FLEETD_{}", setting.replace('-', "_").to_uppercase())
}

/// What the file says.
pub(super) fn file(path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => {
            problems.push(Problem::Unreadable { path: path.to_owned(), source });
            return Layer::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            let message = error.message().replace('\n', ", ").into();
            problems.push(Problem::NotToml { path: path.to_owned(), line, message });
            return Layer::new();
        }
    };
    let mut layer = Layer::new();
    for (key, value) in table {
        let source = format!("{key} in {}", path.display());
        // A file cannot name another.
        let setting = SETTINGS.iter().find(|setting| setting.name == key && setting.name != "config");
        let Some(setting) = setting else {
            problems.push(Problem::Unknown { key: source });
            continue;
        };
        match (setting.kind, values(value)) {
            (Kind::Many, Some(values)) => {
                layer.insert(setting.name, Given { values, source });
            }
            (Kind::One | Kind::Switch, Some(values)) if values.len() == 1 => {
                layer.insert(setting.name, Given { values, source });
            }
            (Kind::One | Kind::Switch | Kind::Many, _) => problems.push(Problem::WrongType { key: source }),
        }
    }
    layer
}

fn values(value: toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(switch) => Some(vec![switch.to_string()]),
        toml::Value::Array(items) => {
            items.into_iter().map(|item| item.as_str().map(ToOwned::to_owned)).collect()
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// The layers as one, the first given winning.
pub(super) fn merge(layers: [Layer; 3]) -> Layer {
    let mut merged = Layer::new();
    for layer in layers {
        for (name, given) in layer {
            merged.entry(name).or_insert(given);
        }
    }
    merged
}

/// The file that the first two layers name.
pub(super) fn file_of(layers: [&Layer; 2]) -> Option<PathBuf> {
    let given = layers.into_iter().find_map(|layer| layer.get("config"))?;
    given.values.first().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;

    use super::*;

    #[test]
    fn debug_of_values_shows_where_they_stand_alone() {
        let url = "postgres://fleet:a-password-to-be-found@db.example/fleet";
        let secrets = Secrets::of([("the password", "a-password-to-be-found")]);
        let given = Given { values: vec![url.to_owned()], source: "FLEETD_DATABASE_URL".to_owned() };
        insta::assert_snapshot!(secrets.unsaid(&given), @r#"Given { source: "FLEETD_DATABASE_URL", .. }"#);
    }
}
