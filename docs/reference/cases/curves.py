"""Public keys and signatures, strictly (section 2)."""

import hashlib

import edwards
import keys
from edwards import BASE, L, P, add, encode, multiply
from selftest import LOW_ORDER_U

SMALL = edwards.small_order_points()
SIGN = 1 << 255


def little(number):
    return number.to_bytes(32, "little")


def add_sign(data, sign):
    return little(int.from_bytes(data, "little") & (SIGN - 1) | (SIGN if sign else 0))


def clamp(seed):
    return int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (2**254 - 8) | 2**254


def challenge(r, a, message):
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little")


def off_curve(draws):
    """A y below p that no point has."""
    return draws.first("y", lambda data: int.from_bytes(data, "little") < P and edwards.decode(data) is None)


def add_public_keys(book):
    def key(draws):
        return {"public_key": keys.ed25519_public(draws("identity_seed")).hex()}

    op, code, field = "ed25519-public-key", "invalid_argument", "public_key"
    book.accept("ed25519-public-key/honest", op, "2", "The public key of a seed.", key)
    book.accept("ed25519-public-key/base-point", op, "2", "The base point is a point like any other.",
                lambda d: {"public_key": encode(BASE).hex()})
    book.accept(
        "ed25519-public-key/mixed-order", op, "2", "A point with a part of order 8 is not of small order: "
        "only verification without cofactor tells.",
        lambda d: {"public_key": encode(add(multiply(clamp(d("identity_seed")), BASE), SMALL[1])).hex()})
    for i, point in enumerate(SMALL):
        book.refuse(f"ed25519-public-key/small-order-{i}", op, "2", f"{i} times a point of order 8.", key,
                    lambda told, d: {"public_key": encode(point).hex()}, code, "key-small-order", field)
    odd = [("one-with-sign", 1 | SIGN, "The identity with the sign of an x that is zero."),
           ("one-plus-p", P + 1, "The identity, y not reduced."),
           ("one-plus-p-with-sign", (P + 1) | SIGN,
            "The identity, y not reduced, with the sign of an x that is zero."),
           ("minus-one-with-sign", (P - 1) | SIGN,
            "The point of order 2 with the sign of an x that is zero."),
           ("zero-plus-p", P, "A point of order 4, y not reduced."),
           ("zero-plus-p-with-sign", P | SIGN, "The other point of order 4, y not reduced.")]
    for name, number, why in odd:
        book.refuse(f"ed25519-public-key/small-order-{name}", op, "2", why + " It is of small order too.",
                    key, lambda told, d: {"public_key": little(number).hex()}, code, "key-not-canonical",
                    field)
    # Of the y from p to 2^255-1, those of a point that is not of small order.
    for extra in range(2, 19):
        if edwards.recover_x(extra,
                             0) is not None and not edwards.is_small_order(edwards.decode(little(extra))):
            for sign in (0, 1):
                book.refuse(
                    f"ed25519-public-key/y-{extra}-plus-p" + ("-with-sign" if sign else ""), op, "2",
                    "A y that is not below p, of a point of large order: decompressing and compressing it "
                    "gives other bytes.", lambda d: {"public_key": add_sign(little(extra), sign).hex()},
                    lambda told, d: {"public_key": add_sign(little(P + extra), sign).hex()}, code,
                    "key-not-canonical", field)
    book.refuse("ed25519-public-key/not-a-point", op, "2", "No point has this y.", key,
                lambda told, d: {"public_key": off_curve(d).hex()}, code, "key-not-a-point", field)
    book.refuse("ed25519-public-key/31-bytes", op, "10", "A key is exactly 32 bytes.", key,
                lambda told, d: {"public_key": told["public_key"][:62]}, code, "key-length", field)
    book.refuse("ed25519-public-key/33-bytes", op, "10", "A key is exactly 32 bytes.", key,
                lambda told, d: {"public_key": told["public_key"] + "00"}, code, "key-length", field)
    book.refuse("ed25519-public-key/empty", op, "10", "A key is exactly 32 bytes.", key,
                lambda told, d: {"public_key": ""}, code, "key-length", field)


