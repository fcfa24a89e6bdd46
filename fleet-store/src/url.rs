//! Where the database is.

use core::fmt;
use std::path::{Path, PathBuf};

/// A database URL, checked. `Debug` and `Display` never show its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Target);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    SqliteMemory,
    SqliteFile(PathBuf),
    Postgres(PostgresTarget),
}

/// A PostgreSQL URL without its password, and the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PostgresTarget {
    pub(crate) url: String,
    pub(crate) password: Option<String>,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(PostgresTarget: fmt::Debug);

/// Where a PostgreSQL database is. `Debug` never shows the password.
#[derive(Clone, Copy)]
pub struct PostgresAddress<'a>(&'a PostgresTarget);

/// Parameters of a URL that libpq has under the same name.
const LIBPQ: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "options"];

impl PostgresAddress<'_> {
    /// A connection URI for libpq, without the password: what our own driver alone understands is
    /// left out.
    #[must_use]
    pub fn libpq_uri(&self) -> String {
        let (base, parameters) = self.0.url.split_once('?').unwrap_or((&self.0.url, ""));
        let name_of = |parameter: &str| match parameter.split('=').next().unwrap_or_default() {
            "ssl-mode" => "sslmode",
            "ssl-root-cert" | "ssl-ca" => "sslrootcert",
            "ssl-cert" => "sslcert",
            "ssl-key" => "sslkey",
            own => LIBPQ.into_iter().find(|known| *known == own).unwrap_or_default(),
        };
        let kept = parameters.split('&').filter_map(|parameter| {
            let (name, value) = (name_of(parameter), parameter.split_once('=')?.1);
            (!name.is_empty()).then(|| format!("{name}={value}"))
        });
        let kept: Vec<String> = kept.collect();
        if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
    }

    /// The password, if the URL has one. It goes into a file for libpq, and nowhere else.
    #[must_use]
    pub fn danger_password(&self) -> Option<&str> {
        self.0.password.as_deref()
    }
}

impl fmt::Debug for PostgresAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({})", self.0.url)
    }
}

/// The text is no database URL. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// There is no `scheme:` at all.
    #[error("a database URL starts with sqlite: or postgres:")]
    NoScheme,
    /// The scheme names no database that is supported.
    #[error("database URL scheme {scheme} is not supported: use sqlite or postgres")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// A SQLite URL without a path.
    #[error("a SQLite URL is sqlite:///path/to/file.db or sqlite::memory:")]
    NoPath,
    /// A SQLite URL with parameters.
    #[error("a SQLite URL takes no parameters after ?")]
    SqliteParameters,
    /// A PostgreSQL URL without a host.
    #[error("a PostgreSQL URL is postgres://user:password@host:port/database")]
    NoHost,
    /// A password that is not percent-encoded text.
    #[error("the password in the database URL must be percent-encoded UTF-8")]
    Password,
    /// A password outside the user info.
    #[error("the password belongs before the @ of the database URL, not into a parameter")]
    PasswordParameter,
}

impl DatabaseUrl {
    /// SQLite in memory: gone when the store is closed.
    #[must_use]
    pub const fn sqlite_memory() -> Self {
        Self(Target::SqliteMemory)
    }

    /// SQLite in a file.
    #[must_use]
    pub fn sqlite_file(path: impl AsRef<Path>) -> Self {
        Self(Target::SqliteFile(path.as_ref().to_owned()))
    }

    /// Whether several servers may be on this database, which SQLite does not allow.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.0, Target::Postgres(_))
    }

    /// Checks a URL: `sqlite:///path/to/file.db`, `sqlite::memory:`, or
    /// `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// [`DatabaseUrlError`].
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(DatabaseUrlError::NoScheme)?;
        match scheme {
            "sqlite" => parse_sqlite(rest),
            "postgres" | "postgresql" => parse_postgres(text.trim()),
            other if is_scheme(other) => Err(DatabaseUrlError::Scheme { scheme: other.to_owned() }),
            _ => Err(DatabaseUrlError::NoScheme),
        }
        .map(Self)
    }

    /// The file of a SQLite database that is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Target::SqliteFile(path) => Some(path),
            Target::SqliteMemory | Target::Postgres(_) => None,
        }
    }

    /// Where a PostgreSQL database is, for its own tools.
    #[must_use]
    pub const fn postgres(&self) -> Option<PostgresAddress<'_>> {
        match &self.0 {
            Target::Postgres(target) => Some(PostgresAddress(target)),
            Target::SqliteMemory | Target::SqliteFile(_) => None,
        }
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.0
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 32 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+')
}

fn parse_sqlite(rest: &str) -> Result<Target, DatabaseUrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match path {
        "" => Err(DatabaseUrlError::NoPath),
        ":memory:" => Ok(Target::SqliteMemory),
        path if path.contains('?') => Err(DatabaseUrlError::SqliteParameters),
        path => Ok(Target::SqliteFile(PathBuf::from(path))),
    }
}

