//! Setting up, logins and operators' api_keys.

use super::*;

fn set_up(token: &str) -> fleet::SetUpRequest {
    fleet::SetUpRequest {
        setup_token: token.to_owned(),
        organization: "Acme Mining".to_owned(),
        user_name: "alice".to_owned(),
        password: wire_support::PASSWORD.to_owned(),
    }
}

#[tokio::test]
async fn a_server_is_set_up_once_and_by_its_link() {
    let mut bench = Bench::unfounded(Mode::Server).await;
    let operators = OperatorServiceClient::new(bench.channel.clone());
    let token = bench.set_up_token();
    let no = Refused::unauthenticated();
    bench.refused("a login before the set-up", &no, bench.login()).await;
    let wrong = "x".repeat(43);
    bench.refused("a set-up with another token", &no, operators.set_up(set_up(&wrong))).await;
    let short = Refused::invalid(&["setup_token: must be 20 to 512 characters, got 0"]);
    bench.refused("a set-up without a token", &short, operators.set_up(set_up(""))).await;
    type Change<'a> = &'a dyn Fn(&mut fleet::SetUpRequest);
    let cases: [(&str, &str, Change<'_>); 5] = [
        ("no organization", "organization", &|r| r.organization.clear()),
        ("an organization of blanks", "organization", &|r| r.organization = "  ".to_owned()),
        ("a name that hides something", "organization", &|r| r.organization = "Acme\u{202e}".to_owned()),
        ("no user name", "user_name", &|r| r.user_name.clear()),
        ("a short password", "password: must be 12 to 512 characters, got 11", &|r| {
            r.password = "x".repeat(11)
        }),
    ];
    for (what, says, change) in cases {
        let mut request = set_up(&token);
        change(&mut request);
        bench
            .refused(&format!("a set-up with {what}"), &Refused::invalid(&[says]), operators.set_up(request))
            .await;
    }

    // Two at once, and one of them wins.
    let (one, two) = tokio::join!(operators.set_up(set_up(&token)), operators.set_up(set_up(&token)));
    let lost = match (one, two) {
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => status,
        both => panic!("two set-ups at once: {both:?}"),
    };
    assert!(matches!(lost.code, Code::FailedPrecondition | Code::Unauthenticated), "{lost:?}");
    bench.refused("a set-up with the used token", &no, operators.set_up(set_up(&token))).await;
    assert_eq!(bench.dump().await.rows("organization").len(), 1);
    bench.token = bench.login().await.unwrap();
    let who = bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    assert_eq!((who.user_name.as_str(), who.organization.as_str()), ("alice", "Acme Mining"));
}

#[tokio::test]
async fn a_failed_login_says_nothing_and_is_seen() {
    let bench = Bench::start(Mode::Server).await;
    let operators = OperatorServiceClient::new(bench.channel.clone());
    let no = Refused::unauthenticated();
    let failures = || async {
        let lines = bench.dump().await.rows("activity").to_vec();
        lines.into_iter().filter(|line| line.contains("kind='login_failed'")).collect::<Vec<_>>()
    };
    // The line comes beside the answer, which is not to take longer for somebody who exists.
    let logged = async |what: &str, count: usize| {
        wire_support::eventually(what, async || failures().await.len() >= count).await;
        assert_eq!(failures().await.len(), count, "{what}");
    };
    let answer = |what: &'static str, user_name: &str, password: &str| {
        let call = operators.login(login(user_name, password));
        let no = &no;
        async move {
            let Err(status) = within(what, call).await else { panic!("{what}: not refused") };
            no.judge(what, &status);
            status
        }
    };
    let mut answers = vec![answer("a wrong password", "alice", "incorrect horse battery").await];
    logged("a wrong password", 1).await;
    let what = "one more within the minute";
    answers.push(bench.refused(what, &no, operators.login(login("alice", "guess"))).await);
    bench.advance(Duration::from_secs(60));
    answers.push(answer("a password with blanks around it", "alice", " correct horse battery ").await);
    logged("the next minute", 2).await;
    assert!(failures().await[1].contains("alice, 2 times since the line before"), "{:?}", failures().await);
    bench.advance(Duration::from_secs(60));
    // Of somebody whom no organization knows there is nothing that one could want to see.
    let what = "an unknown user";
    answers.push(bench.refused(what, &no, operators.login(login("mallory", wire_support::PASSWORD))).await);
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    for (what, field, request) in
        [("no user name", "user_name", login("", "x")), ("no password", "password", login("alice", ""))]
    {
        let expected = Refused::invalid(&[&format!("{field}: must be 1 to")]);
        bench.refused(&format!("a login with {what}"), &expected, operators.login(request)).await;
    }
}

