//! Enrollment over the real wire: from the code to the first session, and everything that stops it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{fs, path::Path, sync::Arc};

use fleet_agent::{
    clock::SystemClock,
    enroll::{Attendant, EnrollFailure, Enrolled, Enrollment},
    gateway::ConnectGateway,
    prompt::PromptError,
    server_url::{AllowInsecure, ServerUrl},
    state::{Access, EnrollmentStage, StateDir},
    tls::TrustAnchors,
};
use fleet_core::{
    code::{ApiKey, EnrollmentCode},
    driver::{AgentDriver, AgentError, EnrollmentProgress},
    enrollment::agent::EnrollError,
    fingerprint::Fingerprint,
    future::BoxFuture,
    name::Name,
    random::OsRandom,
    store::{AgentState, AgentStore as _},
    transport::TransportError,
};
use support::{Running, Stub, tls_file};
use tokio::sync::mpsc;

/// A person who does what the test says, and tells it what was shown.
struct Person {
    joins: bool,
    shown: mpsc::UnboundedSender<Fingerprint>,
    organizations: Vec<String>,
    pastes: Vec<ApiKey>,
    unasked: Option<mpsc::UnboundedReceiver<ApiKey>>,
    notices: Vec<String>,
}

impl Person {
    fn new(joins: bool) -> (Self, mpsc::UnboundedReceiver<Fingerprint>) {
        let (shown, seen) = mpsc::unbounded_channel();
        let person = Self {
            joins,
            shown,
            organizations: Vec::new(),
            pastes: Vec::new(),
            unasked: None,
            notices: Vec::new(),
        };
        (person, seen)
    }
}

impl Attendant for Person {
    fn may_join<'a>(&'a mut self, organization: &'a Name) -> BoxFuture<'a, Result<bool, PromptError>> {
        self.organizations.push(organization.to_string());
        Box::pin(async { Ok(self.joins) })
    }

    fn show_fingerprint(&mut self, fingerprint: &Fingerprint) {
        self.shown.send(*fingerprint).unwrap();
    }

    fn api_key(&mut self) -> BoxFuture<'_, Result<ApiKey, PromptError>> {
        let key = self.pastes.pop().expect("the test has no more to paste");
        Box::pin(async { Ok(key) })
    }

    fn pasted(&mut self) -> BoxFuture<'_, ApiKey> {
        Box::pin(async {
            match &mut self.unasked {
                Some(pastes) => pastes.recv().await.expect("the test has no more to paste"),
                None => std::future::pending().await,
            }
        })
    }

    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }
}

fn enrollment(directory: &StateDir, server: &ServerUrl) -> Enrollment {
    let gateway = ConnectGateway::new(server, AllowInsecure::No, &TrustAnchors::System).unwrap();
    let (store, random) = (Arc::new(directory.store()), Arc::new(OsRandom));
    let driver = AgentDriver::new(
        store.clone(),
        Arc::new(directory.keys()),
        gateway.transport(),
        Arc::new(SystemClock),
        random.clone(),
    );
    Enrollment { driver, store, random, wait: true }
}

async fn enroll(
    path: &Path,
    server: &ServerUrl,
    code: &EnrollmentCode,
    person: &mut Person,
) -> Result<Enrolled, EnrollFailure> {
    let directory = StateDir::open(path, Access::Exclusive).unwrap();
    let code = EnrollmentCode::parse(code.expose()).unwrap();
    enrollment(&directory, server).run(code, server, Name::new("site-1").unwrap(), person).await
}

fn stage(path: &Path) -> Option<EnrollmentStage> {
    let directory = StateDir::open(path, Access::ReadOnly).unwrap();
    directory.public_state().unwrap().map(|state| state.stage)
}

/// The operator confirms what the agent shows, as soon as it does.
async fn confirm(
    stub: Arc<Stub>,
    new: fleet_core::enrollment::NewCode,
    mut shown: mpsc::UnboundedReceiver<Fingerprint>,
) {
    let fingerprint = shown.recv().await.unwrap();
    stub.confirm(&new, fingerprint).await.unwrap();
}

