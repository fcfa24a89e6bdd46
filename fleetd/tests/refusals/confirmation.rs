//! Confirming and ending.

use super::handshake::begin;
use super::*;

#[tokio::test]
async fn an_agent_is_confirmed_only_by_its_own_fingerprint_and_enrollment() {
    let bench = Bench::start(Mode::Server).await;
    let (a, b) = (bench.waiting("a").await, bench.waiting("b").await);
    let (a_shows, b_shows) = (*a.enrolling.fingerprint(), *b.enrolling.fingerprint());
    let admin = bench.admin();
    let listed =
        admin.get_agent(admin::GetAgentRequest { agent_id: a.agent_id }).await.unwrap().agent.unwrap();
    assert_eq!(listed.identity_fingerprint, "", "nobody but the agent shows it");

    let wrong = Refused::with(Code::FailedPrecondition, &["fingerprint is not the agent's"])
        .leaving(Trace::Logged("wrong_fingerprint"));
    let call = admin.confirm_agent(confirm(a.agent_id, &a.code, &b_shows));
    bench.refused("the fingerprint of another agent", &wrong, call).await;
    let mut other_digit = a_shows.to_string();
    let last = if other_digit.ends_with('0') { '1' } else { '0' };
    other_digit.pop();
    other_digit.push(last);
    let call = admin.confirm_agent(confirm(a.agent_id, &a.code, &other_digit.parse().unwrap()));
    bench.refused("a fingerprint with one wrong digit", &wrong, call).await;
    let lines =
        bench.operators().list_activity(fleet::ListActivityRequest::default()).await.unwrap().activities;
    let line = &lines[0];
    assert_eq!((line.kind.as_str(), line.agent_id), ("wrong_fingerprint", a.agent_id), "{line:?}");
    assert_eq!(line.pending_enrollment_id, a.code.pending_enrollment_id);
    assert!(line.actor.starts_with("user:"), "{line:?}");

    let missing = Refused::with(Code::NotFound, &["no agent", "pending enrollment"]);
    for (what, agent, code, fingerprint) in [
        ("agent a with b's enrollment", a.agent_id, &b.code, &a_shows),
        ("agent b with a's enrollment", b.agent_id, &a.code, &b_shows),
        ("agent a with b's enrollment and fingerprint", a.agent_id, &b.code, &b_shows),
        ("an agent that there is not", 1, &a.code, &a_shows),
    ] {
        let call = admin.confirm_agent(confirm(agent, code, fingerprint));
        bench.refused(what, &missing, call).await;
    }
    for (what, fingerprint, says) in [
        ("a fingerprint that is too short", "QGGE8", "fingerprint: must be 25 to 64 characters"),
        ("a fingerprint of too many digits", "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5RX", "25 digits"),
        ("a letter that is none of its digits", "UGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R", "'U'"),
    ] {
        let mut request = confirm(a.agent_id, &a.code, &a_shows);
        request.fingerprint = fingerprint.to_owned();
        bench.refused(what, &Refused::invalid(&["fingerprint", says]), admin.confirm_agent(request)).await;
    }
    let c = bench.online("c").await;
    let mut foreign = confirm(a.agent_id, &a.code, &a_shows);
    let begun = begin(&bench, &c).await;
    foreign.agent_certificate = begun.agent_certificate;
    let expected = Refused::invalid(&["agent_certificate"]);
    bench.refused("the certificate of another agent", &expected, admin.confirm_agent(foreign)).await;

    admin
        .confirm_agent(confirm(a.agent_id, &a.code, &a_shows))
        .await
        .expect("no refusal ends the enrollment");
    let again = Refused::with(Code::FailedPrecondition, &["not awaiting confirmation"]);
    let call = admin.confirm_agent(confirm(a.agent_id, &a.code, &a_shows));
    bench.refused("confirming twice", &again, call).await;

    // A script of the operator's, since the login is over by then.
    let label = fleet::CreateApiKeyRequest { label: "script".to_owned(), ttl: None };
    let script = bench.operators().create_api_key(label).await.unwrap().api_key;
    let admin = admin::AgentAdminServiceClient::new(bench.channel.with_bearer(&script));
    bench.advance(seconds(24 * 3600));
    let late = Refused::with(Code::FailedPrecondition, &["the enrollment expired"]);
    bench
        .refused("confirming too late", &late, admin.confirm_agent(confirm(b.agent_id, &b.code, &b_shows)))
        .await;
}

#[tokio::test]
async fn what_cannot_be_ended_is_not_ended() {
    let bench = Bench::start(Mode::Server).await;
    let admin = bench.admin();
    let waiting = bench.waiting("waits").await;
    let online = bench.online("online").await;
    let revoke = |agent_id| admin.revoke_agent(admin::RevokeAgentRequest { agent_id });
    let pending = Refused::with(Code::FailedPrecondition, &["not confirmed", "cancel its enrollment"]);
    bench.refused("revoking a pending agent", &pending, revoke(waiting.agent_id)).await;
    bench.refused("revoking nobody", &Refused::with(Code::NotFound, &["no agent"]), revoke(1)).await;
    let cancel = |pending_enrollment_id| {
        admin.cancel_enrollment(admin::CancelEnrollmentRequest { pending_enrollment_id })
    };
    let over = Refused::with(Code::FailedPrecondition, &["already confirmed, cancelled or expired"]);
    bench.refused("cancelling a confirmed enrollment", &over, cancel(online.enrollment_id)).await;
    bench
        .refused("cancelling nothing", &Refused::with(Code::NotFound, &["no pending enrollment"]), cancel(1))
        .await;
    revoke(online.agent_id).await.unwrap();
    let twice = Refused::with(Code::FailedPrecondition, &["already revoked"]);
    bench.refused("revoking twice", &twice, revoke(online.agent_id)).await;
    cancel(waiting.code.pending_enrollment_id).await.unwrap();
    bench.refused("cancelling twice", &over, cancel(waiting.code.pending_enrollment_id)).await;
    bench.refused("revoking a discarded agent", &pending, revoke(waiting.agent_id)).await;
}
