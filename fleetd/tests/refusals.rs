//! What the server and the agent refuse: each with its code and one clear message, and with nothing stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleet_core::code::{ApiKey, CodeError, EnrollmentCode};
use fleet_core::driver::AgentError;
use fleet_core::enrollment::agent::EnrollError;
use fleet_core::enrollment::{self, UnverifiedManifest};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::agent::HandshakeError;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::keys::{
    AgentKeyring, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey, RootSecretKey,
    Signature, Signer, SignerError,
};
use fleet_core::manifest::{OrgManifest, Pin, SuccessionError};
use fleet_core::store::{AgentKeyStore, MemoryAgentStore, MemoryKeyStore, StoreError};
use fleet_core::testing::SeededRandom;
use fleet_core::transcript::{Domain, Transcript};
use fleet_core::transport::{Transport, TransportError};
use fleet_proto::agentadmin::v1::{self as admin, AGENT_ADMIN_SERVICE_PROCEDURES};
use fleet_proto::agentgateway::v1::{
    self as gateway, AGENT_GATEWAY_SERVICE_PROCEDURES, control_stream_request as ask,
    control_stream_response as answer,
};
use fleet_proto::client::{GatewayTransport, Status};
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{
    self as fleet, DEVICE_SERVICE_PROCEDURES, OPERATOR_SERVICE_PROCEDURES, OperatorServiceClient,
    TELEMETRY_SERVICE_PROCEDURES,
};
use fleet_proto::rpc::Code;
use fleetd::config::Mode;
use wire_support::{
    Bench, Honest, Online, Refused, Trace, confirm, http1, json, login, public_keys, register, register_with,
    secret_keys, within,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bytes32(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

// Codes.

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

// Keys and proofs.

#[tokio::test]
async fn proofs_that_do_not_fit_are_refused_and_the_code_stays_good() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (code, other_code) = (bench.code().await.code, bench.code().await.code);
    let (keys, other) = (secret_keys(100), secret_keys(101));
    let good = register(&code, "a", &keys);
    let by = |identity: &IdentitySecretKey, miner_signing: &MinerSigningSecretKey| {
        register_with(&code, "a", public_keys(&keys), identity, miner_signing)
    };
    let with = |change: &dyn Fn(&mut gateway::RegisterRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let cases = [
        ("the identity proof by another key", by(&other.identity, &keys.miner_signing)),
        ("the miner-signing proof by another key", by(&keys.identity, &other.miner_signing)),
        (
            "the two proofs in each other's place",
            with(&|r| std::mem::swap(&mut r.identity_proof, &mut r.miner_signing_proof)),
        ),
        (
            "the two signing keys in each other's place",
            with(&|r| std::mem::swap(&mut r.identity_pubkey, &mut r.miner_signing_pubkey)),
        ),
        (
            "keys and proofs in each other's place",
            with(&|r| {
                std::mem::swap(&mut r.identity_pubkey, &mut r.miner_signing_pubkey);
                std::mem::swap(&mut r.identity_proof, &mut r.miner_signing_proof);
            }),
        ),
        (
            "another sealing key than the proven one",
            with(&|r| r.sealing_pubkey = Bytes::copy_from_slice(&public_keys(&other)[2])),
        ),
        ("proofs for another name", with(&|r| r.name = "b".to_owned())),
        ("proofs for another code", with(&|r| r.enrollment_token.clone_from(&other_code))),
        ("no signature at all", with(&|r| r.identity_proof = vec![0; 64].into())),
    ];
    for (what, request) in cases {
        bench.refused(what, &Refused::unauthenticated(), gateway.register(request)).await;
    }
    gateway.register(good).await.expect("no refusal used the code up");
}

/// A seed whose Ed25519 public key would pass as an X25519 key.
fn seed_for_both_curves(from: u8) -> [u8; 32] {
    let fits = |seed: &[u8; 32]| IdentitySecretKey::from_seed(seed).public().as_bytes()[31] < 0x7f;
    (from..).map(|byte| [byte; 32]).find(fits).unwrap()
}

#[tokio::test]
async fn one_key_is_never_used_in_two_roles() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let code = bench.code().await.code;
    let (one, two) = (seed_for_both_curves(1), [200; 32]);
    let signers = |identity: &[u8; 32], miner_signing: &[u8; 32]| {
        (IdentitySecretKey::from_seed(identity), MinerSigningSecretKey::from_seed(miner_signing))
    };
    let sealing = public_keys(&secret_keys(100))[2];
    // Every proof is right: what is refused is the sharing.
    for (what, (identity, miner_signing), sealing_is, fields) in [
        ("identity = miner-signing", signers(&one, &one), None, ["identity_pubkey", "miner_signing_pubkey"]),
        ("identity = sealing", signers(&one, &two), Some(0), ["identity_pubkey", "sealing_pubkey"]),
        ("miner-signing = sealing", signers(&two, &one), Some(1), ["miner_signing_pubkey", "sealing_pubkey"]),
    ] {
        let mut keys = [*identity.public().as_bytes(), *miner_signing.public().as_bytes(), sealing];
        if let Some(same) = sealing_is {
            keys[2] = keys[same];
        }
        let request = register_with(&code, "a", keys, &identity, &miner_signing);
        let expected = Refused::invalid(&[fields[0], fields[1], "must differ"]);
        bench.refused(what, &expected, gateway.register(request)).await;
    }
}

#[tokio::test]
async fn keys_that_are_no_good_are_refused_by_name_and_the_code_stays_good() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let code = bench.code().await.code;
    let keys = secret_keys(100);
    let (small, canonical) = ("small order", "canonical");
    let ed25519 = [
        ("0100000000000000000000000000000000000000000000000000000000000000", small),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", small),
        ("0000000000000000000000000000000000000000000000000000000000000000", small),
        ("0000000000000000000000000000000000000000000000000000000000000080", small),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", small),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", small),
        ("0100000000000000000000000000000000000000000000000000000000000080", canonical),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", canonical),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", canonical),
        ("0200000000000000000000000000000000000000000000000000000000000000", canonical),
    ];
    let x25519 = [
        ("0000000000000000000000000000000000000000000000000000000000000000", small),
        ("0100000000000000000000000000000000000000000000000000000000000000", small),
        ("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", small),
        ("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", small),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", small),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", canonical),
        ("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", canonical),
        ("0900000000000000000000000000000000000000000000000000000000000080", canonical),
    ];
    let roles: [(&str, &[(&str, &str)]); 3] =
        [("identity_pubkey", &ed25519), ("miner_signing_pubkey", &ed25519), ("sealing_pubkey", &x25519)];
    for (at, (field, bad)) in roles.into_iter().enumerate() {
        for (hex, why) in bad {
            let mut all = public_keys(&keys);
            all[at] = bytes32(hex);
            let request = register_with(&code, "a", all, &keys.identity, &keys.miner_signing);
            let expected = Refused::invalid(&[field, why]);
            bench.refused(&format!("{field} {hex}"), &expected, gateway.register(request)).await;
        }
    }
    gateway.register(register(&code, "a", &keys)).await.expect("no refusal used the code up");
}

