"""What the root signs: manifests and certificates (sections 2, 4 and 5)."""

import edwards
import keys
import manifest as manifests
import wire
from cases import world
from transcript import DOMAINS, frame
from wire import OrgManifest

SMALL = edwards.encode(edwards.small_order_points()[1])
IDENTITY = edwards.encode(edwards.IDENTITY)
NOT_REDUCED = (edwards.P + 3).to_bytes(32, "little")  # y = 3 is of a point of large order
LOW_ORDER_U = bytes(32)
U_NOT_REDUCED = (edwards.P + 9).to_bytes(32, "little")
REORDERED = "Example\u202eMining"


def add_cases(book):
    made(book)
    verified(book)
    tampered(book)
    updated(book)


def unsigned(message, *left_out):
    return {name: value for name, value in message.to_json().items() if name not in left_out}


def made(book):
    for name, why, changes in (
        ("drawn", "A recovery key, two operator keys, two revoked agents.", {}),
        ("least", "The least of every integer, neither recovery nor operator keys, nobody revoked.",
         {"org_id": 1, "epoch": 1, "recovery_pubkey": b"", "operator_pubkeys": [], "revoked": []}),
        ("greatest-integers", "Integers as great as JSON carries them.",
         {"org_id": 2**53 - 1, "epoch": 2**53 - 1}),
        ("name-beyond-ascii", "A name of one, two, three and four bytes a character.",
         {"org_name": "M\u00edne \u2116 \U0001f98a"}),
    ):
        book.accept(
            f"manifest/{name}", "manifest", "2", why,
            lambda d: {"manifest": unsigned(world.manifest(d, **changes), "root_pubkey", "signature")})
    for name, why, changes in (
        ("drawn", "The first certificate of an agent.", {}),
        ("least", "The least of every integer.", {"org_id": 1, "agent_id": 1, "issued_at": 0}),
        ("greatest-integers", "Integers as great as JSON carries them, and the last time of all.",
         {"org_id": 2**53 - 1, "agent_id": 2**53 - 1, "key_epoch": 2**53 - 1, "issued_at": wire.LAST_TIME}),
        ("name-beyond-ascii", "A name of one, two, three and four bytes a character.",
         {"name": "r\u00e4ck \u2116 \U0001f98a"}),
    ):
        book.accept(f"certificate/{name}", "certificate", "2", why,
                    lambda d: {"certificate": unsigned(world.certificate(d, **changes), "signature")})


def given(draws, **changes):
    signed = world.manifest(draws, **changes)
    return {"manifest": signed.to_json(), "root_pubkey": world.public(draws, "root_seed").hex()}


