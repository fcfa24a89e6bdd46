"""The api_key, sealed to the agent (section 4 step 5)."""

import edwards
import enrollment
import hpke
import keys
from cases import world
from selftest import LOW_ORDER_U


def parts(draws):
    return {"agent_id": world.AGENT_ID, "code": world.code(draws, world.manifest(draws))}


def to_seal(draws, **changes):
    told = {"api_key": world.api_key(draws), **parts(draws), **changes}
    draws("sealing_scalar")
    draws("hpke_ephemeral")
    return told


def sealed(draws, **changes):
    """What is to be opened: sealed as told in `changes`, to be opened as told by `parts`."""
    made = {**to_seal(draws), **changes}
    text = enrollment.seal_api_key(made["api_key"], made["agent_id"], made["code"],
                                   world.public(draws, made.get("sealing", "sealing_scalar")),
                                   draws("hpke_ephemeral"))
    return {**parts(draws), "sealed_api_key": text.hex()}


def sealed_under(draws, enc, info=None, aad=b""):
    """Sealed by somebody who picks `enc` itself, with the secret that a lenient recipient derives."""
    told = parts(draws)
    public = world.public(draws, "sealing_scalar")
    right = enrollment.api_key_info(told["agent_id"], told["code"], public)
    ephemeral = draws("hpke_ephemeral")
    if enc is None:
        enc, dh = keys.x25519_public(ephemeral), keys.x25519(ephemeral, public)
    else:
        dh = lenient(draws("sealing_scalar"), enc)
    text = hpke.seal_with(dh, enc, public, right if info is None else info, aad,
                          world.api_key(draws).encode())
    return {**told, "sealed_api_key": text.hex()}


def lenient(scalar, enc):
    """X25519 as it is without our rules: the top bit ignored, u reduced, zero taken."""
    u = (int.from_bytes(enc, "little") & (2**255 - 1)) % edwards.P
    if edwards.montgomery_is_low_order(u):
        return bytes(32)
    return keys.x25519(scalar, u.to_bytes(32, "little"))


def add_cases(book):
    for name, why, changes in (
        ("drawn", "An api_key as a server makes it.", {}),
        ("agent-id-1", "The least agent_id.", {"agent_id": 1}),
        ("agent-id-greatest", "The greatest agent_id.", {"agent_id": 2**53 - 1}),
    ):
        book.accept(f"sealed-api-key/{name}", "seal-api-key", "4", why, lambda d: to_seal(d, **changes))
    book.accept("sealed-api-key/opened", "open-api-key", "4", "What a server sealed.", sealed)

    def refuse(name, why, fault, reason="sealed-not-authentic"):
        book.refuse(f"sealed-api-key/{name}", "open-api-key", "4", why, sealed, fault, "agent-refuses",
                    reason, "sealed_api_key")

    def cut(told, length):
        told["sealed_api_key"] = told["sealed_api_key"][:2 * length]

    def flip(told, index):
        told["sealed_api_key"] = world.flip(told["sealed_api_key"], index)

    refuse("empty", "Nothing.", lambda told, d: cut(told, 0), "sealed-too-short")
    refuse("enc-alone", "enc without a ciphertext.", lambda told, d: cut(told, 32), "sealed-too-short")
    refuse("no-room-for-tag", "One byte less than enc and a tag.", lambda told, d: cut(told, 47),
           "sealed-too-short")
    refuse("one-byte-short", "The last byte is missing.", lambda told, d: cut(told, 105))
    refuse("one-byte-more", "A byte too many.",
           lambda told, d: told.update(sealed_api_key=told["sealed_api_key"] + "00"))
    refuse("bit-of-enc", "One bit of enc is flipped.", lambda told, d: flip(told, 0))
    refuse("bit-of-ciphertext", "One bit of the ciphertext is flipped.", lambda told, d: flip(told, 40))
    refuse("bit-of-tag", "One bit of the tag is flipped.", lambda told, d: flip(told, 105))
    refuse("other-agent-id", "Sealed for another agent_id.",
           lambda told, d: sealed(d, agent_id=world.AGENT_ID + 1))
    refuse("other-code", "Sealed for another enrollment.",
           lambda told, d: sealed(d, code=world.strings.enrollment_code(d("other_code_random"), d("pin"))))
    refuse("code-in-upper-case", "The hash is that of the 88 lower-case characters.",
           lambda told, d: sealed(d, code=told["code"].upper()))
    refuse("other-sealing-key", "Sealed to another key.", lambda told, d: sealed(d, sealing="other_scalar"))
    refuse("empty-info", "Sealed with an empty info.", lambda told, d: sealed_under(d, None, b""))
    refuse(
        "other-domain", "Sealed with the same fields under another domain.", lambda told, d: sealed_under(
            d, None,
            enrollment.api_key_info(told["agent_id"], told["code"], world.public(d, "sealing_scalar")).
            replace(b"fleet/v1/api-key", b"fleet/v1/api_key")))
    refuse("with-aad", "Sealed with an aad; here it is empty.",
           lambda told, d: sealed_under(d, None, aad=b"x"))
    for i, u in enumerate(LOW_ORDER_U):
        refuse(
            f"enc-low-order-{i}",
            "enc is of low order, and sealed under the shared secret of zeros that follows "
            "from it with any key.", lambda told, d: sealed_under(d, bytes.fromhex(u)), "enc-low-order")
    refuse("enc-not-reduced", "enc is p + 9, and sealed under the secret that X25519 gives for 9.",
           lambda told, d: sealed_under(d, (edwards.P + 9).to_bytes(32, "little")), "enc-not-canonical")
    refuse("enc-top-bit", "enc has the top bit set, which X25519 ignores, and is sealed with it.",
           lambda told, d: sealed_under(d, top_bit(keys.x25519_public(d("hpke_ephemeral")))),
           "enc-not-canonical")


def top_bit(key):
    return key[:31] + bytes([key[31] | 0x80])