#[tokio::test]
async fn names_and_keys_that_are_in_use_are_refused_by_name() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let (theirs, mine) = (secret_keys(100), secret_keys(101));
    let shared = seed_for_both_curves(1);
    let holder = AgentSecretKeys { identity: IdentitySecretKey::from_seed(&shared), ..secret_keys(102) };
    let holding = bench.code().await;
    gateway.register(register(&bench.code().await.code, "taken", &theirs)).await.unwrap();
    let held = gateway.register(register(&holding.code, "holder", &holder)).await.unwrap();

    let code = bench.code().await.code;
    let taken = |field: &str| Refused::with(Code::FailedPrecondition, &[field, "is in use"]);
    let call = gateway.register(register(&code, "taken", &mine));
    bench.refused("the name of another agent", &taken("name"), call).await;

    let [identity, miner_signing, sealing] = public_keys(&mine);
    let [their_identity, their_miner_signing, their_sealing] = public_keys(&theirs);
    let as_miner_signing = MinerSigningSecretKey::from_seed(&theirs.identity.danger_seed());
    let as_identity = IdentitySecretKey::from_seed(&theirs.miner_signing.danger_seed());
    let founded = bench.waiting("reads the manifest").await.agent.state().await.manifest.unwrap();
    let root = *founded.manifest().root.as_bytes();
    let command = *founded.manifest().command.as_bytes();
    let shared = *holder.identity.public().as_bytes();
    let with = |keys| register_with(&code, "a", keys, &mine.identity, &mine.miner_signing);
    let mut cases = vec![
        (
            "identity_pubkey",
            "another agent's identity key as identity key",
            register_with(
                &code,
                "a",
                [their_identity, miner_signing, sealing],
                &theirs.identity,
                &mine.miner_signing,
            ),
        ),
        (
            "identity_pubkey",
            "another agent's miner-signing key as identity key",
            register_with(
                &code,
                "a",
                [their_miner_signing, miner_signing, sealing],
                &as_identity,
                &mine.miner_signing,
            ),
        ),
        (
            "miner_signing_pubkey",
            "another agent's identity key as miner-signing key",
            register_with(&code, "a", [identity, their_identity, sealing], &mine.identity, &as_miner_signing),
        ),
        (
            "miner_signing_pubkey",
            "another agent's miner-signing key as miner-signing key",
            register_with(
                &code,
                "a",
                [identity, their_miner_signing, sealing],
                &mine.identity,
                &theirs.miner_signing,
            ),
        ),
        ("sealing_pubkey", "another agent's sealing key", with([identity, miner_signing, their_sealing])),
        (
            "sealing_pubkey",
            "another agent's identity key as sealing key",
            with([identity, miner_signing, shared]),
        ),
    ];
    // A sealing key is not proven, so the server's own keys could be named there.
    for (what, key) in [("the root key as sealing key", root), ("the command key as sealing key", command)] {
        if key[31] < 0x7f {
            cases.push(("sealing_pubkey", what, with([identity, miner_signing, key])));
        }
    }
    assert!(cases.len() > 6, "choose another seed for the server: neither of its keys passes as X25519");
    for (field, what, request) in cases {
        bench.refused(what, &taken(field), gateway.register(request)).await;
    }

    // Revoked keys are spent for good; the name is free again.
    let fingerprint = held.identity_fingerprint.parse().unwrap();
    bench.admin().confirm_agent(confirm(held.agent_id, &holding, &fingerprint)).await.unwrap();
    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: held.agent_id }).await.unwrap();
    let call = gateway.register(register(&code, "holder", &holder));
    bench.refused("the keys of a revoked agent", &taken("identity_pubkey"), call).await;
    gateway.register(register(&code, "holder", &mine)).await.expect("the name of a revoked agent is free");
}

