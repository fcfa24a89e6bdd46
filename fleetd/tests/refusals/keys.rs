//! Keys, the proofs of them, and names.

use super::*;

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
