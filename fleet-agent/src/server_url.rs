//! The server's address: `https` only, except loopback (protocol section 11).

use std::{fmt, net::IpAddr};

use http::Uri;
use url::{Host, Url};

/// Whether plain HTTP to another host is allowed (`--allow-insecure-transport`): whoever can read
/// the traffic then has the api_key and the session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "it is yes or no")]
pub enum AllowInsecure {
    /// It is not.
    #[default]
    No,
    /// It is, and every start logs a warning.
    Yes,
}

impl From<bool> for AllowInsecure {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Yes } else { Self::No }
    }
}

/// A server's URL: scheme, host and port, nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

/// The text is no URL that an agent connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerUrlError {
    /// It is no URL.
    #[error("the server URL cannot be parsed: {0} (expected for example https://fleet.example:8443)")]
    Syntax(#[from] url::ParseError),
    /// Neither `https` nor `http`.
    #[error("the server URL must begin with https://")]
    Scheme,
    /// Plain HTTP to another host.
    #[error(
        "the server URL must begin with https://, unless the host is loopback or --allow-insecure-transport is given"
    )]
    Insecure,
    /// It has a user name or password, which would end up in logs.
    #[error("the server URL must not have a user name or password")]
    UserInfo,
    /// It has a path.
    #[error("the server URL must not have a path")]
    Path,
    /// It has a query.
    #[error("the server URL must not have a query")]
    Query,
    /// It has a fragment.
    #[error("the server URL must not have a fragment")]
    Fragment,
    /// It has no host.
    #[error("the server URL must have a host")]
    Host,
}

impl ServerUrl {
    /// Checks a URL as a person enters it.
    ///
    /// # Errors
    /// [`ServerUrlError`] says what is wrong; the URL itself, which may hold a password, is not
    /// in it.
    pub fn parse(text: &str, allow: AllowInsecure) -> Result<Self, ServerUrlError> {
        let server = Self::parse_stored(text)?;
        server.check_transport(allow)?;
        Ok(server)
    }

    /// Checks a URL that was saved: everything but whether plain HTTP is allowed, which
    /// [`check_transport`](Self::check_transport) says for this start.
    ///
    /// # Errors
    /// [`ServerUrlError`].
    pub fn parse_stored(text: &str) -> Result<Self, ServerUrlError> {
        let url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(ServerUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerUrlError::UserInfo);
        }
        if url.host().is_none() {
            return Err(ServerUrlError::Host);
        }
        if url.path() != "/" {
            return Err(ServerUrlError::Path);
        }
        if url.query().is_some() {
            return Err(ServerUrlError::Query);
        }
        if url.fragment().is_some() {
            return Err(ServerUrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// Whether this server may be connected to at all.
    ///
    /// # Errors
    /// [`ServerUrlError::Insecure`].
    pub fn check_transport(&self, allow: AllowInsecure) -> Result<(), ServerUrlError> {
        if self.is_tls() || self.is_loopback() || allow == AllowInsecure::Yes {
            return Ok(());
        }
        Err(ServerUrlError::Insecure)
    }

    /// Whether the connection is TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the host is this one: 127.0.0.0/8, `::1` or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// Whether traffic can be read on its way: plain HTTP to another host.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.is_tls() && !self.is_loopback()
    }

    /// The URL as it is stored: no slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The URL for the HTTP client.
    ///
    /// # Errors
    /// [`ServerUrlError::Host`] if the HTTP library takes another view of what a host is.
    pub fn uri(&self) -> Result<Uri, ServerUrlError> {
        self.0.as_str().parse().map_err(|_| ServerUrlError::Host)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_taken_and_plain_http_on_loopback_alone() {
        for text in [
            "https://fleet.example",
            "https://fleet.example:8443",
            "https://10.0.0.7:8443",
            "http://127.0.0.1:8080",
            "http://127.9.8.7:8080",
            "http://localhost:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(ServerUrl::parse(text, AllowInsecure::No).unwrap().as_str(), text);
        }
        assert_eq!(
            ServerUrl::parse(" HTTPS://Fleet.Example:443/ ", AllowInsecure::No).unwrap().as_str(),
            "https://fleet.example"
        );
    }

    #[test]
    fn plain_http_elsewhere_takes_the_flag() {
        for text in [
            "http://fleet.example",
            "http://10.0.0.7:8080",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://0.0.0.0:8080",
        ] {
            assert_eq!(ServerUrl::parse(text, AllowInsecure::No), Err(ServerUrlError::Insecure), "{text}");
            let server = ServerUrl::parse(text, AllowInsecure::Yes).unwrap();
            assert!(server.is_exposed());
            let stored = ServerUrl::parse_stored(server.as_str()).unwrap();
            assert_eq!(stored.check_transport(AllowInsecure::No), Err(ServerUrlError::Insecure));
        }
    }

    #[test]
    fn everything_besides_scheme_host_and_port_is_refused() {
        for (text, error) in [
            ("https://user@fleet.example", ServerUrlError::UserInfo),
            ("https://:secret@fleet.example", ServerUrlError::UserInfo),
            ("https://fleet.example/api", ServerUrlError::Path),
            ("https://fleet.example/?a=b", ServerUrlError::Query),
            ("https://fleet.example/?", ServerUrlError::Query),
            ("https://fleet.example/#x", ServerUrlError::Fragment),
            ("ftp://fleet.example", ServerUrlError::Scheme),
            ("fleet.example:8443", ServerUrlError::Scheme),
        ] {
            assert_eq!(ServerUrl::parse(text, AllowInsecure::Yes), Err(error), "{text}");
        }
        for text in ["", "fleet.example", "https://", "https://a b"] {
            assert!(matches!(ServerUrl::parse(text, AllowInsecure::No), Err(ServerUrlError::Syntax(_))));
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_password() {
        let error = ServerUrl::parse("https://me:hunter2@fleet.example", AllowInsecure::No).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
