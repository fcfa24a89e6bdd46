//! The handshake, at the server.

use super::*;

/// The transcript that both sides of a handshake sign (protocol section 2), from what the server answered.
fn auth_transcript(
    domain: Domain,
    agent_id: i64,
    identity: &[u8],
    client_nonce: &[u8],
    begun: &gateway::BeginAuthHandshakeResponse,
) -> Transcript {
    let manifest = UnverifiedManifest::try_from(begun.org_manifest.as_ref().unwrap()).unwrap().manifest;
    let time =
        |time: &Option<prost_types::Timestamp>| fleet_proto::convert::millis(time.as_ref().unwrap()).unwrap();
    Transcript::new(domain)
        .field(manifest.command.as_bytes())
        .integer(agent_id)
        .field(identity)
        .field(client_nonce)
        .field(&begun.challenge)
        .time(time(&begun.server_time))
        .time(time(&begun.expires_at))
        .integer(begun.last_sequence)
        .field(&manifest.transcript().sha256())
}

const NONCE: [u8; 32] = [5; 32];

fn begin_with(api_key: &str, identity: [u8; 32]) -> gateway::BeginAuthHandshakeRequest {
    gateway::BeginAuthHandshakeRequest {
        api_key: api_key.to_owned(),
        identity_pubkey: Bytes::copy_from_slice(&identity),
        client_nonce: Bytes::copy_from_slice(&NONCE),
    }
}

async fn identity_of(agent: &Online) -> Arc<dyn Signer> {
    agent.agent.keys.open().await.unwrap().unwrap().identity
}

pub(super) async fn begin(bench: &Bench, agent: &Online) -> gateway::BeginAuthHandshakeResponse {
    bench.advance(seconds(1));
    let request = begin_with(&agent.api_key, identity_of(agent).await.public_key());
    bench.gateway().begin_auth_handshake(request).await.unwrap()
}

/// What `signer` answers to a challenge of `agent`.
async fn complete(
    agent: &Online,
    signer: &dyn Signer,
    begun: &gateway::BeginAuthHandshakeResponse,
    domain: Domain,
) -> gateway::CompleteAuthHandshakeRequest {
    let identity = identity_of(agent).await.public_key();
    let transcript = auth_transcript(domain, agent.agent_id, &identity, &NONCE, begun);
    let signature = signer.sign(transcript.as_bytes()).await.unwrap();
    gateway::CompleteAuthHandshakeRequest {
        challenge: begun.challenge.clone(),
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    }
}

