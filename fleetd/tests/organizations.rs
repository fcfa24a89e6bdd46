//! Operators of several organizations over the wire, their passwords, and roots that come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::driver::NoProbe;
use fleet_core::name::Name;
use fleet_core::refusal::UNAUTHENTICATED;
use fleet_core::testing::SeededRandom;
use fleet_proto::agentadmin::v1 as admin;
use fleet_proto::client::Status;
use fleet_proto::fleet::v1::{self as fleet, OperatorServiceClient};
use fleet_proto::rpc::Code;
use fleetd::config::Mode;
use fleetd::server::host::{Host, HostError};
use fleetd::server::{Server, StartError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire_support::{Bench, PASSWORD, Refused, config, eventually, http1, login};
use zeroize::Zeroizing;

const NEW_PASSWORD: &str = "a quite different one";

async fn host(bench: &Bench) -> Host {
    let config = config(bench.directory.path(), Mode::Server);
    Host::open(config, bench.clock.clone(), Arc::new(SeededRandom::new(2))).await.unwrap()
}

/// Another organization, made while the server runs; the file of its root.
async fn create(bench: &Bench, name: &str, operator: &str) -> PathBuf {
    let host = host(bench).await;
    let operator = match host.account(operator).await.unwrap() {
        Some(known) => fleet_store::Account::Existing(known.id),
        None => host.new_account(operator, Zeroizing::new(PASSWORD.to_owned())).await.unwrap(),
    };
    let made = host.create(Name::new(name).unwrap(), operator).await.unwrap();
    host.close().await;
    made.root_file
}

fn anybody(bench: &Bench) -> OperatorServiceClient {
    OperatorServiceClient::new(bench.channel.clone())
}

fn by(bench: &Bench, token: &str) -> OperatorServiceClient {
    OperatorServiceClient::new(bench.channel.with_bearer(token))
}

async fn login_to(bench: &Bench, user: &str, organization: &str) -> Result<fleet::LoginResponse, Status> {
    let organization = organization.to_owned();
    anybody(bench).login(fleet::LoginRequest { organization, ..login(user, PASSWORD) }).await
}

async fn who(bench: &Bench, token: &str) -> Result<(String, Vec<String>), Status> {
    let who = by(bench, token).who_am_i(fleet::WhoAmIRequest {}).await?;
    Ok((who.organization, who.organizations.into_iter().map(|one| one.name).collect()))
}

async fn kinds(bench: &Bench, token: &str) -> Vec<String> {
    let request = fleet::ListActivityRequest { page_size: 1000, page_token: String::new() };
    let lines = by(bench, token).list_activity(request).await.unwrap().activities;
    lines.into_iter().rev().map(|line| line.kind).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_login_acts_for_one_organization_and_goes_on_in_another() {
    let bench = Bench::start(Mode::Server).await;
    create(&bench, "Beta Hash", "alice").await;
    create(&bench, "Foreign", "bob").await;
    let both = names(&["Acme Mining", "Beta Hash"]);
    assert_eq!(who(&bench, &bench.token).await.unwrap(), ("Acme Mining".to_owned(), both.clone()));
    let answer = login_to(&bench, "alice", "").await.unwrap();
    assert_eq!(answer.organization.unwrap().name, "Acme Mining", "where she was first");
    let beta = login_to(&bench, "alice", " BETA hash ").await.unwrap();
    let named = beta.organization.clone().unwrap();
    assert_eq!(named.name, "Beta Hash");
    assert_eq!(who(&bench, &beta.session_token).await.unwrap(), ("Beta Hash".to_owned(), both.clone()));
    let by_id = login_to(&bench, "alice", &named.org_id.to_string()).await.unwrap();
    assert_eq!(by_id.organization, Some(named.clone()));
    let none = Refused::with(Code::NotFound, &["organization: none of yours has this name or id"]);
    for other in ["Foreign", "Nowhere", "12345"] {
        bench.refused(&format!("a login to {other}"), &none, login_to(&bench, "alice", other)).await;
    }

    // What is made under a login is its organization's.
    let key = fleet::CreateApiKeyRequest { label: "ci".to_owned(), ttl: None };
    let key = by(&bench, &beta.session_token).create_api_key(key).await.unwrap().api_key;
    assert_eq!(who(&bench, &key).await.unwrap(), ("Beta Hash".to_owned(), names(&["Beta Hash"])));
    let list = async |token: &str| {
        by(&bench, token).list_api_keys(fleet::ListApiKeysRequest {}).await.unwrap().api_keys.len()
    };
    assert_eq!((list(&bench.token).await, list(&key).await), (0, 1));

    let select = async |token: &str, organization: &str| {
        let organization = organization.to_owned();
        by(&bench, token).select_organization(fleet::SelectOrganizationRequest { organization }).await
    };
    let by_key = Refused::with(Code::FailedPrecondition, &["an api_key acts for one organization"]);
    bench.refused("selecting by api_key", &by_key, select(&key, "Acme Mining")).await;
    bench.refused("selecting another's", &none, select(&beta.session_token, "Foreign")).await;
    bench.advance(Duration::from_secs(60));
    let selected = select(&beta.session_token, "acme mining").await.unwrap();
    assert_eq!(selected.organization.unwrap().name, "Acme Mining");
    assert_eq!(selected.expires_at, beta.expires_at, "no longer than it would have lasted");
    assert_eq!(who(&bench, &selected.session_token).await.unwrap().0, "Acme Mining");
    let ended = who(&bench, &beta.session_token).await.unwrap_err();
    assert_eq!((ended.code, ended.message.as_str()), (Code::Unauthenticated, UNAUTHENTICATED));

    // Each log has its own part: the founding, the operator, three logins, the key and the end.
    let expected = ["organization_created", "operator_added", "login", "login", "api_key_created", "logout"];
    assert_eq!(kinds(&bench, &key).await, expected);
    assert_eq!(kinds(&bench, &selected.session_token).await.last().unwrap(), "login");
}

#[tokio::test]
async fn a_removal_ends_what_acts_for_the_organization_and_nothing_else() {
    let bench = Bench::start(Mode::Server).await;
    create(&bench, "Beta Hash", "alice").await;
    let beta = login_to(&bench, "alice", "Beta Hash").await.unwrap().session_token;
    let key = fleet::CreateApiKeyRequest { label: "ci".to_owned(), ttl: None };
    let key = by(&bench, &beta).create_api_key(key).await.unwrap().api_key;
    let host = host(&bench).await;
    let (name, is_left) = host.remove("beta hash", "ALICE").await.unwrap();
    assert_eq!((name.as_str(), is_left), ("Beta Hash", false));
    assert!(matches!(host.remove("beta hash", "alice").await, Err(HostError::NotMember { .. })));
    for token in [&beta, &key] {
        assert_eq!(who(&bench, token).await.unwrap_err().message, UNAUTHENTICATED);
    }
    assert_eq!(who(&bench, &bench.token).await.unwrap(), ("Acme Mining".to_owned(), names(&["Acme Mining"])));
    assert_eq!(login_to(&bench, "alice", "Beta Hash").await.unwrap_err().code, Code::NotFound);
    // Of somebody who belongs nowhere not even a right password says anything.
    host.remove("Acme Mining", "alice").await.unwrap();
    let no = Refused::unauthenticated();
    bench.refused("a login of nobody's operator", &no, login_to(&bench, "alice", "")).await;
    host.close().await;
}

/// The guard looks at the headers; what is held back until later is judged by what holds then.
#[tokio::test]
async fn a_message_that_was_held_back_does_not_act_for_who_was_removed_meanwhile() {
    let bench = Bench::start(Mode::Server).await;
    create(&bench, "Beta Hash", "alice").await;
    let beta = login_to(&bench, "alice", "Beta Hash").await.unwrap().session_token;
    let mut held = TcpStream::connect(bench.address).await.unwrap();
    let head = format!(
        "POST /agentadmin.v1.AgentAdminService/CreateEnrollmentCode HTTP/1.1\r\nhost: fleet\r\n\
         authorization: Bearer {beta}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    held.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once the guard has let the call through.
    let mut line = [0; 25];
    held.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    let host = host(&bench).await;
    host.remove("beta hash", "alice").await.unwrap();
    host.close().await;
    let before = bench.dump().await;
    held.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(before.changes(&bench.dump().await), [""; 0]);
}

#[tokio::test]
async fn a_password_is_changed_with_the_old_one_and_ends_the_other_logins() {
    let bench = Bench::start(Mode::Server).await;
    create(&bench, "Beta Hash", "alice").await;
    let other = login_to(&bench, "alice", "Beta Hash").await.unwrap().session_token;
    let key = fleet::CreateApiKeyRequest { label: "ci".to_owned(), ttl: None };
    let key = bench.operators().create_api_key(key).await.unwrap().api_key;
    let change = async |token: &str, old: &str, new: &str| {
        let request =
            fleet::ChangePasswordRequest { old_password: old.to_owned(), new_password: new.to_owned() };
        by(&bench, token).change_password(request).await
    };
    let wrong = Refused::with(Code::PermissionDenied, &["old_password: is not the password"]);
    let refusal = change(&bench.token, "wrong", NEW_PASSWORD).await.unwrap_err();
    wrong.judge("a wrong old password", &refusal);
    let failed = |line: &&String| line.contains("kind='password_change_failed'");
    eventually("it is in the log of each of her organizations", async || {
        bench.dump().await.rows("activity").iter().filter(failed).count() == 2
    })
    .await;
    let short = Refused::invalid(&["new_password: must be 12 to 512 characters, got 5"]);
    bench.refused("a short one", &short, change(&bench.token, PASSWORD, "short")).await;
    let by_key = Refused::with(Code::FailedPrecondition, &["an api_key cannot change its owner's password"]);
    bench.refused("by api_key", &by_key, change(&key, PASSWORD, NEW_PASSWORD)).await;

    change(&bench.token, PASSWORD, NEW_PASSWORD).await.unwrap();
    who(&bench, &bench.token).await.expect("the login that changed it goes on");
    who(&bench, &key).await.expect("api_keys go on");
    assert_eq!(who(&bench, &other).await.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(login_to(&bench, "alice", "").await.unwrap_err().code, Code::Unauthenticated);
    anybody(&bench).login(login("alice", NEW_PASSWORD)).await.unwrap();
    assert!(kinds(&bench, &key).await.contains(&"password_changed".to_owned()));

    // Whoever administers the host needs no old one, and ends that login too.
    let host = host(&bench).await;
    assert_eq!(host.set_password(" Alice", Zeroizing::new(PASSWORD.to_owned())).await.unwrap(), "alice");
    let nobody = host.set_password("mallory", Zeroizing::new(PASSWORD.to_owned())).await;
    assert!(matches!(nobody, Err(HostError::NoOperator { .. })), "{nobody:?}");
    host.close().await;
    assert_eq!(who(&bench, &bench.token).await.unwrap_err().code, Code::Unauthenticated);
    login_to(&bench, "alice", "Beta Hash").await.unwrap();
}

#[tokio::test]
async fn metrics_of_the_whole_server_are_no_single_organizations() {
    let bench = Bench::start(Mode::Server).await;
    let as_token = async |token: &str| {
        let bearer = format!("Bearer {token}");
        http1(bench.address, "GET", "/metrics", &[("authorization", &bearer)], b"").await
    };
    assert_eq!(as_token(&bench.token).await.status, 200);
    create(&bench, "Beta Hash", "bob").await;
    let bob = login_to(&bench, "bob", "").await.unwrap().session_token;
    for token in [&bench.token, &bob] {
        let answer = as_token(token).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("--metrics-listen") && !answer.body.contains("fleetd_"), "{answer:?}");
    }
    assert_eq!(as_token("x").await.status, 401);
}

#[tokio::test]
async fn an_organization_whose_root_is_missing_waits_for_it_alone() {
    let mut bench = Bench::start(Mode::Server).await;
    let file = create(&bench, "Beta Hash", "bob").await;
    assert_eq!(file.parent(), Some(bench.directory.path().join("keys").as_path()));
    let key = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let bob = login_to(&bench, "bob", "").await.unwrap().session_token;
    let acme = std::mem::replace(&mut bench.token, bob);
    let code = async |bench: &Bench| {
        bench.admin().create_enrollment_code(admin::CreateEnrollmentCodeRequest::default()).await
    };
    let unavailable = Refused::with(Code::Unavailable, &[]);
    bench.refused("a code without a root", &unavailable, code(&bench)).await;
    bench.token.clone_from(&acme);
    code(&bench).await.expect("the first organization has its own");
    // Written later, as on another server of the installation.
    write_private(&file, &key);
    let bob = login_to(&bench, "bob", "").await.unwrap().session_token;
    bench.token.clone_from(&bob);
    let waiting = bench.waiting("site").await;
    let agent = bench.online("other").await;

    // A server that starts without it serves the organization's agents, and tells nobody of another that it is so.
    let Bench { server, clock, directory, .. } = bench;
    server.stop().await;
    let start = async || {
        Server::start(
            &config(directory.path(), Mode::Server),
            clock.clone(),
            Arc::new(SeededRandom::new(3)),
            Arc::new(NoProbe),
        )
        .await
    };
    write_private(&file, format!("{}\n", "5a".repeat(32)).as_bytes());
    let refused = start().await.unwrap_err();
    assert!(refused.is_configuration());
    let text = refused.to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("Beta Hash"), "{text}");
    assert!(matches!(refused, StartError::RootKey { .. }));
    write_private(&file, &key[..20]);
    assert!(matches!(start().await.unwrap_err(), StartError::Keys(_)));
    fs::remove_file(&file).unwrap();
    let server = start().await.unwrap();
    let address = server.addresses()[0];
    let channel = fleet_proto::client::Channel::new(format!("http://{address}").parse().unwrap(), None);
    let heartbeat = fleet_proto::agentgateway::v1::UploadHeartbeatRequest {
        sent_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        agent_version: "1".to_owned(),
    };
    let gateway = |token: &str| {
        fleet_proto::agentgateway::v1::AgentGatewayServiceClient::new(channel.with_bearer(token))
    };
    gateway(&agent.token).upload_heartbeat(heartbeat.clone()).await.expect("its agents go on");
    let admin_by = |token: &str| admin::AgentAdminServiceClient::new(channel.with_bearer(token));
    let fingerprint = *waiting.enrolling.fingerprint();
    let confirm = || wire_support::confirm(waiting.agent_id, &waiting.code, &fingerprint);
    let no_root = admin_by(&bob).confirm_agent(confirm()).await.unwrap_err();
    assert_eq!(no_root.code, Code::Unavailable);
    let of_another = admin_by(&acme).confirm_agent(confirm()).await.unwrap_err();
    assert_eq!(of_another.code, Code::NotFound, "it does not show to another organization: {of_another:?}");
    let revoke = admin::RevokeAgentRequest { agent_id: agent.agent_id };
    admin_by(&bob).revoke_agent(revoke).await.expect("a revocation waits for nothing");
    let refused = gateway(&agent.token).upload_heartbeat(heartbeat).await.unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    write_private(&file, &key);
    admin_by(&bob).confirm_agent(confirm()).await.expect("the root is there again");
    server.stop().await;
}

fn write_private(path: &std::path::Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