def verified(book):
    """Manifests that are signed as they stand: what is refused is what they say."""
    op = "manifest-verify"
    book.accept("manifest/good", op, "2", "A manifest under the root that is pinned.", given)
    book.accept("manifest/good-without-recovery", op, "2", "A manifest without a recovery key.",
                lambda d: given(d, recovery_pubkey=b""))
    book.accept("manifest/good-without-operators", op, "2", "No rule asks for an operator key.",
                lambda d: given(d, operator_pubkeys=[], revoked=[]))

    def operators(draws):
        return sorted(world.public(draws, f"operator_seed-{i}") for i in (1, 2))

    def revoked(draws):
        return sorted(draws(f"revoked-{i}", 16) for i in (1, 2))

    def resplit(items, at):
        whole = b"".join(items)
        return [whole[:at], whole[at:]]

    for name, why, change, reason, field in (
        ("epoch-0", "Epochs are at least 1.", lambda d: {"epoch": 0}, "epoch-not-positive", "epoch"),
        ("org-id-0", "Ids are at least 1.", lambda d: {"org_id": 0}, "org-id-not-positive", "org_id"),
        ("operators-descending", "operator_pks are strictly ascending, else refused.",
         lambda d: {"operator_pubkeys": operators(d)[::-1]}, "not-ascending", "operator_pubkeys"),
        ("operator-twice", "Strictly ascending leaves no room for the same key twice.",
         lambda d: {"operator_pubkeys": [operators(d)[0]] * 2}, "not-ascending", "operator_pubkeys"),
        ("operators-split-elsewhere", "Two keys of 31 and 33 bytes have the transcript of two of 32.",
         lambda d: {"operator_pubkeys": resplit(operators(d), 31)}, "key-length", "operator_pubkeys"),
        ("revoked-descending", "revoked is strictly ascending, else refused.",
         lambda d: {"revoked": revoked(d)[::-1]}, "not-ascending", "revoked"),
        ("revoked-twice", "Strictly ascending leaves no room for the same entry twice.",
         lambda d: {"revoked": [revoked(d)[0]] * 2}, "not-ascending", "revoked"),
        ("revoked-split-elsewhere", "Entries of 15 and 17 bytes have the transcript of two of 16.",
         lambda d: {"revoked": resplit(revoked(d), 15)}, "revoked-length", "revoked"),
        ("revoked-whole-hash", "An entry is 16 bytes, not the whole hash, which would read as two.",
         lambda d: {"revoked": [d("hash")]}, "revoked-length", "revoked"),
        ("command-key-small-order", "A command key of order 8.", lambda d: {"command_pubkey": SMALL},
         "key-small-order", "command_pubkey"),
        ("command-key-not-reduced", "A command key whose y is not below p.",
         lambda d: {"command_pubkey": NOT_REDUCED}, "key-not-canonical", "command_pubkey"),
        ("command-key-missing", "There is always a command key.", lambda d: {"command_pubkey": b""},
         "key-length", "command_pubkey"),
        ("operator-key-small-order", "An operator key that is the identity.",
         lambda d: {"operator_pubkeys": [IDENTITY]}, "key-small-order", "operator_pubkeys"),
        ("operator-key-not-reduced", "An operator key whose y is not below p.",
         lambda d: {"operator_pubkeys": [NOT_REDUCED]}, "key-not-canonical", "operator_pubkeys"),
        ("recovery-key-low-order", "A recovery key of low order: anybody could open the escrow.",
         lambda d: {"recovery_pubkey": LOW_ORDER_U}, "key-low-order", "recovery_pubkey"),
        ("recovery-key-not-reduced", "A recovery key that is not below 2^255-19.",
         lambda d: {"recovery_pubkey": U_NOT_REDUCED}, "key-not-canonical", "recovery_pubkey"),
        ("recovery-key-31-bytes", "A recovery key is empty or 32 bytes.",
         lambda d: {"recovery_pubkey": world.public(d, "recovery_scalar")[:31]}, "key-length",
         "recovery_pubkey"),
        ("name-reordered", "The agent prints this name and asks: nothing in it may reorder what is shown.",
         lambda d: {"org_name": REORDERED}, "name-character", "org_name"),
        ("name-empty", "A name has at least one character.", lambda d: {"org_name": ""}, "name-length",
         "org_name"),
        ("root-is-command-key", "No key ever serves two roles.",
         lambda d: {"command_pubkey": world.public(d, "root_seed")}, "key-in-two-roles", ""),
        ("command-is-operator-key", "No key ever serves two roles.",
         lambda d: {"operator_pubkeys": [world.public(d, "command_seed")]}, "key-in-two-roles", ""),
    ):
        book.refuse(f"manifest/{name}", op, "2", why, given, lambda told, d: given(d, **change(d)),
                    "agent-refuses", reason, field)

    def small_root(told, draws):
        forged = OrgManifest.from_json(told["manifest"])
        forged.root_pubkey = SMALL
        forged.signature = world.forged(draws, manifests.manifest_transcript(forged), SMALL)
        return {"manifest": forged.to_json(), "root_pubkey": SMALL.hex()}

    book.refuse("manifest/root-small-order", op, "2", "Under a root of small order anybody signs.", given,
                small_root, "agent-refuses", "key-small-order", "root_pubkey")

    def negative(told, draws):
        """Signed over the eight bytes that a cast makes of -1."""
        made = OrgManifest.from_json(told["manifest"])
        fields = [
            getattr(made, name.replace("_pk", "_pubkey")) for name, _ in DOMAINS["fleet/v1/org-manifest"]
        ]
        fields[2] = b"\xff" * 8
        signature = keys.sign(draws("root_seed"), frame("fleet/v1/org-manifest", fields))
        told["manifest"].update(epoch=-1, signature=signature.hex())

    book.refuse("manifest/epoch-negative", op, "2", "Integers are never negative, whatever was signed.",
                given, negative, "agent-refuses", "epoch-not-positive", "epoch")
    book.refuse("manifest/other-root", op, "2", "A good manifest of another root.", given,
                lambda told, d: {**told, "manifest": world.manifest(d, "other_root_seed").to_json()},
                "agent-refuses", "other-root", "root_pubkey")
    book.refuse("manifest/other-root-signed-by-the-pinned", op, "5",
                "An agent never accepts another root, even if its own signs that it should.", given,
                lambda told, d: given(d, root_pubkey=world.public(d, "other_root_seed")), "agent-refuses",
                "other-root", "root_pubkey")