#[tokio::test]
async fn names_that_would_not_look_like_what_they_are_are_refused() {
    let bench = Bench::start(Mode::Server).await;
    let gateway = bench.gateway();
    let code = bench.code().await.code;
    for c in [
        '\u{0}', '\n', '\u{7f}', '\u{9f}', '\u{61c}', '\u{200b}', '\u{202e}', '\u{2060}', '\u{2069}',
        '\u{feff}',
    ] {
        let mut request = register(&code, "a", &secret_keys(100));
        request.name = format!("a{c}b");
        let expected = Refused::invalid(&["name", &format!("U+{:04X}", u32::from(c))]);
        bench.refused(&format!("a name with {c:?}"), &expected, gateway.register(request)).await;
    }
}

// Handshake.

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

async fn begin(bench: &Bench, agent: &Online) -> gateway::BeginAuthHandshakeResponse {
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

// What the agent refuses.

/// Counts what an agent's identity key signs.
#[derive(Debug, Default)]
struct CountingKeys {
    held: MemoryKeyStore,
    signed: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingSigner {
    key: Arc<dyn Signer>,
    signed: Arc<AtomicUsize>,
}

impl Signer for CountingSigner {
    fn public_key(&self) -> [u8; 32] {
        self.key.public_key()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.key.sign(message)
    }
}

impl CountingKeys {
    fn counted(&self, keyring: AgentKeyring) -> AgentKeyring {
        let identity = CountingSigner { key: keyring.identity, signed: self.signed.clone() };
        AgentKeyring { identity: Arc::new(identity), ..keyring }
    }
}

impl AgentKeyStore for CountingKeys {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        Box::pin(async { Ok(self.held.open().await?.map(|keyring| self.counted(keyring))) })
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        Box::pin(async { Ok(self.counted(self.held.replace(keys).await?)) })
    }
}

type Alter<R, A> = Box<dyn Fn(&R, A) -> A + Send + Sync>;
type AlterRegister = Alter<enrollment::RegisterRequest, enrollment::RegisterResponse>;
type AlterBegin = Alter<BeginRequest, BeginResponse>;

/// Somebody on the way who alters the server's answers.
struct Relay {
    server: GatewayTransport,
    register: AlterRegister,
    begin: AlterBegin,
}

impl Relay {
    fn on(bench: &Bench) -> Self {
        Self {
            server: GatewayTransport::new(bench.channel.clone()),
            register: Box::new(|_, answer| answer),
            begin: Box::new(|_, answer| answer),
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relay")
    }
}

impl Transport for Relay {
    fn register(
        &self,
        request: enrollment::RegisterRequest,
    ) -> BoxFuture<'_, Result<enrollment::RegisterResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.server.register(request.clone()).await?;
            Ok((self.register)(&request, answer))
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.server.begin(request.clone()).await?;
            Ok((self.begin)(&request, answer))
        })
    }

    fn complete(&self, _: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        panic!("the agent answered a challenge that it must refuse");
    }
}