def add_x25519(book):
    def key(draws):
        return {"public_key": keys.x25519_public(draws("sealing_scalar")).hex()}

    op, code, field = "x25519-public-key", "invalid_argument", "public_key"
    book.accept("x25519-public-key/honest", op, "2", "The public key of a scalar.", key)
    book.accept("x25519-public-key/nine", op, "2", "The base point is a point like any other.",
                lambda d: {"public_key": little(9).hex()})
    book.accept("x25519-public-key/on-the-twist", op, "2", "u = 2 is a point of the twist, of large order.",
                lambda d: {"public_key": little(2).hex()})
    book.accept("x25519-public-key/greatest", op, "2",
                "p - 2 is the greatest u that is canonical and not of low order.",
                lambda d: {"public_key": little(P - 2).hex()})
    for i, u in enumerate(LOW_ORDER_U):
        book.refuse(f"x25519-public-key/low-order-{i}", op, "2",
                    "A u of low order: the shared secret would be zero "
                    "with any scalar.", key, lambda told, d: {"public_key": u}, code, "key-low-order", field)
    for number, name in ((P, "p"), (P + 1, "p-plus-1"), (2**255 - 1, "greatest-of-255-bits"),
                         (P + 9, "nine-plus-p")):
        book.refuse(f"x25519-public-key/{name}", op, "2", "A u that is not below 2^255-19.",
                    lambda d: {"public_key": little(9).hex()},
                    lambda told, d: {"public_key": little(number).hex()}, code, "key-not-canonical", field)
    book.refuse("x25519-public-key/top-bit", op, "2", "X25519 itself would ignore the top bit.", key,
                lambda told, d: {"public_key": add_sign(bytes.fromhex(told["public_key"]), 1).hex()}, code,
                "key-not-canonical", field)
    book.refuse("x25519-public-key/nine-top-bit", op, "2", "X25519 itself would ignore the top bit.",
                lambda d: {"public_key": little(9).hex()},
                lambda told, d: {"public_key": little(9 | SIGN).hex()}, code, "key-not-canonical", field)
    book.refuse("x25519-public-key/31-bytes", op, "10", "A key is exactly 32 bytes.", key,
                lambda told, d: {"public_key": told["public_key"][:62]}, code, "key-length", field)
    book.refuse("x25519-public-key/33-bytes", op, "10", "A key is exactly 32 bytes.", key,
                lambda told, d: {"public_key": told["public_key"] + "00"}, code, "key-length", field)


MESSAGE = b"fleet"


def remainders(k, torsion_r, torsion_a):
    """What R + [k]A has of small order, in multiples of the point of order 8: with k reduced modulo L, as
    everybody computes it, and with k as it is, as the equation is written. The vectors hold for both."""
    return {(torsion_r + factor * torsion_a) % 8 for factor in (k, k % L)}


def signature(draws, torsion_a=0, torsion_r=0, r=None, remainder=None):
    """A signature that fulfils the equation up to parts of small order: A and R each get a multiple of a
    point of order 8, and where `remainder` is given, a nonce is drawn for which they add up to that."""
    secret = clamp(draws("identity_seed"))
    a = encode(add(multiply(secret, BASE), SMALL[torsion_a]))
    if r is not None:
        return finish(a, r, 0, secret)

    def point(nonce):
        return encode(add(multiply(little_scalar(nonce), BASE), SMALL[torsion_r]))

    nonce = draws.first(
        "nonce", lambda nonce: remainder is None or remainders(challenge(point(nonce), a, MESSAGE), torsion_r,
                                                               torsion_a) == {remainder})
    return finish(a, point(nonce), little_scalar(nonce), secret)


def small_order_key(draws, a):
    """A signature under a key of small order, which anybody can make."""
    def point(nonce):
        return encode(multiply(little_scalar(nonce), BASE))

    nonce = draws.first("nonce", lambda nonce: remainders(challenge(point(nonce), a, MESSAGE), 0, 1) == {0})
    return finish(a, point(nonce), little_scalar(nonce), 0)


def small_order_r(draws, torsion):
    """R is `torsion` times the point of order 8, no more, and the key's part of small order cancels it."""
    r = encode(SMALL[torsion])

    def key(seed):
        for part in range(8):
            a = encode(add(multiply(clamp(seed), BASE), SMALL[part]))
            if remainders(challenge(r, a, MESSAGE), torsion, part) == {0}:
                return a
        return None

    seed = draws.first("key", key)
    return finish(key(seed), r, 0, clamp(seed))


def little_scalar(data):
    return int.from_bytes(data, "little") % L


def finish(a, r, nonce, secret):
    s = (nonce + challenge(r, a, MESSAGE) * secret) % L
    return {"public_key": a.hex(), "message": MESSAGE.hex(), "signature": (r + little(s)).hex()}


def change_signature(told, change):
    data = bytes.fromhex(told["signature"])
    return {**told, "signature": change(data).hex()}


def add_to_s(data, number):
    return data[:32] + little(int.from_bytes(data[32:], "little") + number)


