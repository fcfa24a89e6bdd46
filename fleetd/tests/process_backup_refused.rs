//! What is not a whole backup is refused, and where something is or nothing fits nothing changes: each by its own error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backup_support;
mod process_support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use backup_support::{LATER, Site, USAGE, copy_tree, make_private, skipped};
use process_support::{Ended, Process, Server, assert_private, entries, mode};
use rustix::process::Signal;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;

/// An installation in combined mode, stopped, and a backup of it.
async fn combined() -> Site {
    let site = Site::new(None);
    let arguments = ["--listen".to_owned(), site.listen.clone()].into_iter().chain(site.place("first"));
    let mut server = Server::up(site.home.start(arguments)).await;
    server.found().await;
    // A server that runs is not restored over.
    let ended = site.fleetd(&["backup", "good"], "first").await.expect(0);
    assert!(ended.out().contains("the local agent's keys"), "{ended:#?}");
    server.process.stop().await.expect(0);
    site
}

#[tokio::test]
async fn what_is_not_a_whole_backup_is_refused_and_nothing_is_left() {
    let site = combined().await;
    let path = |name: &str| site.home.join(name);
    type Harm = fn(&Path);
    let harms: [(&str, &str, Harm); 19] = [
        ("cut", "is damaged", |bad| cut(&bad.join("backup.json"))),
        ("empty", "is damaged", |bad| fs::write(bad.join("backup.json"), "").unwrap()),
        ("no description", "backup.json", |bad| fs::remove_file(bad.join("backup.json")).unwrap()),
        ("newer", "format 2", |bad| rewrite(bad, "format", 2.into())),
        ("newer schema", "m9999_later", |bad| rewrite(bad, "schema", "m9999_later".into())),
        ("the future", "the clock of this host", |bad| {
            rewrite(bad, "made_at", "2999-01-01T00:00:00Z".into())
        }),
        ("another kind", "is damaged", |bad| rewrite(bad, "database", "postgresql".into())),
        ("a bit", "not what was backed up", |bad| flip(&bad.join("fleet.db"))),
        ("a bit of a key", "not what was backed up", |bad| flip(&bad.join("keys/root.key"))),
        ("no root", "root.key", |bad| fs::remove_file(bad.join("keys/root.key")).unwrap()),
        ("a link", "is not a plain file", |bad| {
            fs::rename(bad.join("keys/root.key"), bad.with_extension("moved")).unwrap();
            symlink(bad.with_extension("moved"), bad.join("keys/root.key")).unwrap();
        }),
        ("a link to keys", "is not of the backup", |bad| {
            fs::rename(bad.join("keys"), bad.with_extension("keys")).unwrap();
            symlink(bad.with_extension("keys"), bad.join("keys")).unwrap();
        }),
        ("open", "may be read by others", |bad| chmod(&bad.join("keys/command.key"), 0o644)),
        ("written by others", "may be written by others", |bad| chmod(&bad.join("backup.json"), 0o666)),
        ("a database written by others", "may be written by others", |bad| {
            chmod(&bad.join("fleet.db"), 0o620)
        }),
        ("a directory of others", "may be written by others", |bad| chmod(bad, 0o770)),
        ("open password", "may be read by others", |bad| chmod(&bad.join("local-agent/identity.key"), 0o640)),
        ("more", "is not of the backup", |bad| fs::write(bad.join("keys/root-2.key"), "").unwrap()),
        ("more beside", "is not of the backup", |bad| fs::write(bad.join("fleet.db-wal"), "").unwrap()),
    ];
    for (name, text, harm) in harms {
        let bad = path("bad");
        copy_tree(&path("good"), &bad);
        harm(&bad);
        let ended = site.fleetd(&["restore", "bad"], "target").await;
        assert!(ended.err().contains(text) && ended.code() != Some(0), "{name}: {ended:#?}");
        assert!(!path("target").exists(), "{name}: something is left");
        fs::remove_dir_all(bad).unwrap();
    }
    // Keys of another installation, and none.
    site.fleetd(&["backup", "bare", "--without-keys"], "first").await.expect(0);
    assert_eq!(names(&path("bare")), ["backup.json", "fleet.db"]);
    let ended = site.fleetd(&["restore", "bare"], "target").await.expect(USAGE);
    assert!(ended.err().contains("--keys"), "{ended:#?}");
    copy_tree(&path("good/keys"), &path("others"));
    for (key, text) in [("command.key", "the command key"), ("root.key", "no root key")] {
        let own = fs::read(path("good/keys").join(key)).unwrap();
        fs::write(path("others").join(key), format!("{}\n", "ab".repeat(32))).unwrap();
        let ended = site.fleetd(&["restore", "bare", "--keys", "others"], "target").await.expect(1);
        assert!(ended.err().contains(text), "{ended:#?}");
        fs::write(path("others").join(key), own).unwrap();
    }
    fs::remove_file(path("others/root.key")).unwrap();
    let ended = site.fleetd(&["restore", "bare", "--keys", "others"], "target").await.expect(1);
    assert!(ended.err().contains("no root key"), "a key that was there is not taken for offline: {ended:#?}");
    assert!(!path("target").exists());
    // The right ones. More enrollments are open than are read at once, and all of them are counted.
    fs::remove_dir_all(path("bare")).unwrap();
    let raw = Database::connect(format!("sqlite://{}", path("first/fleet.db").display())).await.unwrap();
    let open = "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
        INSERT INTO pending_enrollment (id, org_id, code_hash, state, expires_at, second_uses, version, created_at,
            updated_at)
        SELECT n, (SELECT id FROM organization), unhex(printf('%064x', n)), 'pending', 4102444800000, 0, 1, 1, 1 FROM n";
    raw.execute_unprepared(open).await.unwrap();
    raw.close().await.unwrap();
    site.fleetd(&["backup", "bare", "--without-keys"], "first").await.expect(0);
    let ended = site.fleetd(&["restore", "bare", "--keys", "good/keys"], "target").await.expect(0);
    assert!(ended.out().contains("The local agent's keys are not here"), "{ended:#?}");
    assert!(ended.out().contains("(1500 open)"), "{ended:#?}");
    assert_private(&path("target"));
    site.server("target").await.process.stop().await.expect(0);
    // The whole one, in combined mode again.
    site.fleetd(&["restore", "good"], "whole").await.expect(0);
    let arguments = ["--listen".to_owned(), site.listen.clone()].into_iter().chain(site.place("whole"));
    Server::up(site.home.start(arguments)).await.process.stop().await.expect(0);
    assert_eq!(names(&path("whole")), ["fleet.db", "keys", "local-agent", "lock"]);
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn rewrite(backup: &Path, field: &str, value: Value) {
    let path = backup.join("backup.json");
    let mut described: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    described[field] = value;
    fs::write(path, serde_json::to_vec(&described).unwrap()).unwrap();
}

/// `fleetd WORDS` that may write no file above some size: a full disk, or with `dies` a process that is killed there.
async fn limited(site: &Site, words: &[&str], name: &str, dies: bool) -> Ended {
    let trap = if dies { "" } else { "trap '' XFSZ; " };
    let mut command = site.home.command(words);
    let program = command.as_std().get_program().to_owned();
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{trap}ulimit -f 60; exec \"$0\" \"$@\"")).arg(program);
    shell.args(words).args(site.place(name)).env_clear().env("HOME", site.home.path());
    shell.current_dir(site.home.path()).kill_on_drop(true);
    shell.stdin(std::process::Stdio::null());
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.stdin(std::process::Stdio::null());
    let mut process = Process::spawn(&mut shell);
    process.close();
    process.ended().await
}