/// The manifest as another root would sign it.
fn under_another_root(manifest: &OrgManifest) -> UnverifiedManifest {
    let root = RootSecretKey::from_seed(&[66; 32]);
    let manifest = OrgManifest { root: root.public(), ..manifest.clone() };
    UnverifiedManifest { signature: root.sign(manifest.transcript().as_bytes()), manifest }
}

/// The answer with another manifest, signed anew so that only the manifest is wrong.
fn with_manifest(
    command: &CommandSecretKey,
    request: &BeginRequest,
    answer: BeginResponse,
    manifest: UnverifiedManifest,
) -> BeginResponse {
    let transcript = Transcript::new(Domain::AuthServer)
        .field(manifest.manifest.command.as_bytes())
        .integer(answer.certificate.0.agent_id.value())
        .field(&request.identity)
        .field(&request.client_nonce)
        .field(&answer.challenge)
        .time(answer.server_time)
        .time(answer.expires_at)
        .integer(answer.last_sequence)
        .field(&manifest.manifest.transcript().sha256());
    BeginResponse { signature: command.sign(transcript.as_bytes()), manifest, ..answer }
}

#[tokio::test]
async fn an_agent_whose_code_pins_other_keys_shows_nothing() {
    let bench = Bench::start(Mode::Server).await;
    // The server takes the code, but its pin is another organization's.
    let code = EnrollmentCode::generate(Pin::from_bytes([9; 16]), &SeededRandom::new(3)).unwrap();
    let request = admin::CreateEnrollmentCodeRequest {
        ttl: None,
        code_sha256: Some(Bytes::copy_from_slice(code.hash().as_bytes())),
    };
    bench.admin().create_enrollment_code(request).await.unwrap();
    let agent = Honest::new(&bench, "careful", Arc::new(MemoryKeyStore::new()));
    let mut enrolling = agent.enroll(code.expose()).await;
    let refused = enrolling.poll().await.unwrap_err();
    assert!(matches!(refused, AgentError::Enroll(EnrollError::WrongPin)), "{refused:?}");
    assert!(refused.to_string().contains("not the one that made the enrollment code"), "{refused}");
    let state = agent.state().await;
    assert!(state.manifest.is_none() && state.agent_id.is_none() && !state.joined, "kept: {state:?}");
    // It is over: the agent asks nothing, sends nothing and shows nothing.
    let again = enrolling.poll().await.unwrap_err();
    assert!(matches!(again, AgentError::Enroll(EnrollError::Over)), "{again:?}");
    assert!(enrolling.join().await.is_err());
    assert!(!agent.state().await.joined, "nobody was asked, and it joined");
}

