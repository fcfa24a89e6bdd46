//! One value, one secret.

use core::hint::black_box;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::enrollment::RegisterRequest;
use fleet_core::enrollment::server::Register;
use fleet_core::handshake::{BeginRequest, server::Begin};
use fleet_core::hpke;
use fleet_core::keys::{
    AgentKeyring, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey,
    OperatorSecretKey, RecoverySecretKey, RootSecretKey, SealingSecretKey, Signature,
};
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::testing::{SeededRandom, block_on};

use crate::memory::{Masked, Memory, address_of, draw, forgetting};

/// Without this, finding nothing would mean nothing.
pub(crate) fn a_plain_value_is_found_after_it_was_freed(memory: &mut Memory) {
    let secret = Masked::drawn("a plain value", 1, &[]);
    let secret = [secret];
    assert_eq!(memory.find(&secret), []);
    let plain = Box::new(draw(1, &[]));
    let place = address_of(&*plain);
    let pieces = [0, 8, 16, 24].map(|at| ("a plain value", place + at));
    assert_eq!(memory.find(&secret), pieces, "all of it, in its place");
    drop(plain);
    // The allocator has written to the first 16 bytes.
    assert_eq!(memory.find(&secret), &pieces[2..], "what was freed is still there");
    // That place is given out again soon, so that nothing is found later.
    let again: Vec<_> = (0..64).map(|_| black_box(Box::new([0xff_u8; 32]))).collect();
    assert_eq!(memory.find(&secret), []);
    drop(again);
}

pub(crate) fn secret_keys(memory: &mut Memory) {
    macro_rules! signs {
        ($($key:ident: $seed:literal),*) => {$(
            memory.gone_with(&[&Masked::drawn(stringify!($key), $seed, &[])], &[], || {
                let key = $key::generate(&SeededRandom::new($seed)).unwrap();
                // What is done with a key leaves no more of it than the key does.
                let signature = key.sign(b"x");
                assert_eq!($key::from_seed(&key.danger_seed()).sign(b"x"), signature);
                assert_eq!(format!("{key:?}").len(), stringify!($key).len() + 2 + format!("{:?}", key.public()).len());
                key
            });
        )*};
    }
    macro_rules! opens {
        ($($key:ident: $seed:literal),*) => {$(
            memory.gone_with(&[&Masked::drawn(stringify!($key), $seed, &[])], &[], || {
                let key = $key::generate(&SeededRandom::new($seed)).unwrap();
                let sealed = hpke::seal(&key.public(), b"i", b"a", b"x", &SeededRandom::new(90)).unwrap();
                assert_eq!(hpke::open(&key, b"i", b"a", &sealed).unwrap().as_slice(), b"x");
                assert_eq!($key::from_scalar(&key.danger_scalar()).public(), key.public());
                assert_eq!(format!("{key:?}").len(), stringify!($key).len() + 2 + format!("{:?}", key.public()).len());
                key
            });
        )*};
    }
    signs!(
        RootSecretKey: 10, CommandSecretKey: 11, OperatorSecretKey: 12, IdentitySecretKey: 13,
        MinerSigningSecretKey: 14
    );
    opens!(SealingSecretKey: 15, RecoverySecretKey: 16);

    let three = |seed| {
        [
            Masked::drawn("the identity key", seed, &[]),
            Masked::drawn("the miner-signing key", seed, &[32]),
            Masked::drawn("the sealing key", seed, &[32, 32]),
        ]
    };
    memory
        .gone_with(&three(17).each_ref(), &[], || AgentSecretKeys::generate(&SeededRandom::new(17)).unwrap());
    memory.gone_with(&three(18).each_ref(), &[], || {
        let keys = AgentSecretKeys::generate(&SeededRandom::new(18)).unwrap();
        let keyring = AgentKeyring::from(keys);
        block_on(keyring.identity.sign(b"x")).unwrap();
        block_on(keyring.sealing.open(b"x", &[7; 64])).unwrap_err();
        keyring.clone()
    });
    // A key that is moved about leaves nothing where it was.
    memory.gone_with(&[&Masked::drawn("a moved key", 19, &[])], &[], || {
        let first = Box::new(IdentitySecretKey::generate(&SeededRandom::new(19)).unwrap());
        let mut moved = vec![*first];
        moved.reserve(100);
        moved
    });
}

