//! Organizations from the host's command line, beside a server that runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::fs;
use std::path::PathBuf;

use process_support::{Ended, Home, ORGANIZATION, PASSWORD, Server, USER, assert_private, mode};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use serde_json::Value;

const USAGE: i32 = 64;
const REFUSED: i32 = 77;
const OTHER_PASSWORD: &str = "another-password";

struct Host {
    home: Home,
}

impl Host {
    fn data(&self) -> String {
        self.home.join("server").display().to_string()
    }

    /// `fleetd orgs ...` on the installation.
    async fn orgs(&self, line: &[&str], input: &[&str]) -> Ended {
        let data = self.data();
        self.home.run([&["orgs"], line, &["--data-dir", &data]].concat(), input).await
    }

    /// `fleetd ...` over the network, as one of several people.
    async fn operator(&self, who: &str, line: &[&str], input: &[&str]) -> Ended {
        let config = self.home.join(who).display().to_string();
        self.home.run([line, &["--config-dir", &config]].concat(), input).await
    }

    fn keys(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.join("server/keys")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_host_makes_staffs_and_lists_organizations_while_the_server_runs() {
    let host = Host { home: Home::new() };
    let ended = host.orgs(&["list"], &[]).await.expect(USAGE);
    assert!(ended.err().contains("there is no database"), "{ended:#?}");
    assert!(!host.home.join("server").exists(), "nothing is made by looking");
    let mut server = Server::start(&host.home, &[]).await;
    let early = host.orgs(&["create", "Beta", "--operator", "bob"], &[PASSWORD]).await.expect(USAGE);
    assert!(early.err().contains("not set up yet"), "{early:#?}");
    server.found().await;

    let made = host.orgs(&["create", " Beta Hash ", "--operator", "Bob"], &[PASSWORD]).await.expect(0);
    assert!(made.out().contains("Beta Hash is made") && made.out().contains("back it up"), "{made:#?}");
    let listed = host.orgs(&["list", "--json"], &[]).await.expect(0).json();
    let beta = &listed["organizations"][1];
    assert_eq!((&beta["name"], &beta["operators"][0]), (&Value::from("Beta Hash"), &Value::from("bob")));
    let file = PathBuf::from(beta["rootKey"].as_str().unwrap());
    let name = format!("root-{}.key", beta["orgId"].as_str().unwrap());
    assert_eq!(file.file_name().unwrap().to_str(), Some(name.as_str()));
    assert_eq!(mode(&file), 0o600);
    assert_eq!(host.keys(), ["command.key".to_owned(), name, "root.key".to_owned()]);
    assert_private(&host.home.join("server/keys"));
    let table = host.orgs(&["list"], &[]).await.expect(0).out();
    assert!(table.contains("Beta Hash") && table.contains(ORGANIZATION) && table.contains(USER), "{table}");

    // What is not acceptable is said by field and limit, before anybody types a password, and leaves no key behind.
    for (line, says) in [
        (["create", "BETA hash", "--operator", "x"], "organization: another one is called BETA hash"),
        (["create", "", "--operator", "x"], "organization: must be 1 to 255 characters, got 0"),
        (
            ["create", "a\u{202e}b", "--operator", "x"],
            "organization: name must not contain the character U+202E",
        ),
        (
            ["create", &"x".repeat(256), "--operator", "x"],
            "organization: must be 1 to 255 characters, got 256",
        ),
    ] {
        let ended = host.orgs(&line, &[]).await.expect(USAGE);
        assert!(ended.err().contains(says), "{line:?}: {ended:#?}");
    }
    let ended = host.orgs(&["create", "Gamma", "--operator", "carol"], &["short"]).await.expect(USAGE);
    assert!(ended.err().contains("password: must be 12 to 512 characters, got 5"), "{ended:#?}");
    assert_eq!(host.keys().len(), 3);

    // The server that runs takes the new organization up, and its operator makes a code with its own root.
    let url = server.url();
    let login = |user| ["login", "--server", url.as_str(), "--user", user];
    let ended = host.operator("bob", &login("bob"), &[PASSWORD]).await.expect(0);
    assert_eq!(ended.out(), format!("bob, Beta Hash, at {url}"));
    assert!(host.operator("bob", &["agents", "code"], &[]).await.expect(0).out().starts_with("fenr1"));

    // An operator who has an account is added without a password, and goes from one organization to the other.
    let ended = host.orgs(&["add", "beta hash", USER], &[]).await.expect(0);
    assert_eq!(ended.out(), format!("{USER} is an operator of Beta Hash"));
    let ended = host.orgs(&["add", "Beta Hash", USER], &[]).await.expect(USAGE);
    assert!(ended.err().contains("already"), "{ended:#?}");
    let ended = host.operator("ada", &login(USER), &[PASSWORD]).await.expect(0);
    assert_eq!(ended.stdout, [format!("{USER}, {ORGANIZATION}, at {url}"), "also in: Beta Hash".to_owned()]);
    let ended = host.operator("ada", &["orgs", "use", "beta hash"], &[]).await.expect(0);
    assert_eq!(ended.stdout[0], format!("{USER}, Beta Hash, at {url}"));
    let used = host.operator("ada", &["orgs", "use", "Test Mining", "--json"], &[]).await.expect(0).json();
    assert_eq!(used["organization"], ORGANIZATION);
    let ended = host.operator("ada", &["orgs", "use", "Nowhere"], &[]).await.expect(1);
    assert!(ended.err().contains("organization: none of yours has this name or id"), "{ended:#?}");
    let to_beta = [&login(USER)[..], &["--organization", "Beta Hash"]].concat();
    let ended = host.operator("ada", &to_beta, &[PASSWORD]).await.expect(0);
    assert_eq!(ended.stdout[0], format!("{USER}, Beta Hash, at {url}"));

    // Passwords: by the operator with the old one, by the host without.
    let ended = host.operator("bob", &["passwd"], &["wrong", OTHER_PASSWORD]).await.expect(REFUSED);
    assert!(ended.err().contains("old_password"), "{ended:#?}");
    host.operator("bob", &["passwd"], &[PASSWORD, OTHER_PASSWORD]).await.expect(0);
    host.operator("bob", &["whoami"], &[]).await.expect(0);
    host.operator("other", &login("bob"), &[PASSWORD]).await.expect(REFUSED);
    let ended = host.orgs(&["set-password", "bob"], &[PASSWORD]).await.expect(0);
    assert!(ended.out().contains("bob has a new password"), "{ended:#?}");
    host.operator("bob", &["whoami"], &[]).await.expect(REFUSED);
    host.operator("bob", &login("bob"), &[PASSWORD]).await.expect(0);
    let ended = host.orgs(&["set-password", "mallory"], &[PASSWORD]).await.expect(USAGE);
    assert!(ended.err().contains("there is no operator mallory"), "{ended:#?}");

    // The end of a membership is the end of what acts for it.
    let ended = host.orgs(&["remove", "Beta Hash", "bob"], &[]).await.expect(0);
    assert!(ended.out().starts_with("bob is no operator of Beta Hash any more"), "{ended:#?}");
    host.operator("bob", &["whoami"], &[]).await.expect(REFUSED);
    let activity = host.operator("ada", &["activity"], &[]).await.expect(0).out();
    for kind in
        ["organization_created", "operator_added", "operator_removed", "password_set", "password_changed"]
    {
        assert!(activity.contains(kind), "no {kind} in {activity}");
    }

    // And a server starts with all of it.
    server.process.stop().await.expect(0);
    Server::start(&host.home, &[]).await.process.stop().await.expect(0);

    // A backup with keys has every root, or is none.
    let data = host.data();
    let back_up = ["backup", "new", "--data-dir", &data];
    let away = host.home.join("away");
    fs::rename(&file, &away).unwrap();
    let ended = host.home.run(back_up, &[]).await.expect(1);
    let name = file.file_name().unwrap().to_str().unwrap();
    let id = beta["orgId"].as_str().unwrap();
    assert!(ended.err().contains(name) && ended.err().contains(&format!("organization {id} ")), "{ended:#?}");
    assert!(!host.home.join("new").exists());
    fs::rename(&away, &file).unwrap();
    host.home.run(back_up, &[]).await.expect(0);
}

#[tokio::test]
async fn a_host_leaves_an_older_schema_as_it_is() {
    let host = Host { home: Home::new() };
    let mut server = Server::start(&host.home, &[]).await;
    server.found().await;
    let url = format!("sqlite://{}", host.home.join("server/fleet.db").display());
    let raw = Database::connect(url).await.unwrap();
    let newest = "DELETE FROM seaql_migrations WHERE version = (SELECT MAX(version) FROM seaql_migrations)";
    raw.execute_unprepared(newest).await.unwrap();
    let steps = async || {
        let sql = Statement::from_string(DbBackend::Sqlite, "SELECT COUNT(*) AS n FROM seaql_migrations");
        raw.query_one_raw(sql).await.unwrap().unwrap().try_get::<i64>("", "n").unwrap()
    };
    let before = steps().await;
    let data = host.data();
    let manifest = host.home.run(["manifest", "--data-dir", &data], &[]).await.expect(1);
    for line in [&["list"][..], &["create", "Beta", "--operator", "bob"], &["set-password", USER]] {
        let ended = host.orgs(line, &[PASSWORD]).await.expect(1);
        assert!(ended.err().contains("the database is older than this version"), "{ended:#?}");
        assert_eq!(ended.err(), manifest.err());
    }
    assert_eq!((steps().await, host.keys().len()), (before, 2));
    raw.close().await.unwrap();
    server.process.stop().await.expect(0);
}