#[tokio::test]
async fn a_handshake_begins_only_with_the_agents_own_key_and_api_key() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (a, b) = (bench.online("a").await, bench.online("b").await);
    let (a_identity, b_identity) = (identity_of(&a).await.public_key(), identity_of(&b).await.public_key());
    let label = fleet::CreateApiKeyRequest { label: "script".to_owned(), ttl: None };
    let users = bench.operators().create_api_key(label).await.unwrap().api_key;
    let unknown = ApiKey::generate(&SeededRandom::new(77)).unwrap();
    let no = Refused::unauthenticated();
    for (what, api_key, identity) in [
        ("a user's api_key", users.as_str(), a_identity),
        ("an api_key that was never made", unknown.expose(), a_identity),
        ("another agent's identity key", &a.api_key, b_identity),
        ("another agent's api_key", &b.api_key, a_identity),
        ("an identity key of nobody", &a.api_key, public_keys(&secret_keys(100))[0]),
        ("an identity key that is no key", &a.api_key, [0; 32]),
        ("the session token in the place of the api_key", &a.token, a_identity),
        ("the operator's login in the place of the api_key", &bench.token, a_identity),
        ("the enrollment code in the place of the api_key", &a.code, a_identity),
        ("the api_key with blanks around it", &format!(" {} ", a.api_key), a_identity),
    ] {
        let call = gateway.begin_auth_handshake(begin_with(api_key, identity));
        bench.refused(&format!("Begin with {what}"), &no, call).await;
    }

    begin(&bench, &a).await;
    for after in [0, 249] {
        bench.advance(Duration::from_millis(after));
        let expected = Refused::with(Code::ResourceExhausted, &["too soon"]);
        let call = gateway.begin_auth_handshake(begin_with(&a.api_key, a_identity));
        let status = bench.refused(&format!("Begin again after {after} ms"), &expected, call).await;
        assert_eq!(status.retry_after, Some(seconds(1)), "whole seconds, rounded up");
    }
    begin(&bench, &b).await;

    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: a.agent_id }).await.unwrap();
    let call = gateway.begin_auth_handshake(begin_with(&a.api_key, a_identity));
    bench.refused("Begin of a revoked agent", &no, call).await;
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_time_and_by_its_agent() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (a, b) = (bench.online("a").await, bench.online("b").await);
    let (a_signs, b_signs) = (identity_of(&a).await, identity_of(&b).await);
    let no = Refused::unauthenticated();
    let taken = no.clone().leaving(Trace::ChallengeTaken);

    let begun = begin(&bench, &a).await;
    let good = complete(&a, a_signs.as_ref(), &begun, Domain::AuthAgent).await;
    gateway.complete_auth_handshake(good.clone()).await.unwrap();
    bench.refused("a challenge answered twice", &no, gateway.complete_auth_handshake(good)).await;

    let replaced = begin(&bench, &a).await;
    begin(&bench, &a).await;
    let late = complete(&a, a_signs.as_ref(), &replaced, Domain::AuthAgent).await;
    bench.refused("a challenge that a newer one replaced", &no, gateway.complete_auth_handshake(late)).await;

    let begun = begin(&bench, &a).await;
    let late = complete(&a, a_signs.as_ref(), &begun, Domain::AuthAgent).await;
    bench.advance(seconds(30));
    bench.refused("an expired challenge", &taken, gateway.complete_auth_handshake(late)).await;

    let begun = begin(&bench, &b).await;
    // The attacker is agent a: it signs b's challenge as itself, and as b with its own key.
    for (what, signs_for) in [("as itself", &a), ("for its agent", &b)] {
        let begun = if what == "as itself" { begun.clone() } else { begin(&bench, &b).await };
        let request = complete(signs_for, a_signs.as_ref(), &begun, Domain::AuthAgent).await;
        let call = gateway.complete_auth_handshake(request);
        bench.refused(&format!("another agent's challenge signed {what}"), &taken, call).await;
    }

    for (what, domain) in
        [("the server's domain", Domain::AuthServer), ("enrollment's", Domain::EnrollIdentity)]
    {
        let begun = begin(&bench, &b).await;
        let request = complete(&b, b_signs.as_ref(), &begun, domain).await;
        let call = gateway.complete_auth_handshake(request);
        bench.refused(&format!("a signature under {what}"), &taken, call).await;
    }
    let begun = begin(&bench, &b).await;
    // A reflected signature, as somebody without the key could send it.
    let request = gateway::CompleteAuthHandshakeRequest {
        challenge: begun.challenge.clone(),
        signature: begun.server_signature.clone(),
    };
    bench.refused("the server's own signature", &taken, gateway.complete_auth_handshake(request)).await;

    let begun = begin(&bench, &b).await;
    let altered = gateway::BeginAuthHandshakeResponse { last_sequence: begun.last_sequence + 1, ..begun };
    let request = complete(&b, b_signs.as_ref(), &altered, Domain::AuthAgent).await;
    let call = gateway.complete_auth_handshake(request);
    bench.refused("a signature over another last_sequence", &taken, call).await;

    let request = gateway::CompleteAuthHandshakeRequest {
        challenge: vec![1; 32].into(),
        signature: vec![1; 64].into(),
    };
    bench.refused("a challenge that was never made", &no, gateway.complete_auth_handshake(request)).await;

    let begun = begin(&bench, &b).await;
    let request = complete(&b, b_signs.as_ref(), &begun, Domain::AuthAgent).await;
    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: b.agent_id }).await.unwrap();
    let call = gateway.complete_auth_handshake(request);
    bench.refused("the challenge of an agent revoked meanwhile", &no, call).await;
}
