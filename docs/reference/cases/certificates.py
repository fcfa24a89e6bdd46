"""What an agent requires of its own certificate (sections 2, 4 and 5)."""

import certificate as certificates
import edwards
import keys
from cases import world
from wire import AgentCertificate


def expected(draws, **changes):
    return {
        "root_pubkey": world.public(draws, "root_seed").hex(), "org_id": world.ORG_ID,
        "agent_id": world.AGENT_ID, **world.hexed(world.agent_keys(draws)), **changes
    }


def given(draws, root="root_seed", **changes):
    return {"certificate": world.certificate(draws, root, **changes).to_json(), "expected": expected(draws)}


def add_cases(book):
    op = "certificate-verify"

    def refuse(name, why, fault, reason, field):
        book.refuse(f"certificate/{name}", op, "5", why, given, fault, "agent-refuses", reason, field)

    book.accept("certificate/good", op, "5", "An agent's own certificate.", given)
    book.accept("certificate/good-after-rotation", op, "5", "A certificate of a later key_epoch.",
                lambda d: given(d, key_epoch=2))

    # Certificates that the root signed as they stand.
    for name, why, changes, reason, field in (
        ("other-agent", "Another agent's id.", lambda d: {"agent_id": world.AGENT_ID + 1}, "other-agent",
         "agent_id"),
        ("other-org", "Another organization of the same root.", lambda d: {"org_id": 8}, "other-org",
         "org_id"),
        ("other-identity-key", "Another identity key.",
         lambda d: {"identity_pubkey": world.public(d, "other_seed")}, "other-key", "identity_pubkey"),
        ("other-miner-signing-key", "Another miner-signing key.",
         lambda d: {"miner_signing_pubkey": world.public(d, "other_seed")}, "other-key",
         "miner_signing_pubkey"),
        ("other-sealing-key", "Another sealing key: sealers would seal to somebody else.",
         lambda d: {"sealing_pubkey": world.public(d, "other_scalar")}, "other-key", "sealing_pubkey"),
        ("keys-exchanged", "The right keys in each other's place.", lambda d: {
            "identity_pubkey": world.public(d, "miner_signing_seed"), "miner_signing_pubkey": world.public(
                d, "identity_seed")
        }, "other-key", "identity_pubkey"),
        ("key-epoch-0", "key_epoch starts at 1.", lambda d: {"key_epoch": 0}, "key-epoch-not-positive",
         "key_epoch"),
        ("name-reordered", "Names hold nothing that reorders text.", lambda d: {"name": "rack\u202e7"},
         "name-character", "name"),
        ("name-empty", "A name has at least one character.", lambda d: {"name": ""}, "name-length", "name"),
    ):
        refuse(name, why, lambda told, d: given(d, **changes(d)), reason, field)

    def both(told, draws, field, value):
        """The certificate and what the agent takes for its own agree on a bad value."""
        changed = given(draws, **{field: value})
        changed["expected"][field] = value.hex() if isinstance(value, bytes) else value
        return changed

    refuse("agent-id-0", "Ids are at least 1.", lambda told, d: both(told, d, "agent_id", 0),
           "agent-id-not-positive", "agent_id")
    refuse("org-id-0", "Ids are at least 1.", lambda told, d: both(told, d, "org_id", 0),
           "org-id-not-positive", "org_id")
    refuse("sealing-key-low-order", "A sealing key of low order.",
           lambda told, d: both(told, d, "sealing_pubkey",
                                (1).to_bytes(32, "little")), "key-low-order", "sealing_pubkey")
    refuse("sealing-key-top-bit", "A sealing key with the top bit set, which X25519 would ignore.",
           lambda told, d: both(told, d, "sealing_pubkey", top_bit(world.public(d, "sealing_scalar"))),
           "key-not-canonical", "sealing_pubkey")
    refuse("identity-key-small-order", "An identity key that is the identity of the group.",
           lambda told, d: both(told, d, "identity_pubkey", edwards.encode(edwards.IDENTITY)),
           "key-small-order", "identity_pubkey")
    refuse("identity-is-miner-signing-key", "No key ever serves two roles.",
           lambda told, d: both(told, d, "miner_signing_pubkey", world.public(d, "identity_seed")),
           "key-in-two-roles", "miner_signing_pubkey")

    # Certificates that the root did not sign as they stand.
    for name, why, change in (
        ("changed-name", "Another name.", {"name": "rack 8"}),
        ("changed-key-epoch", "Another key_epoch.", {"key_epoch": 2}),
        ("changed-issued-at", "Another time.", {"issued_at": world.ISSUED_AT + 1}),
    ):
        refuse(name, why + " The signature covers it.", lambda told, d: told["certificate"].update(change),
               "signature-invalid", "signature")
    refuse("other-root", "Another root signed it.", lambda told, d: given(d, "other_root_seed"),
           "signature-invalid", "signature")
    refuse("signed-by-command-key", "The command key is no root.", lambda told, d: given(d, "command_seed"),
           "signature-invalid", "signature")

    def sign(told, transcript, draws):
        told["certificate"]["signature"] = keys.sign(draws("root_seed"), transcript).hex()

    def change_signature(told, change):
        told["certificate"]["signature"] = change(bytes.fromhex(told["certificate"]["signature"])).hex()

    refuse(
        "other-domain", "The right fields under another domain.", lambda told, d: sign(
            told,
            certificates.certificate_transcript(AgentCertificate.from_json(told["certificate"])).replace(
                b"fleet/v1/agent-certificate", b"fleet/v1/agent-certificatE"), d), "signature-invalid",
        "signature")
    refuse("signature-bit", "One bit of the signature is flipped.",
           lambda told, d: change_signature(told, lambda s: world.flip(s, 63)), "signature-invalid",
           "signature")
    refuse("signature-malleated", "S + L in place of S.",
           lambda told, d: change_signature(told, world.malleated), "signature-s-not-reduced", "signature")
    refuse("signature-missing", "No signature at all.", lambda told, d: change_signature(told, lambda s: b""),
           "signature-length", "signature")


def top_bit(key):
    return key[:31] + bytes([key[31] | 0x80])
