"""An organization and an agent, from a file's draws: what most vectors are about."""

import hashlib

import certificate as certificates
import edwards
import enrollment
import keys
import manifest as manifests
import strings
import wire
from wire import AgentCertificate, OrgManifest

ORG_ID, ORG_NAME, NAME = 7, "Example Mining", "rack 7"
AGENT_ID = 4_242_424_242_424_242
EPOCH = 1_764_000_000_000
ISSUED_AT = 1_764_000_050_000
SERVER_TIME = 1_764_000_100_000

ROLES = ("identity_pubkey", "miner_signing_pubkey", "sealing_pubkey")


def public(draws, name):
    """The public key of a draw: X25519 of a scalar or sealing key, Ed25519 of a seed."""
    return (keys.x25519_public if name.endswith("scalar") else keys.ed25519_public)(draws(name))


def manifest(draws, root="root_seed", **changes):
    made = OrgManifest(org_id=ORG_ID,
                       org_name=ORG_NAME,
                       epoch=EPOCH,
                       root_pubkey=public(draws, root),
                       command_pubkey=public(draws, "command_seed"),
                       recovery_pubkey=public(draws, "recovery_scalar"),
                       operator_pubkeys=sorted(public(draws, f"operator_seed-{i}") for i in (1, 2)),
                       revoked=sorted(draws(f"revoked-{i}", 16) for i in (1, 2)))
    for name, value in changes.items():
        setattr(made, name, value)
    return manifests.sign(made, draws(root))


def agent_keys(draws):
    """The three public keys, by the names that they have in messages."""
    return dict(
        zip(ROLES, (public(draws, "identity_seed"), public(
            draws, "miner_signing_seed"), public(draws, "sealing_scalar"))))


def hexed(public_keys):
    return {name: value.hex() for name, value in public_keys.items()}


def certificate(draws, root="root_seed", **changes):
    made = AgentCertificate(org_id=ORG_ID,
                            agent_id=AGENT_ID,
                            name=NAME,
                            key_epoch=1,
                            issued_at=ISSUED_AT,
                            **agent_keys(draws))
    for name, value in changes.items():
        setattr(made, name, value)
    return certificates.sign(made, draws(root))


def code(draws, made):
    return strings.enrollment_code(draws("code_random"), manifests.pin(made))


def request(draws,
            token,
            name=NAME,
            identity="identity_seed",
            miner_signing="miner_signing_seed",
            sealing="sealing_scalar"):
    return enrollment.make_request(token, name, draws(identity), draws(miner_signing), draws(sealing))


def api_key(draws):
    return strings.api_key(draws("api_key_digits_random", 4), draws("api_key_random"))


def flip(data, index=0):
    """The same bytes with the lowest bit of one flipped; hex stays hex."""
    if isinstance(data, str):
        return flip(bytes.fromhex(data), index).hex()
    index %= len(data)
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1:]


STATUS = wire.STATUS


def other_signature(draws, seed, message):
    """A valid signature of the same message with another nonce than RFC 8032 gives it."""
    secret = int.from_bytes(hashlib.sha512(draws(seed)).digest()[:32], "little") & (2**254 - 8) | 2**254
    nonce = int.from_bytes(draws("nonce"), "little") % edwards.L
    r = edwards.encode(edwards.multiply(nonce, edwards.BASE))
    k = int.from_bytes(hashlib.sha512(r + public(draws, seed) + message).digest(), "little")
    return r + ((nonce + k * secret) % edwards.L).to_bytes(32, "little")


def forged(draws, message, public_key):
    """A signature under a key of small order: R = [S]B, with the first S for which [k]A is the identity."""
    def signature(data):
        s = int.from_bytes(data, "little") % edwards.L
        return edwards.encode(edwards.multiply(s, edwards.BASE)) + s.to_bytes(32, "little")

    return signature(
        draws.first(
            "forged", lambda data: all(
                edwards.signature_equation(public_key, message, signature(data), reduce=reduce)
                for reduce in (True, False))))


def malleated(signature):
    """The same signature with S + L in place of S."""
    s = int.from_bytes(signature[32:], "little") + edwards.L
    return signature[:32] + s.to_bytes(32, "little")


def flow(draws, names, **changes):
    """The inputs of a whole flow: see the README of the vectors."""
    for name in names:
        draws(name, 4 if name == "api_key_digits_random" else 32)
    return {
        "manifest": {"org_id": ORG_ID, "org_name": ORG_NAME, "epoch": EPOCH, "revoked": []}, "name": NAME,
        "agent_id": AGENT_ID, "certificate": {"key_epoch": 1, "issued_at": ISSUED_AT}, **changes
    }


FLOW_SEEDS = [
    "root_seed", "command_seed", "identity_seed", "miner_signing_seed", "sealing_scalar",
    "api_key_digits_random", "api_key_random"
]
OPTIONAL_SEEDS = ["recovery_scalar", "operator_seed"]
