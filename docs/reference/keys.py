"""Section 2: public keys are judged and signatures verified strictly.

Neither OpenSSL nor `cryptography` asks whether an encoding is canonical or a point of small order; this does.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import edwards
from refusal import Refused, require


def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def x25519_public(scalar):
    """`scalar` is 32 raw bytes; X25519 clamps them."""
    return X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def check_ed25519(data, what="key"):
    """The point of an Ed25519 public key or of the R of a signature: canonical, and not of small order."""
    require(len(data) == 32, f"{what}-length")
    point = edwards.decode(data)
    require(point is not None, f"{what}-not-a-point")
    require(edwards.encode(point) == data, f"{what}-not-canonical")
    require(not edwards.is_small_order(point), f"{what}-small-order")
    return point


def check_x25519(data):
    """An X25519 public key: below 2^255-19, so the top bit is clear, and not of low order."""
    require(len(data) == 32, "key-length")
    u = int.from_bytes(data, "little")
    require(u < edwards.P, "key-not-canonical")
    require(not edwards.montgomery_is_low_order(u), "key-low-order")


def verify(public_key, message, signature):
    """S < L; A and R canonical and not of small order; [S]B = R + [k]A without cofactor, which is how OpenSSL
    decides: it computes [S]B - [k]A, encodes it, and compares bytes."""
    require(len(signature) == 64, "signature-length")
    check_ed25519(public_key)
    check_ed25519(signature[:32], "signature-r")
    require(int.from_bytes(signature[32:], "little") < edwards.L, "signature-s-not-reduced")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        raise Refused("signature-invalid") from None


def x25519(scalar, public_key):
    check_x25519(public_key)
    try:
        shared = X25519PrivateKey.from_private_bytes(scalar).exchange(
            X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        raise Refused("shared-secret-zero") from None
    require(any(shared), "shared-secret-zero")
    return shared