#[tokio::test]
async fn an_agent_refuses_a_first_answer_that_is_not_its_organizations() {
    let bench = Bench::start(Mode::Server).await;
    let stranger = public_keys(&secret_keys(55));
    type Judge = fn(&EnrollError) -> bool;
    let cases: [(&str, AlterRegister, Judge); 3] = [
        (
            "a manifest of another root",
            Box::new(|_, answer| enrollment::RegisterResponse {
                manifest: under_another_root(&answer.manifest.manifest),
                ..answer
            }),
            |error| matches!(error, EnrollError::WrongPin),
        ),
        (
            "a manifest that its root did not sign",
            Box::new(|_, mut answer| {
                answer.manifest.manifest.epoch += 1;
                answer
            }),
            |error| matches!(error, EnrollError::Manifest(_)),
        ),
        (
            "the fingerprint of other keys",
            Box::new(move |_, answer| {
                let [identity, miner_signing, sealing] = &stranger;
                let keys =
                    fleet_core::keys::AgentPublicKeys::parse(identity, miner_signing, sealing).unwrap();
                enrollment::RegisterResponse { fingerprint: keys.fingerprint(), ..answer }
            }),
            |error| matches!(error, EnrollError::WrongFingerprint),
        ),
    ];
    for (at, (what, register, expected)) in cases.into_iter().enumerate() {
        let relay = Arc::new(Relay { register, ..Relay::on(&bench) });
        let store = Arc::new(MemoryAgentStore::new());
        let name = format!("agent {at}");
        let agent = Honest::over(&bench, &name, Arc::new(MemoryKeyStore::new()), store, relay);
        let mut enrolling = agent.enroll(&bench.code().await.code).await;
        match enrolling.poll().await {
            Err(AgentError::Enroll(error)) => assert!(expected(&error), "{what}: {error:?}"),
            other => panic!("{what}: {other:?}"),
        }
        assert!(agent.state().await.manifest.is_none(), "{what}: the agent kept the manifest");
    }
}

#[tokio::test]
async fn an_agent_signs_nothing_for_a_server_that_does_not_prove_itself() {
    let bench = Bench::start(Mode::Server).await;
    let keys = Arc::new(CountingKeys::default());
    let agent = bench.online_with("careful", keys.clone()).await;
    let other = bench.online("other").await;
    let first = agent.agent.state().await.manifest.unwrap();
    // A newer manifest, which the agent has seen by its next handshake.
    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: other.agent_id }).await.unwrap();
    agent.agent.driver.handshake().await.unwrap();
    let newest = agent.agent.state().await.manifest.unwrap();
    assert!(newest.manifest().epoch > first.manifest().epoch);

    let seed = std::fs::read_to_string(bench.directory.path().join("keys").join("command.key")).unwrap();
    let command = || CommandSecretKey::from_seed(&bytes32(seed.trim()));
    assert_eq!(command().public(), newest.manifest().command);
    let stranger = || CommandSecretKey::from_seed(&[66; 32]);
    let forked = {
        let mut manifest = newest.manifest().clone();
        manifest.epoch += 1;
        UnverifiedManifest { manifest, signature: *newest.signature() }
    };
    let (older, root, key) = (UnverifiedManifest::from(&first), command(), command());
    let certificate_of_other = other.agent.state().await;
    assert_ne!(certificate_of_other.keys, agent.agent.state().await.keys);

    type Judge = fn(&HandshakeError) -> bool;
    let cases: Vec<(&str, AlterBegin, Judge)> = vec![
        (
            "a manifest of lower epoch, in an answer that the command key signed",
            Box::new(move |request, answer| with_manifest(&key, request, answer, older.clone())),
            |error| matches!(error, HandshakeError::Succession(SuccessionError::Rollback { .. })),
        ),
        (
            "a manifest of another root",
            Box::new(move |request, answer| {
                let manifest = under_another_root(&answer.manifest.manifest);
                with_manifest(&root, request, answer, manifest)
            }),
            |error| matches!(error, HandshakeError::Succession(SuccessionError::Root)),
        ),
        (
            "a manifest that its root did not sign",
            Box::new(move |_, answer| BeginResponse { manifest: forked.clone(), ..answer }),
            |error| matches!(error, HandshakeError::Manifest(_)),
        ),
        (
            "a server signature from another key",
            Box::new(move |request, answer| {
                let manifest = answer.manifest.clone();
                with_manifest(&stranger(), request, answer, manifest)
            }),
            |error| matches!(error, HandshakeError::ServerSignature),
        ),
        (
            "another challenge than the signed one",
            Box::new(|_, answer| BeginResponse { challenge: [1; 32], ..answer }),
            |error| matches!(error, HandshakeError::ServerSignature),
        ),
        (
            "a certificate of other keys",
            Box::new(|_, mut answer| {
                answer.certificate.0.key_epoch += 1;
                answer
            }),
            |error| matches!(error, HandshakeError::Certificate(_)),
        ),
    ];
    let signed = keys.signed.load(Ordering::SeqCst);
    assert_eq!(signed, 3, "its proof at enrollment and two handshakes");
    for (what, begin, expected) in cases {
        bench.advance(seconds(1));
        let relay = Arc::new(Relay { begin, ..Relay::on(&bench) });
        let (name, store) = (&agent.agent.name, agent.agent.store.clone());
        let relayed = Honest::over(&bench, name, keys.clone(), store, relay);
        match relayed.driver.handshake().await {
            Err(AgentError::Handshake(error)) => {
                assert!(expected(&error), "{what}: {error:?}");
                if what.contains("lower epoch") {
                    assert!(error.to_string().contains("the server was restored from a backup"), "{error}");
                }
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(keys.signed.load(Ordering::SeqCst), signed, "{what}: the agent signed something");
        let held = agent.agent.state().await;
        assert_eq!(held.manifest.unwrap().hash(), newest.hash(), "{what}: the agent took the manifest");
    }
    bench.advance(seconds(1));
    agent.agent.driver.handshake().await.expect("without the relay it works");
}

// Who may call what.

const OPEN: [&str; 5] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
    "fleet.v1.OperatorService/SetUp",
    "fleet.v1.OperatorService/Login",
];

