"""Section 2: the bytes that are signed or hashed.

    transcript = 0x00 || LP(domain) || LP(field 1) || LP(field 2) || ...

LP(x) is a 4-byte big-endian length, then x. Integers are 8 bytes big-endian and wrapped like everything
else, an absent field is LP of nothing, and a list of fixed-size values is one field, concatenated.
"""

import hashlib

from refusal import require

INTEGER, BYTES, TEXT, LIST = "integer", "bytes", "text", "list"
MAX_INTEGER = 2**63 - 1

_PROOF = [("enrollment_token_sha256", BYTES), ("name", TEXT), ("identity_pk", BYTES),
          ("miner_signing_pk", BYTES), ("sealing_pk", BYTES)]
_AUTH = [("command_pk", BYTES), ("agent_id", INTEGER), ("identity_pk", BYTES), ("client_nonce", BYTES),
         ("challenge", BYTES), ("server_time", INTEGER), ("expires_at", INTEGER), ("last_sequence", INTEGER),
         ("org_manifest_sha256", BYTES)]
_ROTATE = [("org_id", INTEGER), ("agent_id", INTEGER), ("key_epoch", INTEGER), ("old_identity_pk", BYTES),
           ("identity_pk", BYTES), ("miner_signing_pk", BYTES), ("sealing_pk", BYTES)]

# Every domain of the table in section 2 except the three of sealed secrets, with its fields in order.
DOMAINS = {
    "fleet/v1/enroll/identity": _PROOF,
    "fleet/v1/enroll/miner-signing": _PROOF,
    "fleet/v1/auth/server": _AUTH,
    "fleet/v1/auth/agent": _AUTH,
    "fleet/v1/rotate/old": _ROTATE,
    "fleet/v1/rotate/identity": _ROTATE,
    "fleet/v1/rotate/miner-signing": _ROTATE,
    "fleet/v1/command": [("agent_id", INTEGER), ("identity_pk", BYTES), ("sequence", INTEGER),
                         ("command_id", TEXT), ("actor", TEXT), ("payload_sha256", BYTES),
                         ("expires_at", INTEGER)],
    "fleet/v1/org-manifest": [("org_id", INTEGER), ("org_name", TEXT), ("epoch", INTEGER), ("root_pk", BYTES),
                              ("command_pk", BYTES), ("recovery_pk", BYTES), ("operator_pks", LIST),
                              ("revoked", LIST)],
    "fleet/v1/pin": [("org_id", INTEGER), ("root_pk", BYTES), ("command_pk", BYTES), ("recovery_pk", BYTES),
                     ("operator_pks", LIST)],
    "fleet/v1/agent-certificate": [("org_id", INTEGER), ("agent_id", INTEGER), ("name", TEXT),
                                   ("identity_pk", BYTES), ("miner_signing_pk", BYTES), ("sealing_pk", BYTES),
                                   ("key_epoch", INTEGER), ("issued_at", INTEGER)],
    "fleet/v1/keyset": [("identity_pk", BYTES), ("miner_signing_pk", BYTES), ("sealing_pk", BYTES)],
    "fleet/v1/api-key": [("agent_id", INTEGER), ("enrollment_token_sha256", BYTES), ("sealing_pk", BYTES)],
}


def sha256(data):
    return hashlib.sha256(data).digest()


def lp(data):
    return len(data).to_bytes(4, "big") + data


def integer(value):
    require(value >= 0, "integer-negative")
    require(value <= MAX_INTEGER, "integer-too-large")
    return value.to_bytes(8, "big")


def encode(value):
    """One field's bytes, before they are wrapped. None is an absent field."""
    if value is None:
        return b""
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, list):
        return b"".join(value)
    return value


def frame(domain, fields):
    """A transcript of any domain, from fields in order."""
    return b"\x00" + lp(domain.encode("ascii")) + b"".join(lp(encode(field)) for field in fields)


def transcript(domain, **fields):
    """A transcript of a domain of the table, its fields given by name."""
    order = [name for name, _ in DOMAINS[domain]]
    if set(order) != set(fields):
        raise TypeError(f"{domain} has the fields {order}, not {sorted(fields)}")
    return frame(domain, [fields[name] for name in order])
