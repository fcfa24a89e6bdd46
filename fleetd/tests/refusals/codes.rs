//! Enrollment codes.

use super::*;

#[tokio::test]
async fn a_code_that_is_not_good_is_refused_as_every_other_bad_credential() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (first, thief) = (secret_keys(100), secret_keys(101));
    let no = Refused::unauthenticated();
    let second_use = no.clone().leaving(Trace::SecondUse);

    let used = bench.code().await;
    gateway.register(register(&used.code, "first", &first)).await.unwrap();
    bench.advance(seconds(2));
    let other_keys = gateway.register(register(&used.code, "first", &thief));
    bench.refused("a used code with other keys", &second_use, other_keys).await;
    // A flood of them neither fills the log nor gets in the way of the confirmation.
    let flood = gateway.register(register(&used.code, "first", &thief));
    bench.refused("a used code again within a second", &no, flood).await;
    bench.advance(seconds(1));
    let other_name = gateway.register(register(&used.code, "second", &first));
    bench.refused("a used code with another name", &second_use, other_name).await;
    bench.advance(seconds(1));
    // Somebody who overheard Register has its keys and can prove none of them for another code or name.
    let mut unproven = register(&used.code, "first", &first);
    unproven.identity_proof =
        register_with(&used.code, "first", public_keys(&first), &thief.identity, &thief.miner_signing)
            .identity_proof;
    bench.refused("a used code with its keys unproven", &second_use, gateway.register(unproven)).await;
    let listed = bench.admin().list_enrollments(admin::ListEnrollmentsRequest::default()).await.unwrap();
    assert_eq!(listed.enrollments[0].second_uses, 3, "the operator sees second uses");

    let online = bench.online("confirmed").await;
    let other_keys = gateway.register(register(&online.code, "confirmed", &thief));
    bench.refused("a confirmed code with other keys", &second_use, other_keys).await;

    let cancelled = bench.code().await;
    let cancel = admin::CancelEnrollmentRequest { pending_enrollment_id: cancelled.pending_enrollment_id };
    bench.admin().cancel_enrollment(cancel).await.unwrap();
    let call = gateway.register(register(&cancelled.code, "late", &thief));
    bench.refused("a cancelled code", &no, call).await;

    let waiting = bench.waiting("waits").await;
    let cancel = admin::CancelEnrollmentRequest { pending_enrollment_id: waiting.code.pending_enrollment_id };
    bench.admin().cancel_enrollment(cancel).await.unwrap();
    bench.advance(seconds(2));
    let call = gateway.register(register(&waiting.code.code, "waits", &thief));
    bench.refused("the code of a cancelled agent with other keys", &second_use, call).await;

    let expired = bench.code().await;
    bench.advance(seconds(3600));
    let call = gateway.register(register(&expired.code, "late", &thief));
    bench.refused("an expired code", &no, call).await;

    let never_made = EnrollmentCode::generate(Pin::from_bytes([7; 16]), &SeededRandom::new(9)).unwrap();
    let call = gateway.register(register(never_made.expose(), "guess", &thief));
    bench.refused("a code that was never made", &no, call).await;
}

#[tokio::test]
async fn a_mistyped_code_stops_at_the_agent_and_would_stop_at_the_server() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let code = bench.code().await.code;
    let typo = |at: usize| {
        let mut text = code.clone().into_bytes();
        text[at] = if text[at] == b'q' { b'p' } else { b'q' };
        String::from_utf8(text).unwrap()
    };
    for (what, text, error) in [
        ("one letter in the middle", typo(40), CodeError::Checksum),
        ("the last letter", typo(87), CodeError::Checksum),
        ("a letter too few", code[..87].to_owned(), CodeError::Length { got: 87 }),
        ("mixed case", code.replacen("fenr", "FenR", 1), CodeError::MixedCase),
        ("another prefix", code.replacen("fenr", "fleet", 1)[..88].to_owned(), CodeError::Prefix),
    ] {
        // Nothing can be sent without a parsed code.
        assert_eq!(EnrollmentCode::parse(&text).unwrap_err(), error, "{what}");
        let sent_anyway = gateway.register(register(&text, "typo", &secret_keys(100)));
        bench.refused(&format!("mistyped: {what}"), &Refused::unauthenticated(), sent_anyway).await;
    }
    gateway
        .register(register(&code, "typo", &secret_keys(100)))
        .await
        .expect("the code itself is still good");
}

#[tokio::test]
async fn a_registration_asked_for_again_too_soon_is_told_when_to_come_back() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (code, keys) = (bench.code().await.code, secret_keys(100));
    gateway.register(register(&code, "hasty", &keys)).await.unwrap();
    for after in [0, 999] {
        bench.advance(Duration::from_millis(after));
        let expected = Refused::with(Code::ResourceExhausted, &["too soon"]);
        let again = gateway.register(register(&code, "hasty", &keys));
        let status = bench.refused(&format!("a repeat after {after} ms"), &expected, again).await;
        assert_eq!(status.retry_after, Some(seconds(1)), "whole seconds, rounded up");
    }
    bench.advance(Duration::from_millis(1));
    gateway.register(register(&code, "hasty", &keys)).await.expect("after a second");
}