fn agent_procedures() -> Vec<&'static str> {
    AGENT_GATEWAY_SERVICE_PROCEDURES.into_iter().filter(|procedure| !OPEN.contains(procedure)).collect()
}

fn operator_procedures() -> Vec<&'static str> {
    let services: [&[&'static str]; 4] = [
        &AGENT_ADMIN_SERVICE_PROCEDURES,
        &OPERATOR_SERVICE_PROCEDURES,
        &DEVICE_SERVICE_PROCEDURES,
        &TELEMETRY_SERVICE_PROCEDURES,
    ];
    services.into_iter().flatten().copied().filter(|procedure| !OPEN.contains(procedure)).collect()
}

/// A call with `{}` as its message, failed or not.
async fn call_json(bench: &Bench, procedure: &str, token: Option<&str>) -> Result<(), Status> {
    let answer = json(bench.address, procedure, token, "{}").await;
    let refusal = (answer.status != 200).then(|| answer.refusal());
    if refusal.as_ref().is_some_and(|status| status.code == Code::Unauthenticated) {
        assert_eq!(answer.status, 401, "{procedure}");
    }
    refusal.map_or(Ok(()), Err)
}

#[tokio::test]
async fn every_procedure_is_refused_to_everybody_else() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let label = fleet::CreateApiKeyRequest { label: "script".to_owned(), ttl: None };
    let script = bench.operators().create_api_key(label).await.unwrap().api_key;
    assert_eq!((agent_procedures().len(), operator_procedures().len()), (4, 22));

    let garbage = "x".repeat(43);
    let nobodys = [
        ("no token", None),
        ("an empty token", Some("")),
        ("a token of the right form that was never made", Some(garbage.as_str())),
        ("an enrollment code", Some(agent.code.as_str())),
        ("an agent's api_key", Some(agent.api_key.as_str())),
    ];
    let of_agent = [("an agent's session token", Some(agent.token.as_str()))];
    let of_operator =
        [("an operator's login", Some(bench.token.as_str())), ("a user's api_key", Some(&script))];
    let no = Refused::unauthenticated();
    for (procedures, wrong) in
        [(agent_procedures(), of_operator.as_slice()), (operator_procedures(), of_agent.as_slice())]
    {
        for procedure in procedures {
            for (what, token) in nobodys.iter().chain(wrong) {
                let call = call_json(&bench, procedure, *token);
                bench.refused(&format!("{procedure} with {what}"), &no, call).await;
            }
        }
    }
    // The walk is no walk of closed doors: the right tokens open them.
    for (procedures, token) in [(agent_procedures(), &agent.token), (operator_procedures(), &script)] {
        for procedure in procedures {
            let path = format!("/{procedure}");
            let bearer = format!("bearer {token}");
            let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
            let answer = http1(bench.address, "POST", &path, &headers, b"{}").await;
            assert!(answer.status != 401 && answer.status != 404, "{procedure}: {answer:?}");
        }
    }
    let basic = [("content-type", "application/json"), ("authorization", &format!("Basic {}", bench.token))];
    let answer = http1(bench.address, "POST", "/fleet.v1.OperatorService/WhoAmI", &basic, b"{}").await;
    assert_eq!(answer.status, 401, "another scheme than Bearer");
}