def add_signatures(book):
    op = "ed25519-verify"

    def refuse(name, why, fault, reason, good=signature):
        told = book.refuse(f"ed25519-verify/{name}", op, "2", why, good, fault, "none", reason)["in"]
        if "equation holds" in why:
            parts = [bytes.fromhex(told[part]) for part in ("public_key", "message", "signature")]
            strict = {edwards.signature_equation(*parts, reduce=reduce) for reduce in (True, False)}
            assert strict == {"only with cofactor" not in why}, name
            assert edwards.signature_equation(*parts, cofactor=8), name

    def honest(draws):
        seed = draws("identity_seed")
        return {
            "public_key": keys.ed25519_public(seed).hex(), "message": MESSAGE.hex(),
            "signature": keys.sign(seed, MESSAGE).hex()
        }

    book.accept("ed25519-verify/honest", op, "2", "A signature as RFC 8032 makes it.", honest)
    book.accept(
        "ed25519-verify/empty-message", op, "2", "A signature of nothing.", lambda d: {
            "public_key": keys.ed25519_public(d("identity_seed")).hex(), "message": "", "signature": keys.
            sign(d("identity_seed"), b"").hex()
        })
    book.accept("ed25519-verify/other-nonce", op, "2", "A verifier cannot tell which nonce a signer took.",
                signature)
    book.accept(
        "ed25519-verify/mixed-order-key-cancelled", op, "2", "A has a part of small order, which the hash "
        "happens to cancel: the equation holds without cofactor.", lambda d: signature(d, 1, 0, None, 0))
    book.accept("ed25519-verify/mixed-order-both-cancelled", op, "2",
                "A and R have parts of small order that cancel: "
                "the equation holds without cofactor.", lambda d: signature(d, 1, 3, None, 0))

    refuse("mixed-order-r", "R has a part of order 8: the equation holds only with cofactor.",
           lambda told, d: signature(d, 0, 1), "signature-invalid")
    refuse("mixed-order-r-order-2", "R has a part of order 2: the equation holds only with cofactor.",
           lambda told, d: signature(d, 0, 4), "signature-invalid")
    refuse("mixed-order-key",
           "A has a part of order 8 that the hash does not cancel: the equation holds only with "
           "cofactor.", lambda told, d: signature(d, 1, 0, None, 1), "signature-invalid",
           lambda d: signature(d, 1, 0, None, 0))
    refuse("mixed-order-both",
           "A and R have parts of small order that do not cancel: the equation holds only with "
           "cofactor.", lambda told, d: signature(d, 1, 2, None, 5), "signature-invalid",
           lambda d: signature(d, 1, 3, None, 0))
    refuse("r-identity", "R is the identity: the equation holds, and R is of small order.",
           lambda told, d: signature(d, r=encode(edwards.IDENTITY)), "signature-r-small-order")
    refuse("r-order-4",
           "R and A have parts of order 4 that cancel, and R has no other part: the equation holds.",
           lambda told, d: small_order_r(d, 2), "signature-r-small-order")
    refuse("r-identity-not-reduced", "R is the identity with a y of p + 1: the equation holds.",
           lambda told, d: signature(d, r=little(P + 1)), "signature-r-not-canonical")
    refuse("r-identity-with-sign",
           "R is the identity with the sign of an x that is zero: the equation holds.",
           lambda told, d: signature(d, r=little(1 | SIGN)), "signature-r-not-canonical")
    refuse("r-not-a-point", "No point has the y of this R.",
           lambda told, d: change_signature(told, lambda s: off_curve(d) + s[32:]), "signature-r-not-a-point")
    refuse("key-identity", "A is the identity: the equation holds for every S with R = [S]B.",
           lambda told, d: small_order_key(d, encode(edwards.IDENTITY)), "key-small-order")
    refuse("key-order-8", "A is of order 8, and the hash a multiple of 8: the equation holds.",
           lambda told, d: small_order_key(d, encode(SMALL[1])), "key-small-order")
    refuse("key-identity-not-reduced", "A is the identity with a y of p + 1: the equation holds.",
           lambda told, d: small_order_key(d, little(P + 1)), "key-not-canonical")
    refuse("key-identity-with-sign",
           "A is the identity with the sign of an x that is zero: the equation holds.",
           lambda told, d: small_order_key(d, little(1 | SIGN)), "key-not-canonical")
    refuse("s-plus-l", "The equation holds for S + L as it does for S: signatures must not be malleable.",
           lambda told, d: change_signature(told, lambda s: add_to_s(s, L)), "signature-s-not-reduced",
           honest)
    refuse("s-plus-8-l", "The equation holds for S + 8L too, with the top bit set.",
           lambda told, d: change_signature(told, lambda s: add_to_s(s, 8 * L)), "signature-s-not-reduced",
           honest)
    refuse("other-message", "The signature is of another message.",
           lambda told, d: {**told, "message": b"fleeu".hex()}, "signature-invalid", honest)
    refuse("longer-message", "The signature is of a prefix of the message.",
           lambda told, d: {**told, "message": told["message"] + "00"}, "signature-invalid", honest)
    refuse("other-key", "The signature is by another key.",
           lambda told, d: {**told, "public_key": keys.ed25519_public(d("other_seed")).hex()},
           "signature-invalid", honest)
    refuse("bit-of-s", "One bit of S is flipped.",
           lambda told, d: change_signature(told, lambda s: s[:40] + bytes([s[40] ^ 1]) + s[41:]),
           "signature-invalid", honest)
    refuse("truncated", "A signature is exactly 64 bytes.",
           lambda told, d: change_signature(told, lambda s: s[:63]), "signature-length", honest)
    refuse("one-byte-more", "A signature is exactly 64 bytes.",
           lambda told, d: change_signature(told, lambda s: s + b"\x00"), "signature-length", honest)


def add_cases(book):
    add_public_keys(book)
    add_x25519(book)
    add_signatures(book)
