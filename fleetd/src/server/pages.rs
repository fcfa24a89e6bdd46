//! Plain pages: no script, nothing from elsewhere, every text escaped.

use std::fmt::Write as _;

use fleet_proto::fleet::v1::SetUpRequest;
use fleet_proto::rpc::Status;
use fleet_proto::validate::Validate;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What the pages may load: their own style, and forms only to this server.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; display: grid; justify-content: center; padding: 3rem 1rem; }
main { width: min(34rem, 100vw - 2rem); }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem .6rem; border: 1px solid #8886;
  border-radius: .4rem; background: Field; color: FieldText; }
input:focus-visible, button:focus-visible { outline: 3px solid #2a6fdb; outline-offset: 1px; }
small { color: GrayText; }
button { font: inherit; font-weight: 600; margin-top: 1.5rem; padding: .55rem 1.2rem; border: 0; border-radius: .4rem;
  background: #1f5fc4; color: #fff; cursor: pointer; }
[role=alert] { border-left: 4px solid #c62828; padding: .5rem .8rem; background: #c628281a; }
pre { background: #8882; padding: .8rem; border-radius: .4rem; overflow-x: auto; }
";

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <main>\n<h1>{title}</h1>\n{body}\n</main>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn index() -> String {
    page(
        "Fleet server",
        "<p>This server runs and answers agents and operators. Its operators use the command line:</p>\n\
         <pre>fleetd login\nfleetd agents list\nfleetd devices list</pre>",
    )
}

pub(super) fn not_found() -> String {
    page("Nothing here", "<p>There is no such page on this server.</p>")
}

pub(super) fn set_up_over() -> String {
    page(
        "This link is not valid",
        "<p>Either the server is set up already, or it was started again since and printed a new link. The newest \
         link is in the output of the server.</p>",
    )
}

/// What the set-up page's form holds.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub(super) struct SetUpForm {
    organization: String,
    user_name: String,
    password: String,
    again: String,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(SetUpForm: std::fmt::Debug);

impl SetUpForm {
    /// The fields of an `application/x-www-form-urlencoded` body; what is missing is empty.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (key, value) in url::form_urlencoded::parse(body) {
            match key.as_ref() {
                "organization" => form.organization = value.into_owned(),
                "user_name" => form.user_name = value.into_owned(),
                "password" => form.password = value.into_owned(),
                "again" => form.again = value.into_owned(),
                _ => {}
            }
        }
        form
    }

    /// The request that the form makes with the link's token.
    pub(super) fn request(&self, token: &str) -> Result<SetUpRequest, Status> {
        if self.password != self.again {
            return Err(Status::invalid("password: the two passwords differ"));
        }
        let request = SetUpRequest {
            setup_token: token.to_owned(),
            organization: self.organization.clone(),
            user_name: self.user_name.clone(),
            password: self.password.clone(),
        };
        request.validate().map_err(Status::invalid)?;
        Ok(request)
    }
}

pub(super) fn set_up(form: &SetUpForm, error: Option<&Status>) -> String {
    let mut body = String::new();
    if let Some(error) = error {
        let _ = writeln!(body, "<p role=\"alert\">{}</p>", escape(&error.message));
    }
    let _ = write!(
        body,
        "<p>Name your organization and its first operator. Agents show the organization's name before they join \
         it.</p>\n<form method=\"post\">\n\
         <label for=\"organization\">Organization</label>\n\
         <input id=\"organization\" name=\"organization\" required maxlength=\"255\" value=\"{}\" autofocus>\n\
         <label for=\"user_name\">Your login name</label>\n\
         <input id=\"user_name\" name=\"user_name\" required maxlength=\"64\" autocomplete=\"username\" value=\"{}\">\n\
         <label for=\"password\">Password</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" required minlength=\"12\" maxlength=\"512\" \
         autocomplete=\"new-password\" aria-describedby=\"rule\">\n<small id=\"rule\">At least 12 characters.</small>\n\
         <label for=\"again\">Password again</label>\n\
         <input id=\"again\" name=\"again\" type=\"password\" required maxlength=\"512\" \
         autocomplete=\"new-password\">\n<button>Set up</button>\n</form>",
        escape(&form.organization),
        escape(&form.user_name),
    );
    page("Set up this fleet server", &body)
}

pub(super) fn set_up_done(form: &SetUpForm) -> String {
    let body = format!(
        "<p>{} is set up, and this link is used up. Next, sign in on the command line and make a code for your first \
         agent:</p>\n<pre>fleetd login\nfleetd agents code</pre>",
        escape(&form.organization)
    );
    page("Set up", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_escaped_and_the_password_never_shown() {
        let form = SetUpForm::parse(
            b"organization=%3Cscript%3Ealert(1)%3C%2Fscript%3E&user_name=%22+onfocus%3D%22x&password=opensesame123&again=x",
        );
        let error = form.request("token").unwrap_err();
        let page = set_up(&form, Some(&error));
        assert!(!page.contains("<script>") && !page.contains("\" onfocus"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.contains("the two passwords differ"));
        assert!(!page.contains("opensesame"));
    }

    #[test]
    fn the_form_keeps_the_rules_of_the_call() {
        let form = SetUpForm::parse(b"organization=Acme&user_name=alice&password=short&again=short");
        let error = form.request(&"t".repeat(43)).unwrap_err();
        assert_eq!(error.message, "password: must be 12 to 512 characters, got 5");
    }
}