#[tokio::test]
async fn a_refusal_before_the_body_speaks_the_callers_protocol() {
    let bench = Bench::start(Mode::Server).await;
    for procedure in agent_procedures().into_iter().chain(operator_procedures()) {
        let path = format!("/{procedure}");
        let post = async |kind: &str| {
            http1(bench.address, "POST", &path, &[("content-type", kind), ("te", "trailers")], &[0; 5]).await
        };
        for kind in ["application/proto", "application/json"] {
            let answer = post(kind).await;
            assert_eq!(answer.status, 401, "{procedure} {kind}");
            Refused::unauthenticated().judge(procedure, &answer.refusal());
        }
        for kind in ["application/connect+proto", "application/connect+json"] {
            let answer = post(kind).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{procedure}");
            assert!(answer.body.contains("\"unauthenticated\""), "{procedure} {kind}: {answer:?}");
        }
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"] {
            let answer = post(kind).await;
            let status = if answer.body.contains("grpc-status") {
                answer.body.contains("grpc-status: 16") || answer.body.contains("grpc-status:16")
            } else {
                answer.header("grpc-status") == "16"
            };
            assert!(answer.status == 200 && status, "{procedure} {kind}: {answer:?}");
        }
    }
}

fn heartbeat(bench: &Bench) -> gateway::UploadHeartbeatRequest {
    use fleet_core::time::Clock as _;
    gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    }
}

fn upload(sequence: i64) -> gateway::UploadTelemetryRequest {
    let at = fleet_core::time::UnixMillis::new(1_767_225_600_000).unwrap();
    let rig = "sn:RIG1".parse().unwrap();
    let sample =
        fleet_core::telemetry::Sample::status_only(rig, at, fleet_core::telemetry::MinerStatus::Mining);
    gateway::UploadTelemetryRequest {
        payload: fleet_proto::convert::encode_samples(&[sample]),
        captured_at: Some(timestamp(at)),
        sequence,
    }
}

fn hello() -> gateway::ControlStreamRequest {
    let hello = gateway::ControlHello { agent_version: "0.1.0".to_owned() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Hello(hello)) }
}