#[tokio::test]
async fn an_agent_enrolls_and_is_online() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let (mut person, shown) = Person::new(true);
    let operator = tokio::spawn(confirm(Arc::clone(&server.stub), new.clone(), shown));
    let outcome = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    operator.await.unwrap();
    let Enrolled::Online(online) = outcome else { panic!("not online") };
    let identity = server.stub.driver.authenticate(&online.session.token.hash()).await.unwrap();
    assert_eq!(identity.agent_id, server.stub.agent_of(&new).await);
    assert_eq!(person.organizations, ["Acme"]);
    assert_eq!(stage(home.path()), Some(EnrollmentStage::Enrolled));

    // The same command again: nobody is asked anything, and the agent is online.
    let (mut person, _shown) = Person::new(false);
    let outcome = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    assert!(matches!(outcome, Enrolled::Online(_)));
    // Another code is not for an agent that is enrolled.
    let (_, other) = server.stub.create_code().await;
    let error = enroll(home.path(), &server.url(), &other, &mut person).await.unwrap_err();
    assert!(matches!(error, EnrollFailure::Agent(AgentError::Enroll(EnrollError::AlreadyEnrolled))));
}

#[tokio::test]
async fn an_api_key_that_somebody_in_between_made_is_asked_for_again() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let (mut person, mut shown) = Person::new(true);
    let stub = Arc::clone(&server.stub);
    let operator = tokio::spawn(async move {
        let fingerprint = shown.recv().await.unwrap();
        stub.confirm(&new, fingerprint).await.unwrap();
    });
    enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    operator.await.unwrap();
    // As if another had sealed what came. Sealing names no sender.
    let plant = async |has_worked: bool| {
        let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
        let held = directory.store().load().await.unwrap().unwrap();
        let session = held.record.session.clone().filter(|_| has_worked);
        let forged = Some(ApiKey::generate(&OsRandom).unwrap());
        let state = AgentState { api_key: forged, session, ..held.record };
        directory.store().commit(state, Some(held.version)).await.unwrap();
    };
    plant(false).await;
    // The server is asked for its own, which it seals again: no session has made a call yet.
    let outcome = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    assert!(matches!(outcome, Enrolled::Online(_)));
    assert_eq!(person.notices, ["the server does not accept the api_key that came; asking again"]);
    // One that has made a session was good: that it is no more is somebody's decision.
    plant(true).await;
    let error = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap_err();
    assert!(matches!(error, EnrollFailure::ApiKeyRefused), "{error:?}");
}

#[tokio::test]
async fn an_enrollment_that_was_interrupted_goes_on_with_the_same_keys() {
    let mut server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let (mut person, mut shown) = Person::new(true);
    let first = {
        let url = server.url();
        let enrolling = enroll(home.path(), &url, &code, &mut person);
        tokio::pin!(enrolling);
        tokio::select! {
            outcome = &mut enrolling => panic!("ended: {outcome:?}"),
            fingerprint = shown.recv() => fingerprint.unwrap(),
        }
        // Here the process dies.
    };
    assert_eq!(stage(home.path()), Some(EnrollmentStage::AwaitingConfirmation));
    server.revive().await;
    server.stub.confirm(&new, first).await.unwrap();
    let (mut person, _shown) = Person::new(false);
    let outcome = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    assert!(matches!(outcome, Enrolled::Online(_)));
    assert!(person.organizations.is_empty(), "it has joined already");
}

#[tokio::test]
async fn a_server_that_did_not_make_the_code_is_shown_nothing() {
    let (right, wrong) = (Running::start().await, Running::start().await);
    let home = tempfile::tempdir().unwrap();
    // An impostor who has stolen the code's secret half, but not the organization's keys.
    let (_, code) = right.stub.create_code().await;
    let (mut person, mut shown) = Person::new(true);
    let error = enroll(home.path(), &wrong.url(), &code, &mut person).await.unwrap_err();
    assert!(matches!(error, EnrollFailure::CodeRefused), "{error:?}");
    assert!(error.is_final());

    let relayed = relay_pin(&wrong).await;
    let home = tempfile::tempdir().unwrap();
    let error = enroll(home.path(), &wrong.url(), &relayed, &mut person).await.unwrap_err();
    assert!(matches!(error, EnrollFailure::Agent(AgentError::Enroll(EnrollError::WrongPin))), "{error:?}");
    assert!(person.organizations.is_empty(), "no organization is named");
    assert!(shown.try_recv().is_err(), "no fingerprint is shown");
    assert_eq!(stage(home.path()), Some(EnrollmentStage::Begun));
}

