//! HTTP digest authentication (RFC 7616 with MD5, which is what miners' web servers have).

use std::fmt;

use md5::{Digest as _, Md5};

/// A challenge, as `WWW-Authenticate` carries it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    /// `qop=auth` is offered. Without it the answer is that of RFC 2069.
    pub(crate) has_qop: bool,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("realm", &self.realm)
            .field("has_qop", &self.has_qop)
            .finish_non_exhaustive()
    }
}

impl Challenge {
    #[cfg(any(feature = "asic-rs", test))]
    /// Reads a challenge; `None` if it is not one of Digest with MD5.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let parameters = header.trim().strip_prefix("Digest ")?;
        let value = |name| parameter(parameters, name);
        let algorithm = value("algorithm").unwrap_or_else(|| "MD5".to_owned());
        if !algorithm.eq_ignore_ascii_case("MD5") {
            return None;
        }
        let has_qop = match value("qop") {
            None => false,
            Some(offered) if offered.split(',').any(|qop| qop.trim() == "auth") => true,
            Some(_) => return None,
        };
        Some(Self { realm: value("realm")?, nonce: value("nonce")?, has_qop })
    }

    #[cfg(any(feature = "asic-rs", test))]
    /// The `Authorization` header that answers it. `None` for a user name that cannot be quoted.
    pub(crate) fn answer(
        &self,
        user: &str,
        password: &str,
        method: &str,
        path: &str,
        client_nonce: &str,
    ) -> Option<String> {
        if user.chars().any(|c| c == '"' || c == '\\' || c.is_control()) {
            return None;
        }
        let response = self.response(user, password, method, path, client_nonce);
        let Self { realm, nonce, has_qop } = self;
        let mut header = format!(
            r#"Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{path}", response="{response}""#
        );
        if *has_qop {
            header.push_str(&format!(r#", qop=auth, nc={NONCE_COUNT}, cnonce="{client_nonce}""#));
        }
        Some(header)
    }

    /// The proof in such a header.
    pub(crate) fn response(
        &self,
        user: &str,
        password: &str,
        method: &str,
        path: &str,
        client_nonce: &str,
    ) -> String {
        let secret = md5(&format!("{user}:{}:{password}", self.realm));
        let request = md5(&format!("{method}:{path}"));
        if self.has_qop {
            md5(&format!("{secret}:{}:{NONCE_COUNT}:{client_nonce}:auth:{request}", self.nonce))
        } else {
            md5(&format!("{secret}:{}:{request}", self.nonce))
        }
    }
}

/// Each challenge is answered once.
const NONCE_COUNT: &str = "00000001";

/// The value of a parameter in a list of `name=value` and `name="value"`.
pub(crate) fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_start_matches([',', ' ']).trim();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = after;
    }
    None
}

fn md5(text: &str) -> String {
    hex::encode(Md5::digest(text))
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_example_of_rfc_2617() {
        let header = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let challenge = Challenge::parse(header).unwrap();
        let response = challenge.response("Mufasa", "Circle Of Life", "GET", "/dir/index.html", "0a4f113b");
        assert_eq!(response, "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn other_schemes_are_not_answered() {
        for header in [
            r#"Basic realm="antMiner""#,
            r#"Digest realm="a", nonce="b", algorithm=SHA-256"#,
            r#"Digest realm="a", nonce="b", qop="auth-int""#,
            r#"Digest realm="a""#,
            r#"Digest realm="a, nonce=b"#,
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_user_name_cannot_break_out_of_its_quotes() {
        let challenge = Challenge { realm: "r".into(), nonce: "n".into(), has_qop: true };
        assert!(challenge.answer("ro\"ot", "x", "GET", "/", "c").is_none());
    }

    #[test]
    fn debug_shows_no_nonce() {
        let nonce = "a-nonce-to-be-found";
        let challenge = Challenge { realm: "antMiner".into(), nonce: nonce.into(), has_qop: true };
        assert_snapshot!(Secrets::of([("the nonce", nonce)]).unsaid(&challenge), @r#"Challenge { realm: "antMiner", has_qop: true, .. }"#);
    }
}