fn ack() -> gateway::ControlStreamRequest {
    let ack = gateway::ControlAck { command_id: "c".to_owned(), ..gateway::ControlAck::default() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Ack(ack)) }
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_in_the_middle_and_stores_nothing_more() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    gateway.upload_heartbeat(heartbeat(&bench)).await.unwrap();
    let mut control = gateway.control_stream().await.unwrap();
    control.send(hello()).await.unwrap();
    let first = control.message().await.unwrap().unwrap();
    assert!(matches!(first.kind, Some(answer::Kind::Accepted(_))), "{first:?}");
    let (mut sender, messages) = futures::channel::mpsc::channel(4);
    let uploading = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.upload_telemetry(messages).await }
    });
    sender.try_send(upload(1)).unwrap();
    bench.until("the first message is dealt with", |dump| dump.rows("upload_position").len() == 1).await;

    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: agent.agent_id }).await.unwrap();
    let revoked = bench.dump().await;
    assert!(revoked.rows("agent_session").is_empty() && revoked.rows("agent_auth_challenge").is_empty());
    let goaway = within("goaway", control.message()).await.unwrap().unwrap();
    match goaway.kind {
        Some(answer::Kind::Goaway(goaway)) => assert_eq!(goaway.reason, "the agent was revoked"),
        other => panic!("the control stream of a revoked agent: {other:?}"),
    }
    let no = Refused::unauthenticated();
    no.judge(
        "the control stream of a revoked agent",
        &within("the end of the stream", control.message()).await.unwrap_err(),
    );
    // Whatever it still sends comes too late.
    let _ = sender.try_send(upload(2));
    no.judge(
        "the upload of a revoked agent",
        &within("the end of the upload", uploading).await.unwrap().unwrap_err(),
    );
    bench.refused("the heartbeat of a revoked agent", &no, gateway.upload_heartbeat(heartbeat(&bench))).await;
    let call = gateway.upload_telemetry(futures::stream::iter([upload(3)]));
    bench.refused("a new upload of a revoked agent", &no, call).await;
    let call = async {
        let mut stream = gateway.control_stream().await?;
        stream.send(hello()).await?;
        stream.message().await
    };
    bench.refused("a new control stream of a revoked agent", &no, call).await;
    assert_eq!(revoked.changes(&bench.dump().await), [""; 0], "something was stored after the revocation");

    // Register's repeat may say so, and says nothing else.
    bench.advance(seconds(2));
    let repeat = register(&agent.code, "agent", &secret_keys(1));
    let call = bench.gateway();
    let call = call.register(repeat);
    bench.refused("somebody else under its code", &no.leaving(Trace::SecondUse), call).await;
}

#[tokio::test]
async fn a_session_that_is_over_opens_nothing() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let no = Refused::unauthenticated();
    let mut control = gateway.control_stream().await.unwrap();
    control.send(hello()).await.unwrap();
    control.message().await.unwrap().unwrap();
    bench.advance(seconds(3600));
    bench
        .refused("the heartbeat of a session that is over", &no, gateway.upload_heartbeat(heartbeat(&bench)))
        .await;
    let call = gateway.upload_telemetry(futures::stream::iter([upload(1)]));
    bench.refused("an upload of a session that is over", &no, call).await;
    // Each message is judged anew.
    let call = async {
        control.send(ack()).await?;
        control.message().await
    };
    bench.refused("a message on a stream whose session is over", &no, call).await;
}

// Confirming and ending.

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

// Fields.

#[tokio::test]
async fn a_field_that_is_not_known_is_refused_to_operators_and_passed_over_for_agents() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    for procedure in operator_procedures()
        .into_iter()
        .chain(["fleet.v1.OperatorService/Login", "fleet.v1.OperatorService/SetUp"])
    {
        let call = async {
            let answer = json(bench.address, procedure, Some(&bench.token), r#"{"agnt_id": 1}"#).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.refusal()) }
        };
        let expected = Refused::invalid(&["agnt_id"]);
        bench.refused(&format!("{procedure} with a field that is not known"), &expected, call).await;
    }
    // A newer agent may say more than this server knows.
    let procedure = "agentgateway.v1.AgentGatewayService/UploadHeartbeat";
    let message =
        r#"{"sent_at": "2026-01-01T00:00:00Z", "agent_version": "9.9.9", "battery": {"percent": 5}}"#;
    let answer = json(bench.address, procedure, Some(&agent.token), message).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let listed = bench.admin().get_agent(admin::GetAgentRequest { agent_id: agent.agent_id }).await.unwrap();
    assert_eq!(listed.agent.unwrap().agent_version, "9.9.9");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let bench = Bench::start(Mode::Server).await;
    let who = "fleet.v1.OperatorService/WhoAmI";
    let path = format!("/{who}");
    let bearer = format!("Bearer {}", bench.token);
    for (what, kind, body) in [
        ("half of a JSON object", "application/json", &b"{"[..]),
        ("JSON and more", "application/json", b"{} {}"),
        ("a JSON list", "application/json", b"[]"),
        ("a wire type that there is not", "application/proto", b"\x07"),
        ("a length beyond the end", "application/proto", b"\x0a\x7f"),
    ] {
        let headers = [("content-type", kind), ("authorization", bearer.as_str())];
        let call = async {
            let answer = http1(bench.address, "POST", &path, &headers, body).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.refusal()) }
        };
        bench.refused(what, &Refused::invalid(&["the message is not valid"]), call).await;
    }
}

// Operators.

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
