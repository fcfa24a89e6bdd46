use core::fmt::Debug;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Secrets that a test knows, and that must stand in no `Debug`.
///
/// Meant for a snapshot of each type that holds one:
///
/// ```
/// use fleet_core::testing::Secrets;
///
/// #[allow(dead_code)]
/// struct Login { user: &'static str, password: &'static str }
///
/// impl core::fmt::Debug for Login {
///     fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
///         f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
///     }
/// }
///
/// let password = "a password to be found";
/// let secrets = Secrets::of([("the password", password)]);
/// assert_eq!(secrets.unsaid(&Login { user: "alice", password }), r#"Login { user: "alice", .. }"#);
/// ```
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "it holds nothing but secrets")]
pub struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// These, each under a name that a failed test says.
    ///
    /// # Panics
    /// As [`Self::add`] does.
    #[must_use]
    pub fn of<B: AsRef<[u8]>>(secrets: impl IntoIterator<Item = (&'static str, B)>) -> Self {
        let mut all = Self::default();
        for (name, bytes) in secrets {
            all.add(name, bytes);
        }
        all
    }

    /// One more.
    ///
    /// # Panics
    /// If it is shorter than 16 bytes.
    pub fn add(&mut self, name: &'static str, bytes: impl AsRef<[u8]>) {
        assert!(bytes.as_ref().len() >= 16, "{name} is short enough to be found by chance");
        self.0.push((name, bytes.as_ref().to_vec()));
    }

    /// The name of a secret that stands in a text, and the form in which it does: as it is, escaped, in hexadecimal or
    /// base64, or as a list of bytes.
    #[must_use]
    pub fn in_text(&self, text: &str) -> Option<(&'static str, String)> {
        let mut bare = text.to_owned();
        bare.retain(|c| !c.is_ascii_whitespace());
        self.0.iter().find_map(|(name, bytes)| {
            let hexadecimal: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let decimal: Vec<_> = bytes.iter().map(u8::to_string).collect();
            let forms = [
                String::from_utf8_lossy(bytes).into_owned(),
                bytes.escape_ascii().to_string(),
                hexadecimal.concat(),
                hexadecimal.concat().to_uppercase(),
                hexadecimal.join(","),
                STANDARD_NO_PAD.encode(bytes),
                URL_SAFE_NO_PAD.encode(bytes),
                decimal.join(","),
            ];
            let found = forms.into_iter().find(|form| text.contains(form) || bare.contains(form));
            found.map(|form| (*name, form))
        })
    }

    /// A value's `Debug`, for a snapshot.
    ///
    /// # Panics
    /// If a secret stands in it, or in its form of many lines, `{:#?}`.
    #[track_caller]
    pub fn unsaid(&self, value: &dyn Debug) -> String {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            assert_eq!(self.in_text(&text), None, "{text}");
        }
        format!("{value:?}")
    }
}
