"""What an agent requires of the answer to Register (section 4 step 3)."""

import strings
import wire
from cases import world


def given(draws, at_code=None, **changes):
    """A first answer. `at_code` is what the manifest was when the code was made, `changes` what it is now."""
    now = world.manifest(draws, **changes)
    code = world.code(draws, world.manifest(draws, **(changes if at_code is None else at_code)))
    public_keys = world.agent_keys(draws)
    answer = wire.RegisterResponse(world.AGENT_ID, world.STATUS["PENDING"],
                                   strings.fingerprint(*public_keys.values()), now)
    return {"agent": {"code": code, **world.hexed(public_keys)}, "answer": answer.to_json()}


def later(draws, **changes):
    """A later answer: the agent keeps a manifest already."""
    told = given(draws, at_code={}, **changes)
    told["agent"]["pinned"] = world.manifest(draws).to_json()
    return told


def add_cases(book):
    op = "register-answer"
    book.accept("register/answer", op, "4", "A first answer as it should be.", given)
    book.accept(
        "register/answer-newer-manifest", op, "4", "Since the code was made, name, epoch and revoked have "
        "changed, which the pin does not cover.",
        lambda d: given(d, {}, org_name="Other", epoch=world.EPOCH + 1, revoked=[]))
    book.accept("register/answer-without-recovery", op, "4", "An organization without a recovery key.",
                lambda d: given(d, recovery_pubkey=b""))
    book.accept("register/later-answer", op, "4", "A later answer with the same manifest.", later)
    book.accept(
        "register/later-answer-other-recovery-key", op, "4", "Later manifests are judged without the pin: a "
        "higher epoch may bring another recovery key.",
        lambda d: later(d, epoch=world.EPOCH + 1, recovery_pubkey=world.public(d, "other_recovery_scalar")))

    def refuse(name, why, fault, reason, field, good=given):
        book.refuse(f"register/{name}", op, "4", why, good, fault, "agent-refuses", reason, field)

    # Every one of these manifests is signed as it stands, by the root that it names.
    for name, why, changes in (
        ("recovery-key", "A server that brings a recovery key of its own.",
         lambda d: {"recovery_pubkey": world.public(d, "other_recovery_scalar")}),
        ("no-recovery-key", "A server that leaves the recovery key out.", lambda d: {"recovery_pubkey": b""}),
        ("command-key", "Another command key than the code vouches for.",
         lambda d: {"command_pubkey": world.public(d, "other_command_seed")}),
        ("operator-keys", "Another operator key than the code vouches for.",
         lambda d: {"operator_pubkeys": [world.public(d, "other_operator_seed")]}),
        ("org-id", "Another organization than the code vouches for.", lambda d: {"org_id": 8}),
    ):
        refuse(f"answer-other-{name}", why, lambda told, d: given(d, {}, **changes(d)), "pin-not-of-code",
               "org_manifest")
    refuse("answer-other-root", "A whole manifest of an impostor's root.",
           lambda told, d: told["answer"].update(org_manifest=world.manifest(d, "other_root_seed").to_json()),
           "pin-not-of-code", "org_manifest")
    refuse(
        "answer-other-code", "The agent was given the code of another organization.",
        lambda told, d: told["agent"].update(code=strings.enrollment_code(d("code_random"), d("other_pin"))),
        "pin-not-of-code", "org_manifest")
    refuse("answer-manifest-missing", "An answer without a manifest.",
           lambda told, d: told["answer"].pop("org_manifest") and None, "manifest-missing", "org_manifest")

    def change(told, **changes):
        told["answer"]["org_manifest"].update(changes)

    refuse(
        "answer-manifest-signature", "One bit of the manifest's signature is flipped.",
        lambda told, d: change(told, signature=world.flip(told["answer"]["org_manifest"]["signature"], 40)),
        "signature-invalid", "signature")
    refuse("answer-manifest-unsigned", "A manifest without a signature.",
           lambda told, d: change(told, signature=""), "signature-length", "signature")
    refuse("answer-manifest-other-epoch", "The pin does not cover the epoch: the signature does.",
           lambda told, d: change(told, epoch=world.EPOCH + 1), "signature-invalid", "signature")
    refuse("answer-manifest-other-name", "The pin does not cover the name: the signature does.",
           lambda told, d: change(told, org_name="Other"), "signature-invalid", "signature")
    refuse("answer-manifest-epoch-0", "A manifest that is signed and no manifest.",
           lambda told, d: given(d, {}, epoch=0), "epoch-not-positive", "epoch")
    refuse("answer-manifest-name-reordered", "The agent prints the organization's name and asks.",
           lambda told, d: given(d, {}, org_name="Example\u202eMining"), "name-character", "org_name")
    refuse(
        "answer-fingerprint-not-own", "The server registered other keys than the agent's.",
        lambda told, d: told["answer"].update(identity_fingerprint=strings.fingerprint(*(
            world.public(d, name) for name in ("other_seed", "other_miner_seed", "other_scalar")))),
        "fingerprint-not-own", "identity_fingerprint")
    refuse(
        "answer-fingerprint-other-sealing-key",
        "The server registered another sealing key, and the agent's other "
        "two.", lambda told, d: told["answer"].update(identity_fingerprint=strings.fingerprint(
            *list(world.agent_keys(d).values())[:2], world.public(d, "other_scalar"))), "fingerprint-not-own",
        "identity_fingerprint")
    refuse("answer-fingerprint-missing", "An answer without a fingerprint.",
           lambda told, d: told["answer"].update(identity_fingerprint=""), "fingerprint-length",
           "identity_fingerprint")
    refuse("answer-agent-id-0", "Ids are at least 1.", lambda told, d: told["answer"].update(agent_id=0),
           "agent-id-not-positive", "agent_id")
    for name, why, changes, reason, field in (
        ("lower-epoch", "A later answer with a lower epoch.", {"epoch": world.EPOCH - 1}, "epoch-lower",
         "epoch"),
        ("same-epoch-other-content", "A later answer with the same epoch and other content.",
         {"org_name": "Other"}, "same-epoch-other-content", "epoch"),
        ("other-org", "A later answer of another organization.", {"org_id": 8, "epoch": world.EPOCH + 1},
         "other-org", "org_id"),
    ):
        refuse(f"later-answer-{name}", why, lambda told, d: later(d, **changes), reason, field, later)
    refuse("later-answer-other-root", "A later answer with another root.",
           lambda told, d: told["answer"].update(org_manifest=world.manifest(d, "other_root_seed").to_json()),
           "other-root", "root_pubkey", later)
