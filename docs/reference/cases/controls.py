"""Rotation of an agent's keys (section 5 step 5) and control commands (section 8)."""

import control
import keys
import rotation
from cases import world
from transcript import sha256
from wire import ControlCommand


def add_cases(book):
    rotations(book)
    commands(book)
    command_refusals(book)


ROTATED = {"org_id": world.ORG_ID, "agent_id": world.AGENT_ID, "key_epoch": 2}
SIGNERS = {"old": "old_identity_seed", "identity": "identity_seed", "miner-signing": "miner_signing_seed"}


def rotated(draws, **changes):
    for name in (*SIGNERS.values(), "sealing_scalar"):
        draws(name)
    return {**ROTATED, **changes}


def proof(draws, told, role, seed=None, domain=None, **changes):
    fields = {name: told[name] for name in (*ROTATED, "old_identity_pubkey", *world.ROLES)} | changes
    values = {
        name: bytes.fromhex(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return keys.sign(draws(seed or SIGNERS[role]), rotation.rotate_transcript(domain or role, **values)).hex()


def to_verify(draws, **seeds):
    """`seeds` are other draws for the agent's new keys."""
    names = {
        "identity": "identity_seed", "miner-signing": "miner_signing_seed", "sealing": "sealing_scalar",
        **seeds
    }
    told = {
        **ROTATED, "old_identity_pubkey": world.public(draws, "old_identity_seed").hex(),
        **{field: world.public(draws, name).hex()
           for field, name in zip(world.ROLES, names.values())}
    }
    told["taken_keys"] = [
        world.public(draws, name).hex() for name in ("old_identity_seed", "old_miner_signing_seed",
                                                     "old_sealing_scalar", "stranger_seed", "root_seed")
    ]
    signers = {**SIGNERS, **{role: names[role] for role in ("identity", "miner-signing")}}
    told["proofs"] = {role: proof(draws, told, role, signers[role]) for role in SIGNERS}
    return told


def rotations(book):
    book.accept("rotate/drawn", "rotate", "5", "The first rotation of an agent.", rotated)
    book.accept("rotate/greatest-integers", "rotate", "5", "Integers as great as JSON carries them.",
                lambda d: rotated(d, org_id=2**53 - 1, agent_id=2**53 - 1, key_epoch=2**53 - 1))
    book.accept("rotate/good", "rotate-verify", "5", "Three proofs as they should be.", to_verify)

    def refuse(name, why, fault, code, reason, field):
        book.refuse(f"rotate/{name}", "rotate-verify", "5", why, to_verify, fault, code, reason, field)

    def put(role, make):
        return lambda told, d: told["proofs"].update({role: make(told, d)})

    roles = list(SIGNERS)
    for role, other in zip(roles, roles[1:] + roles[:1]):
        for name, why, make in (
            ("by-stranger", "Another key made it.", lambda told, d: proof(d, told, role, "stranger_seed")),
            ("of-other-domain", "It is under another of the three domains.",
             lambda told, d: proof(d, told, role, domain=other)),
            ("over-old-epoch", "It is over the old key_epoch.",
             lambda told, d: proof(d, told, role, key_epoch=1)),
            ("over-other-agent", "It is over another agent_id.",
             lambda told, d: proof(d, told, role, agent_id=world.AGENT_ID + 1)),
            ("over-other-org", "It is over another org_id.", lambda told, d: proof(d, told, role, org_id=8)),
            ("over-other-sealing-key", "It is over another sealing key.",
             lambda told, d: proof(d, told, role, sealing_pubkey=world.public(d, "other_scalar").hex())),
            ("bit", "One bit is flipped.", lambda told, d: world.flip(told["proofs"][role], 33)),
        ):
            refuse(f"{role}-proof-{name}", why, put(role, make), "unauthenticated", "signature-invalid",
                   f"{role}-proof")
        refuse(f"{role}-proof-63-bytes", "A proof is exactly 64 bytes.",
               put(role, lambda told, d: told["proofs"][role][:126]), "invalid_argument", "signature-length",
               f"{role}-proof")
    for name, why, seeds, field in (
        ("identity-kept", "The new identity key is the old one.", {"identity": "old_identity_seed"},
         "identity_pubkey"),
        ("miner-signing-kept", "The new miner-signing key is the old one.",
         {"miner-signing": "old_miner_signing_seed"}, "miner_signing_pubkey"),
        ("sealing-kept", "The new sealing key is the old one.", {"sealing": "old_sealing_scalar"},
         "sealing_pubkey"),
        ("identity-taken", "The new identity key is another agent's.", {"identity": "stranger_seed"},
         "identity_pubkey"),
        ("identity-was-miner-signing", "The new identity key is the old miner-signing key.",
         {"identity": "old_miner_signing_seed"}, "identity_pubkey"),
        ("identity-is-root", "The new identity key is the organization's root.", {"identity": "root_seed"},
         "identity_pubkey"),
    ):
        refuse(name, why, lambda told, d: to_verify(d, **seeds), "failed_precondition", "key-taken", field)
    refuse("identity-is-miner-signing-key", "identity_pk differs from miner_signing_pk.",
           lambda told, d: to_verify(d, **{"miner-signing": "identity_seed"}), "invalid_argument",
           "key-in-two-roles", "miner_signing_pubkey")
    refuse("sealing-key-top-bit", "The new sealing key has the top bit set.", bad_sealing_key,
           "invalid_argument", "key-not-canonical", "sealing_pubkey")


def bad_sealing_key(told, draws):
    told["sealing_pubkey"] = told["sealing_pubkey"][:62] + "ff"
    told["proofs"] = {role: proof(draws, told, role) for role in SIGNERS}


COMMAND = {
    "command_id": "0198c5d2-reboot", "payload": b"any bytes".hex(), "actor": "user:7",
    "sequence": world.SERVER_TIME + 1, "expires_at": world.SERVER_TIME + 60_000
}


def command(draws, **changes):
    draws("command_seed")
    draws("identity_seed")
    return {"agent_id": world.AGENT_ID, "command": {**COMMAND, **changes}}


def to_judge(draws,
             seed="command_seed",
             agent_id=world.AGENT_ID,
             identity="identity_seed",
             records=None,
             **changes):
    made = ControlCommand.from_json({**COMMAND, **changes})
    control.sign(made, draws(seed), agent_id, world.public(draws, identity))
    return {
        "command": made.to_json(), "agent": {
            "agent_id": world.AGENT_ID, "identity_pubkey": world.public(draws, "identity_seed").hex(),
            "command_pubkey": world.public(draws, "command_seed").hex(), "last_sequence": world.SERVER_TIME,
            "server_time": world.SERVER_TIME + 1000, "records": records or {}
        }
    }


def commands(book):
    for name, why, changes in (
        ("by-user", "A command of a user.", {}),
        ("by-api-key", "A command of somebody who used an api_key.", {"actor": "key:0a1b2c3d"}),
        ("by-system", "A command of the server itself.", {"actor": "system"}),
        ("empty-payload", "The hash of nothing is the hash of nothing.", {"payload": ""}),
        ("id-of-128-characters", "The longest command_id.", {"command_id": "c" * 128}),
    ):
        book.accept(f"command/{name}", "command", "8", why, lambda d: command(d, **changes))
    book.accept("command/good", "command-verify", "8", "A command to carry out.", to_judge)
    book.accept(
        "command/known", "command-verify", "8", "A known command_id with the same payload: the stored ack is "
        "answered, though the sequence is an old one.",
        lambda d: to_judge(d, sequence=world.SERVER_TIME - 5, records=known(COMMAND["payload"])))
    book.accept("command/known-and-expired", "command-verify", "8",
                "A known command_id is answered before the expiry "
                "is looked at.",
                lambda d: to_judge(d, expires_at=world.SERVER_TIME, records=known(COMMAND["payload"])))
    book.accept("command/first", "command-verify", "8",
                "The first command of an agent that accepted none before.",
                lambda d: {**(told := to_judge(d)), "agent": {**told["agent"], "last_sequence": 0}})


def known(payload):
    return {COMMAND["command_id"]: sha256(bytes.fromhex(payload)).hex()}


def command_refusals(book):
    def refuse(name, why, fault, reason="signature-invalid", field="signature", good=to_judge):
        book.refuse(f"command/{name}", "command-verify", "8", why, good, fault, "agent-refuses", reason,
                    field)

    def change(**changes):
        return lambda told, d: told["command"].update(changes)

    refuse("signed-by-stranger", "Another key signed it.", lambda told, d: to_judge(d, "other_command_seed"))
    refuse("signed-by-identity", "The agent's own identity key signed it.",
           lambda told, d: to_judge(d, "identity_seed"))
    refuse("other-agent", "It is signed for another agent_id.",
           lambda told, d: to_judge(d, agent_id=world.AGENT_ID + 1))
    refuse("other-identity", "It is signed for an identity key that the agent has no more.",
           lambda told, d: to_judge(d, identity="old_identity_seed"))
    for name, why, changes in (
        ("changed-payload", "Another payload.", {"payload": b"any byteS".hex()}),
        ("changed-id", "Another command_id.", {"command_id": "0198c5d3-reboot"}),
        ("changed-actor", "Another actor.", {"actor": "user:8"}),
        ("changed-sequence", "Another sequence.", {"sequence": COMMAND["sequence"] + 1}),
        ("changed-expiry", "Another expires_at.", {"expires_at": COMMAND["expires_at"] + 1}),
    ):
        refuse(name, why + " The signature covers it.", change(**changes))
    refuse("signature-bit", "One bit is flipped.",
           lambda told, d: told["command"].update(signature=world.flip(told["command"]["signature"], 33)))
    refuse(
        "signature-malleated", "S + L in place of S.",
        lambda told, d: told["command"].update(signature=world.malleated(
            bytes.fromhex(told["command"]["signature"])).hex()), "signature-s-not-reduced")
    refuse("signature-missing", "No signature at all.", change(signature=""), "signature-length")
    refuse("known-with-other-payload", "A known command_id with another payload.",
           lambda told, d: told["agent"].update(records=known("00")), "command-id-reused", "command_id")
    refuse("sequence-equal", "The sequence of the last accepted command.",
           lambda told, d: to_judge(d, sequence=world.SERVER_TIME), "sequence-not-above", "sequence")
    refuse("sequence-lower", "A lower sequence than the last accepted.",
           lambda told, d: to_judge(d, sequence=world.SERVER_TIME - 1), "sequence-not-above", "sequence")
    refuse("expired", "It expired a millisecond ago.",
           lambda told, d: to_judge(d, expires_at=world.SERVER_TIME + 999), "command-expired", "expires_at")