/// Takes the password out of the URL, so that what is handed on may be logged by anybody.
fn parse_postgres(text: &str) -> Result<Target, DatabaseUrlError> {
    let (scheme, after) = text.split_once("://").ok_or(DatabaseUrlError::NoHost)?;
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let tail = after.get(authority.len()..).unwrap_or_default();
    if tail.contains('@') {
        // Taken literally, a part of the password would be the host.
        return Err(DatabaseUrlError::Password);
    }
    let names = tail.split(['?', '&']).skip(1).map(|parameter| parameter.split('=').next());
    if names.flatten().any(|name| percent_decode(name).is_none_or(|name| name.contains("password"))) {
        return Err(DatabaseUrlError::PasswordParameter);
    }
    let (info, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let Some((user, password)) = info.split_once(':') else {
        return Ok(Target::Postgres(PostgresTarget { url: text.to_owned(), password: None }));
    };
    let password = percent_decode(password).ok_or(DatabaseUrlError::Password)?;
    let url = format!("{scheme}://{user}@{host}{tail}");
    Ok(Target::Postgres(PostgresTarget { url, password: Some(password) }))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

impl core::str::FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::SqliteMemory => f.write_str("sqlite::memory:"),
            Target::SqliteFile(path) => write!(f, "sqlite://{}", path.display()),
            Target::Postgres(target) => f.write_str(&target.url),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_told_apart() {
        let file = |path: &str| DatabaseUrl::sqlite_file(path);
        assert_eq!(DatabaseUrl::parse("sqlite::memory:"), Ok(DatabaseUrl::sqlite_memory()));
        assert_eq!(DatabaseUrl::parse("sqlite:///var/lib/fleet.db"), Ok(file("/var/lib/fleet.db")));
        assert_eq!(DatabaseUrl::parse("sqlite://fleet.db"), Ok(file("fleet.db")));
        assert_eq!(DatabaseUrl::parse("sqlite://"), Err(DatabaseUrlError::NoPath));
        assert_eq!(DatabaseUrl::parse("sqlite:///a?mode=rwc"), Err(DatabaseUrlError::SqliteParameters));
        assert_eq!(DatabaseUrl::parse("nonsense"), Err(DatabaseUrlError::NoScheme));
        let scheme = "mysql".to_owned();
        assert_eq!(DatabaseUrl::parse("mysql://u:secret@h/d"), Err(DatabaseUrlError::Scheme { scheme }));
    }

    #[test]
    fn a_password_is_taken_out_and_never_shown() {
        let url = DatabaseUrl::parse("postgres://fleet:s%40cret@db:5432/fleet?sslmode=disable").unwrap();
        let Target::Postgres(target) = url.target() else { panic!("not PostgreSQL") };
        assert_eq!(target.password.as_deref(), Some("s@cret"));
        assert_eq!(url.to_string(), "postgres://fleet@db:5432/fleet?sslmode=disable");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(postgres://fleet@db:5432/fleet?sslmode=disable)");
    }

    #[test]
    fn libpq_gets_what_it_knows_and_no_password() {
        let url = "postgres://fleet:s%40cret@db:5432/fleet?ssl-mode=require&statement-cache-capacity=0&options=-c%20a%3Db";
        let url = DatabaseUrl::parse(url).unwrap();
        let address = url.postgres().unwrap();
        assert_eq!(address.libpq_uri(), "postgres://fleet@db:5432/fleet?sslmode=require&options=-c%20a%3Db");
        assert_eq!(address.danger_password(), Some("s@cret"));
        assert_eq!(
            format!("{address:?}"),
            "PostgresAddress(postgres://fleet@db:5432/fleet?ssl-mode=require&statement-cache-capacity=0&options=-c%20a%3Db)"
        );
        let url = DatabaseUrl::parse("postgres://fleet@db/fleet?statement-cache-capacity=0").unwrap();
        assert_eq!(url.postgres().unwrap().libpq_uri(), "postgres://fleet@db/fleet");
        assert!(DatabaseUrl::sqlite_file("a").postgres().is_none());
    }

    #[test]
    fn a_password_elsewhere_is_refused() {
        let refused = DatabaseUrl::parse("postgres://db/fleet?password=hunter2").unwrap_err();
        assert_eq!(refused, DatabaseUrlError::PasswordParameter);
        let refused = DatabaseUrl::parse("postgres://db/fleet?a=1&%70assword=hunter2").unwrap_err();
        assert_eq!(refused, DatabaseUrlError::PasswordParameter);
        for text in ["u:%zz@db/fleet", "u:hunter/2@db/fleet", "u:hunter?2@db/fleet", "u:hunter#2@db/fleet"] {
            let refused = DatabaseUrl::parse(&format!("postgres://{text}")).unwrap_err();
            assert_eq!(refused, DatabaseUrlError::Password, "{text}");
        }
        assert_eq!(DatabaseUrl::parse("postgres:u:hunter2@db/fleet"), Err(DatabaseUrlError::NoHost));
    }
}