#[tokio::test]
async fn logins_and_api_keys_end() {
    let bench = Bench::start(Mode::Server).await;
    let operators = bench.operators();
    let no = Refused::unauthenticated();
    let as_script = |key: &str| OperatorServiceClient::new(bench.channel.with_bearer(key));
    let make = async |label: &str, ttl: Option<i64>| {
        let ttl = ttl.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        operators.create_api_key(fleet::CreateApiKeyRequest { label: label.to_owned(), ttl }).await
    };
    let (lasting, short, revoked) = (
        make("lasting", None).await.unwrap(),
        make("short", Some(60)).await.unwrap(),
        make("revoked", None).await.unwrap(),
    );
    for key in [&lasting, &short, &revoked] {
        as_script(&key.api_key).who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    }
    for (what, ttl) in [("under a minute", 59), ("over ten years", 315_576_001)] {
        let expected = Refused::invalid(&["ttl: must be"]);
        bench.refused(&format!("an api_key for {what}"), &expected, make("x", Some(ttl))).await;
    }
    bench
        .refused(
            "an api_key without a label",
            &Refused::invalid(&["label: must be 1 to 255"]),
            make("", None),
        )
        .await;

    let digits = revoked.info.unwrap().digits;
    operators.revoke_api_key(fleet::RevokeApiKeyRequest { digits: digits.clone() }).await.unwrap();
    let call = as_script(&revoked.api_key);
    bench.refused("a revoked api_key", &no, call.who_am_i(fleet::WhoAmIRequest {})).await;
    let twice = operators.revoke_api_key(fleet::RevokeApiKeyRequest { digits });
    bench
        .refused("revoking an api_key twice", &Refused::with(Code::NotFound, &["no such api_key"]), twice)
        .await;
    let agent = bench.online("agent").await;
    let of_agent = agent.api_key[6..14].to_owned();
    let call = operators.revoke_api_key(fleet::RevokeApiKeyRequest { digits: of_agent });
    let what = "revoking an agent's api_key as if it were a user's";
    bench.refused(what, &Refused::with(Code::NotFound, &["no such api_key"]), call).await;

    bench.advance(seconds(60));
    let call = as_script(&short.api_key);
    bench.refused("an expired api_key", &no, call.who_am_i(fleet::WhoAmIRequest {})).await;
    let call = as_script(&lasting.api_key);
    let logout = Refused::with(Code::FailedPrecondition, &["an api_key has no login to end"]);
    bench.refused("a logout by api_key", &logout, call.logout(fleet::LogoutRequest {})).await;

    let ended = OperatorServiceClient::new(bench.channel.with_bearer(&bench.login().await.unwrap()));
    ended.logout(fleet::LogoutRequest {}).await.unwrap();
    bench.refused("a login that was ended", &no, ended.who_am_i(fleet::WhoAmIRequest {})).await;
    bench.advance(seconds(12 * 3600));
    bench.refused("a login that expired", &no, operators.who_am_i(fleet::WhoAmIRequest {})).await;
    call.who_am_i(fleet::WhoAmIRequest {}).await.expect("a lasting api_key lasts");
}