/// The random bytes of a seed, and their text.
pub(crate) fn random_and_text(name: [&'static str; 2], seed: u64, skip: &[usize]) -> [Masked; 2] {
    forgetting(|| {
        let drawn = draw(seed, skip);
        let mut text = [0; 43];
        URL_SAFE_NO_PAD.encode_slice(drawn, &mut text).unwrap();
        [Masked::new(name[0], drawn), Masked::new(name[1], text)]
    })
}

/// The characters of a code that stand for its random bytes; the pin and the checksum follow.
pub(crate) fn secret_of_code(code: &EnrollmentCode) -> Masked {
    Masked::new("the code", code.expose().bytes().skip(5).take(51))
}

/// The characters of an api_key that are its secret.
pub(crate) fn secret_of_api_key(key: &ApiKey) -> Masked {
    Masked::new("the api_key", key.expose().bytes().skip(15))
}

pub(crate) fn strings_that_people_handle(memory: &mut Memory) {
    let pin = Pin::from_bytes([1; Pin::LEN]);
    let code = || EnrollmentCode::generate(pin, &SeededRandom::new(20)).unwrap();
    let (text, bytes) = (secret_of_code(&code()), Masked::drawn("the code's bytes", 20, &[]));
    let (held, bytes) = ([&text], [&bytes]);
    memory.gone_with(&held, &bytes, code);
    memory.gone_with(&held, &bytes, || EnrollmentCode::parse(code().clone().expose()).unwrap());
    let [bytes, text] = random_and_text(["the api_key's bytes", "the api_key"], 21, &[4]);
    let api_key = || ApiKey::generate(&SeededRandom::new(21)).unwrap();
    memory.gone_with(&[&text], &[&bytes], api_key);
    memory.gone_with(&[&text], &[&bytes], || ApiKey::parse(api_key().expose()).unwrap());
    let [token_bytes, token_text] = random_and_text(["the token's bytes", "the token"], 22, &[]);
    let token = || SessionToken::generate(&SeededRandom::new(22)).unwrap();
    memory.gone_with(&[&token_text], &[&token_bytes], token);
    memory.gone_with(&[&token_text], &[&token_bytes], || SessionToken::parse(token().expose()).unwrap());

    // The requests that carry them, as they come over the wire.
    let request = || {
        let name = Name::new("site-1").unwrap();
        let proofs = [Signature::from_bytes([0; 64]); 2];
        RegisterRequest::new(code().expose().to_owned(), name, [[7; 32]; 3], proofs)
    };
    memory.gone_with(&held, &[], request);
    memory.gone_with(&held, &[], || Register::new(request()).clone());
    let request = || BeginRequest::new(api_key().expose().to_owned(), [7; 32], [8; 32]);
    memory.gone_with(&[&text], &[&bytes], request);
    memory.gone_with(&[&text], &[&bytes], || Begin::new(request()));
}

/// RFC 9180's own values: what sealing and opening compute on the way. None of it ever comes to the heap.
pub(crate) fn what_hpke_works_with(memory: &mut Memory) {
    /// The digits behind `"name": "`, as bytes, none of which is kept in clear.
    fn value<'a>(text: &'a str, name: &str) -> impl Iterator<Item = u8> + use<'a> {
        let quoted = text.split_once(&format!("\"{name}\"")).unwrap().1;
        let digits = quoted.split('"').nth(1).unwrap();
        digits.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
    }
    let vectors = include_str!("../vectors/hpke-rfc9180.json");
    let secrets = [
        Masked::new("the recipient's key", value(vectors, "skRm")),
        Masked::new("the shared secret", value(vectors, "shared_secret")),
        Masked::new("the AEAD's key", value(vectors, "key")),
        Masked::new("the plaintext", value(vectors, "pt")),
        Masked::drawn("the ephemeral key", 30, &[]),
    ];
    let public = |name| value(vectors, name).collect::<Vec<u8>>();
    let (info, aad, ciphertext) = (public("info"), public("aad"), public("ct"));
    let sealed = [public("enc"), ciphertext].concat();
    let [recipient, shared, key, plaintext, ephemeral] = secrets;
    let (held, never) = ([&recipient, &plaintext], [&shared, &key, &ephemeral]);
    memory.gone_with(&held, &never, || {
        let mut scalar = [0; 32];
        scalar.iter_mut().zip(value(vectors, "skRm")).for_each(|(to, from)| *to = from);
        let key = SealingSecretKey::from_scalar(&scalar);
        let opened = hpke::open(&key, &info, &aad, &sealed).unwrap();
        let again = hpke::seal(&key.public(), &info, &aad, &opened, &SeededRandom::new(30)).unwrap();
        assert_eq!(hpke::open(&key, &info, &aad, &again).unwrap(), opened);
        (key, opened)
    });
}