#[tokio::test]
async fn where_something_is_or_nothing_fits_all_stays_as_it_was() {
    let site = combined().await;
    let path = |name: &str| site.home.join(name);
    let before = || entries(site.home.path());

    // Making one.
    let all = before();
    let ended = site.fleetd(&["backup", "good"], "first").await.expect(USAGE);
    assert!(ended.err().contains("exists and is not overwritten"), "{ended:#?}");
    symlink("nowhere", path("link")).unwrap();
    let ended = site.fleetd(&["backup", "link/"], "first").await.expect(USAGE);
    assert!(ended.err().contains("exists and is not overwritten"), "{ended:#?}");
    fs::remove_file(path("link")).unwrap();
    let ended = site.fleetd(&["backup", "missing/new"], "first").await.expect(1);
    assert!(ended.err().contains("No such file or directory"), "{ended:#?}");
    let ended = site.fleetd(&["backup", "new"], "nothing").await.expect(USAGE);
    assert!(ended.err().contains("there is no installation"), "{ended:#?}");
    let ended = limited(&site, &["backup", "new"], "first", false).await.expect(1);
    assert!(ended.err().contains("the database"), "{ended:#?}");
    chmod(&path("first/keys/root.key"), 0o644);
    let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
    assert!(ended.err().contains("may be read by others"), "{ended:#?}");
    chmod(&path("first/keys/root.key"), 0o600);
    fs::rename(path("first/keys/command.key"), path("command")).unwrap();
    let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
    assert!(ended.err().contains("command.key is missing"), "{ended:#?}");
    fs::rename(path("command"), path("first/keys/command.key")).unwrap();
    fs::rename(path("first/keys/root.key"), path("root")).unwrap();
    let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
    assert!(
        ended.err().contains("no root key") && ended.err().contains("root.key of the first"),
        "{ended:#?}"
    );
    // One without keys is none the worse for it, and says so.
    let ended = site.fleetd(&["backup", "new", "--without-keys"], "first").await.expect(0);
    assert!(ended.out().contains("is not on this server"), "{ended:#?}");
    fs::remove_dir_all(path("new")).unwrap();
    fs::rename(path("root"), path("first/keys/root.key")).unwrap();
    assert_eq!(before(), all, "nothing is left of any of these");

    // Restoring: what is in the way is named, and stays.
    let target = path("target");
    let occupants: [(&str, &str); 4] = [
        ("fleet.db", "fleet.db is there already"),
        ("fleet.db-wal", "fleet.db-wal is there already"),
        ("keys/root.key", "root.key is there already"),
        ("local-agent/identity.key", "local-agent is there already"),
    ];
    for (name, text) in occupants {
        make_private(&target);
        fs::create_dir_all(target.join(name).parent().unwrap()).unwrap();
        fs::write(target.join(name), "somebody's").unwrap();
        let all = before();
        let ended = site.fleetd(&["restore", "good"], "target").await.expect(USAGE);
        assert!(ended.err().contains(text), "{ended:#?}");
        assert_eq!(before(), all);
        fs::remove_dir_all(&target).unwrap();
    }
    // Somebody else's directory is not closed, and nothing is put there.
    make_private(&target);
    fs::write(target.join("passwd"), "").unwrap();
    chmod(&target, 0o755);
    let ended = site.fleetd(&["restore", "good"], "target").await.expect(1);
    assert!(ended.err().contains("holds other things"), "{ended:#?}");
    assert_eq!((mode(&target), names(&target)), (0o755, vec!["passwd".to_owned()]));
    fs::remove_dir_all(&target).unwrap();

    // A full disk.
    let all = before();
    let ended = limited(&site, &["restore", "good"], "target", false).await.expect(1);
    assert!(ended.err().contains("fleet.db.restoring"), "{ended:#?}");
    assert_eq!(before(), all, "all is taken back");
    // A process that dies there: nobody serves what it left, and nobody restores over it.
    let ended = limited(&site, &["restore", "good"], "target", true).await;
    assert_eq!(ended.signal(), Some(Signal::XFSZ.as_raw()), "{ended:#?}");
    assert!(target.join("restoring").exists() && !target.join("fleet.db").exists());
    for words in [&["restore", "good"][..], &["backup", "new"], &["manifest"], &["orgs", "list"]] {
        let ended = site.fleetd(words, "target").await.expect(USAGE);
        assert!(ended.err().contains("was not finished"), "{words:?} {ended:#?}");
    }
    let ended = site.start("target").ended().await.expect(USAGE);
    assert!(ended.err().contains("was not finished"), "{ended:#?}");
    assert!(!target.join("fleet.db").exists(), "no new installation is begun there");
    fs::remove_dir_all(&target).unwrap();

    // A server that runs there.
    let server = site.server("first").await;
    fs::create_dir(path("empty")).unwrap();
    let ended = site.start("first").ended().await.expect(1);
    assert!(ended.err().contains(" is using "), "one server on SQLite: {ended:#?}");
    let ended = site.fleetd(&["restore", "good"], "first").await.expect(USAGE);
    assert!(ended.err().contains("is there already"), "{ended:#?}");
    server.process.stop().await.expect(0);
    // One that holds the directory and has nothing there yet.
    make_private(&target);
    let lock = fs::File::create(target.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let ended = site.fleetd(&["restore", "good"], "target").await.expect(LATER);
    assert!(ended.err().contains("another process is using "), "{ended:#?}");
    assert_eq!(names(&target), ["lock"]);
    drop(lock);
    // The keys that are there may stay, and then nothing of theirs is written.
    copy_tree(&path("good/keys"), &target.join("keys"));
    let written = target.join("keys/root.key").metadata().unwrap().ino();
    let keys = target.join("keys").display().to_string();
    site.fleetd(&["restore", "good", "--keys", &keys], "target").await.expect(0);
    assert_eq!(target.join("keys/root.key").metadata().unwrap().ino(), written);
    site.server("target").await.process.stop().await.expect(0);
    another_file_system(&site).await;
    another_user(&site).await;
}

/// From one file system to another and back.
async fn another_file_system(site: &Site) {
    let shm = Path::new("/dev/shm");
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    if device(shm).is_none() || device(shm) == device(site.home.path()) {
        return skipped("a backup on another file system (there is no other at /dev/shm)");
    }
    let Ok(away) = tempfile::tempdir_in(shm) else {
        return skipped("a backup on another file system (/dev/shm cannot be written)");
    };
    let backup = away.path().join("backup").display().to_string();
    site.fleetd(&["backup", &backup], "first").await.expect(0);
    assert_private(Path::new(&backup));
    site.fleetd(&["restore", &backup], "from-away").await.expect(0);
    assert_private(&site.home.join("from-away"));
}

/// What this user may not read, or what belongs to another.
async fn another_user(site: &Site) {
    let data = site.home.join("first");
    if rustix::process::geteuid().is_root() {
        let nobody = Some(rustix::fs::Uid::from_raw(65534));
        rustix::fs::chown(&data, nobody, None).unwrap();
        let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
        assert!(ended.err().contains("belongs to another user"), "{ended:#?}");
        let key = site.home.join("good/keys/root.key");
        rustix::fs::chown(&key, nobody, None).unwrap();
        let ended = site.fleetd(&["restore", "good"], "new-target").await.expect(1);
        assert!(ended.err().contains("root.key belongs to another user"), "{ended:#?}");
    } else {
        chmod(&data.join("keys"), 0o000);
        let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
        assert!(ended.err().contains("Permission denied"), "{ended:#?}");
        chmod(&data.join("keys"), 0o700);
        chmod(&site.home.join("good/keys/root.key"), 0o000);
        let ended = site.fleetd(&["restore", "good"], "new-target").await.expect(1);
        assert!(ended.err().contains("Permission denied"), "{ended:#?}");
    }
    assert!(!site.home.join("new").exists() && !site.home.join("new-target").exists());
}