/// A code that the server takes, with the pin of another organization.
async fn relay_pin(server: &Running) -> EnrollmentCode {
    let code = EnrollmentCode::generate(fleet_core::manifest::Pin::from_bytes([7; 16]), &OsRandom).unwrap();
    server.stub.accept_code(&code).await;
    code
}

#[tokio::test]
async fn whoever_declines_is_not_shown_the_fingerprint() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (_, code) = server.stub.create_code().await;
    let (mut person, mut shown) = Person::new(false);
    let error = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap_err();
    assert!(matches!(error, EnrollFailure::Declined));
    assert!(shown.try_recv().is_err());
    assert_eq!(stage(home.path()), Some(EnrollmentStage::Answered));
}

#[tokio::test]
async fn the_api_key_is_pasted_where_the_server_does_not_deliver_it_any_more() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let (mut person, mut shown) = Person::new(true);
    let url = server.url();
    let fingerprint = {
        let enrolling = enroll(home.path(), &url, &code, &mut person);
        tokio::pin!(enrolling);
        tokio::select! {
            outcome = &mut enrolling => panic!("ended: {outcome:?}"),
            fingerprint = shown.recv() => fingerprint.unwrap(),
        }
    };
    let api_key = server.stub.confirm(&new, fingerprint).await.unwrap();
    // A copy of the state directory goes online first, which ends the delivery.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let Enrolled::Online(online) = enroll(copy.path(), &url, &code, &mut person).await.unwrap() else {
        panic!("not online")
    };
    server.stub.driver.authenticate(&online.session.token.hash()).await.unwrap();

    person.pastes = vec![api_key.clone(), ApiKey::generate(&OsRandom).unwrap()];
    let outcome = enroll(home.path(), &url, &code, &mut person).await.unwrap();
    assert!(matches!(outcome, Enrolled::Online(_)));
    assert_eq!(person.notices.len(), 1, "the wrong key was refused: {:?}", person.notices);
    assert!(fs::read_to_string(home.path().join("api-key")).unwrap().contains(api_key.expose()));
}

#[tokio::test]
async fn an_api_key_may_be_pasted_while_the_agent_waits() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let (mut person, mut shown) = Person::new(true);
    let (paste, pastes) = mpsc::unbounded_channel();
    person.unasked = Some(pastes);
    // A wrong one changes nothing.
    paste.send(ApiKey::generate(&OsRandom).unwrap()).unwrap();
    let stub = Arc::clone(&server.stub);
    let operator = tokio::spawn(async move {
        let fingerprint = shown.recv().await.unwrap();
        let api_key = stub.confirm(&new, fingerprint).await.unwrap();
        paste.send(api_key).unwrap();
        // Held, so that the person could go on pasting.
        paste
    });
    let outcome = enroll(home.path(), &server.url(), &code, &mut person).await.unwrap();
    assert!(matches!(outcome, Enrolled::Online(_)));
    assert_eq!(person.notices, ["the server does not accept this api_key"]);
    drop(operator.await.unwrap());
    assert_eq!(stage(home.path()), Some(EnrollmentStage::Enrolled));
}

/// The first call to a server behind TLS, with these certificates to verify it by.
async fn first_call(server: &Running, anchors: TrustAnchors) -> Result<EnrollmentProgress, AgentError> {
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(home.path(), Access::Exclusive).unwrap();
    let gateway = ConnectGateway::new(&server.url(), AllowInsecure::No, &anchors).unwrap();
    let driver = AgentDriver::new(
        Arc::new(directory.store()),
        Arc::new(directory.keys()),
        gateway.transport(),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    );
    let (_, code) = server.stub.create_code().await;
    let mut enrolling = driver.enroll(code, server.url().as_str(), Name::new("site-1").unwrap()).await?;
    enrolling.poll().await
}

#[tokio::test]
async fn a_server_is_verified_by_the_ca_file_and_by_no_other() {
    let server = Running::start_tls().await;
    assert!(server.url().is_tls());
    let other = TrustAnchors::File(tls_file("other-ca.pem"));
    let error = first_call(&server, other).await.unwrap_err();
    assert!(matches!(error, AgentError::Transport(TransportError::Unreachable(_))), "{error:?}");
    assert_eq!(server.stub.seen().registers, 0, "the code was not sent");
    let right = TrustAnchors::File(tls_file("ca.pem"));
    assert!(matches!(first_call(&server, right).await, Ok(EnrollmentProgress::AskToJoin { .. })));
}
