"""RFC 9180, base mode, single shot, in the one suite of section 6: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
AES-256-GCM. A sealed message is enc (32 bytes), then the ciphertext with its tag."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import keys
from refusal import Refused, require

KEM, KDF, AEAD = 0x0020, 0x0001, 0x0002
KEM_SUITE = b"KEM" + KEM.to_bytes(2, "big")
HPKE_SUITE = b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (KEM, KDF, AEAD))
MODE_BASE = b"\x00"


def hkdf_extract(salt, key):
    return hmac.digest(salt or bytes(32), key, hashlib.sha256)


def hkdf_expand(key, info, length):
    """RFC 5869, section 2.3."""
    out, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


def labeled_extract(suite, salt, label, key):
    return hkdf_extract(salt, b"HPKE-v1" + suite + label + key)


def labeled_expand(suite, key, label, info, length):
    return hkdf_expand(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def shared_secret(dh, enc, public_key):
    """ExtractAndExpand of section 4.1."""
    prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    return labeled_expand(KEM_SUITE, prk, b"shared_secret", enc + public_key, 32)


def key_schedule(secret, info):
    """The AEAD key and the base nonce, which is the nonce of the first and only message."""
    context = MODE_BASE + labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    context += labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = labeled_extract(HPKE_SUITE, secret, b"secret", b"")
    return (labeled_expand(HPKE_SUITE, secret, b"key", context,
                           32), labeled_expand(HPKE_SUITE, secret, b"base_nonce", context, 12))


def seal_with(dh, enc, public_key, info, aad, plaintext):
    """Seals with a Diffie-Hellman result that is already known. The vectors of refusals need this."""
    key, nonce = key_schedule(shared_secret(dh, enc, public_key), info)
    return enc + AESGCM(key).encrypt(nonce, plaintext, aad)


def seal(ephemeral, public_key, info, aad, plaintext):
    """`ephemeral` is the ephemeral private key skE itself (not the ikm of DeriveKeyPair): 32 raw bytes."""
    dh = keys.x25519(ephemeral, public_key)
    return seal_with(dh, keys.x25519_public(ephemeral), public_key, info, aad, plaintext)


def open_sealed(scalar, info, aad, sealed):
    require(len(sealed) >= 32 + 16, "sealed-too-short")
    enc, ciphertext = sealed[:32], sealed[32:]
    try:
        dh = keys.x25519(scalar, enc)
    except Refused as refused:
        raise Refused(refused.reason.replace("key-", "enc-", 1)) from None
    key, nonce = key_schedule(shared_secret(dh, enc, keys.x25519_public(scalar)), info)
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Refused("sealed-not-authentic") from None