def tampered(book):
    """Manifests and certificates that somebody changed after they were signed, or signed otherwise."""
    def refuse(name, why, change, reason="signature-invalid"):
        book.refuse(f"manifest/{name}", "manifest-verify", "2", why, given, change, "agent-refuses", reason,
                    "signature")

    for name, why, change in (
        ("changed-name", "Another name.", {"org_name": "Example Mine"}),
        ("changed-epoch", "Another epoch.", {"epoch": world.EPOCH + 1}),
        ("changed-org-id", "Another org_id.", {"org_id": 8}),
        ("recovery-key-removed", "The recovery key taken out.", {"recovery_pubkey": ""}),
        ("operators-removed", "The operator keys taken out.", {"operator_pubkeys": []}),
        ("revoked-removed", "The revoked agents taken out.", {"revoked": []}),
    ):
        refuse(name, why + " The signature covers it.", lambda told, d: told["manifest"].update(change))

    def sign(told, draws, seed, transcript):
        signature = keys.sign(draws(seed), transcript(OrgManifest.from_json(told["manifest"])))
        told["manifest"]["signature"] = signature.hex()

    def change_signature(told, change):
        told["manifest"]["signature"] = change(bytes.fromhex(told["manifest"]["signature"])).hex()

    refuse("signed-by-other-root", "It names the root that is pinned, and another one signed it.",
           lambda told, d: sign(told, d, "other_root_seed", manifests.manifest_transcript))
    refuse("signed-by-command-key", "The command key is no root.",
           lambda told, d: sign(told, d, "command_seed", manifests.manifest_transcript))
    refuse("signed-pin", "The root's signature of the pin's transcript is of another domain.",
           lambda told, d: sign(told, d, "root_seed", manifests.pin_transcript))
    refuse("signature-bit", "One bit of the signature is flipped.",
           lambda told, d: change_signature(told, lambda s: world.flip(s, 40)))
    refuse("signature-malleated", "S + L in place of S.",
           lambda told, d: change_signature(told, world.malleated), "signature-s-not-reduced")
    refuse("signature-missing", "No signature at all.", lambda told, d: change_signature(told, lambda s: b""),
           "signature-length")


def updated(book):
    def pair(draws, **changes):
        return {
            "pinned": world.manifest(draws).to_json(), "received": world.manifest(draws, **changes).to_json()
        }

    later = {"epoch": world.EPOCH + 1}
    for name, why, changes in (
        ("higher-epoch", "A higher epoch, nothing else.", lambda d: {}),
        ("other-command-key", "A higher epoch may bring another command key.",
         lambda d: {"command_pubkey": world.public(d, "other_command_seed")}),
        ("other-recovery-key",
         "A higher epoch may bring another recovery key: the manifest is kept, though the "
         "agent seals to the old one.",
         lambda d: {"recovery_pubkey": world.public(d, "other_recovery_scalar")}),
        ("recovery-key-gone", "A higher epoch may bring no recovery key.",
         lambda d: {"recovery_pubkey": b""}),
        ("other-operators", "A higher epoch may bring other operator keys and another name.",
         lambda d: {"operator_pubkeys": [world.public(d, "other_operator_seed")], "org_name": "Other"}),
        ("revoked-gone", "A higher epoch may list fewer revoked agents.", lambda d: {"revoked": []}),
    ):
        book.accept(f"manifest/update-{name}", "manifest-update", "5", why,
                    lambda d: pair(d, **later, **changes(d)))
    book.accept("manifest/update-same", "manifest-update", "5", "The same manifest again.", pair)

    def signed_again(draws):
        told = pair(draws)
        transcript = manifests.manifest_transcript(OrgManifest.from_json(told["received"]))
        told["received"]["signature"] = world.other_signature(draws, "root_seed", transcript).hex()
        return told

    book.accept(
        "manifest/update-same-signed-again", "manifest-update", "5", "It is the transcript that must be the "
        "same, not the signature, which may be another valid one.", signed_again)

    for name, why, changes, reason, field in (
        ("lower-epoch", "A lower epoch: the server was restored from a backup.",
         lambda d: {"epoch": world.EPOCH - 1}, "epoch-lower", "epoch"),
        ("same-epoch-other-name", "The same epoch with other content.", lambda d: {"org_name": "Other"},
         "same-epoch-other-content", "epoch"),
        ("same-epoch-revoked-gone", "The same epoch with a revoked agent fewer.", lambda d: {"revoked": []},
         "same-epoch-other-content", "epoch"),
        ("same-epoch-other-command-key", "The same epoch with another command key.",
         lambda d: {"command_pubkey": world.public(d, "other_command_seed")}, "same-epoch-other-content",
         "epoch"),
        ("other-org", "Another organization of the same root.", lambda d: {**later, "org_id": 8}, "other-org",
         "org_id"),
        ("not-ascending", "What is refused of a first manifest is refused of any.",
         lambda d: {**later, "revoked": sorted(
             (d("revoked-1", 16), d("revoked-2", 16)), reverse=True)}, "not-ascending", "revoked"),
        ("other-root-signed-by-the-pinned", "An agent never accepts another root.",
         lambda d: {**later, "root_pubkey": world.public(d, "other_root_seed")}, "other-root", "root_pubkey"),
    ):
        book.refuse(f"manifest/update-{name}", "manifest-update", "5", why, lambda d: pair(d, **later),
                    lambda told, d: pair(d, **changes(d)), "agent-refuses", reason, field)
    book.refuse("manifest/update-other-root", "manifest-update", "5", "An agent never accepts another root.",
                lambda d: pair(d, **later),
                lambda told, d: {**told, "received": world.manifest(d, "other_root_seed", **later).to_json()},
                "agent-refuses", "other-root", "root_pubkey")
    book.refuse("manifest/update-signature", "manifest-update", "5",
                "A higher epoch that the root did not sign.", lambda d: pair(d, **later),
                lambda told, d: told["received"].update(epoch=world.EPOCH + 2), "agent-refuses",
                "signature-invalid", "signature")
