"""Strings that people handle: fingerprints (section 2), enrollment codes and api_keys (section 3)."""

import strings
from cases import world
from strings import BECH32, bech32_encode, to_groups


def add_cases(book):
    fingerprints(book)
    codes(book)
    code_refusals(book)
    api_keys(book)


def fingerprints(book):
    book.accept("fingerprint/example", "fingerprint", "2", "The example of the protocol page.",
                lambda d: {name: bytes([i] * 32).hex()
                           for i, name in enumerate(world.ROLES, 1)})
    book.accept("fingerprint/drawn", "fingerprint", "2", "Three keys as an agent makes them.",
                lambda d: world.hexed(world.agent_keys(d)))
    book.accept("fingerprint/roles-matter", "fingerprint", "2", "The keys of the example in another order.",
                lambda d: {name: bytes([i] * 32).hex()
                           for i, name in zip((2, 1, 3), world.ROLES)})

    def shown(draws):
        """A fingerprint in which both 0 and 1 occur. The text stands for what an agent prints."""
        def text(data):
            return strings.grouped(strings.crockford(int.from_bytes(data, "big") >> 131, 25))

        return text(draws.first("digest", lambda data: {"0", "1"} <= set(text(data))))

    for name, why, typed in (
        ("as-shown", "The form in which it is printed.", lambda text: text),
        ("lower-case", "Comparison ignores case.", str.lower),
        ("no-dashes", "Comparison ignores dashes.", lambda text: text.replace("-", "")),
        ("blanks", "Comparison ignores blanks.", lambda text: "  " + text.replace("-", " ") + " "),
        ("dashes-elsewhere", "Dashes are ignored wherever they are.",
         lambda text: "-".join(text.replace("-", ""))),
        ("letter-o", "O is read as 0.", lambda text: text.replace("0", "O")),
        ("letter-i", "I is read as 1.", lambda text: text.replace("1", "I")),
        ("letter-l", "L is read as 1.", lambda text: text.replace("1", "L")),
        ("small-letters-o-l", "o is read as 0 and l as 1, in lower case too.",
         lambda text: text.replace("0", "o").replace("1", "l").lower()),
        ("small-letter-i", "i is read as 1, in lower case too.", lambda text: text.replace("1", "i").lower()),
    ):
        book.accept(f"fingerprint/{name}", "fingerprint-parse", "2", why, lambda d: {"text": typed(shown(d))})
    for name, why, typed, reason in (
        ("letter-u", "Crockford's base32 has no U, and nothing reads it as another letter.",
         lambda text: "U" + text[1:], "fingerprint-character"),
        ("sign", "Crockford's check symbols are no digits here.", lambda text: text[:-1] + "*",
         "fingerprint-character"),
        ("24-digits", "A fingerprint has 25 digits.", lambda text: text[:-1], "fingerprint-length"),
        ("26-digits", "A fingerprint has 25 digits.", lambda text: text + "0", "fingerprint-length"),
        ("one-group-short", "A fingerprint has five groups.", lambda text: text[6:], "fingerprint-length"),
        ("empty", "A fingerprint has 25 digits.", lambda text: "", "fingerprint-length"),
    ):
        book.refuse(f"fingerprint/{name}", "fingerprint-parse", "2", why, lambda d: {"text": shown(d)},
                    lambda told, d: {"text": typed(told["text"])}, "none", reason)


def codes(book):
    for name, why, changes in (
        ("drawn", "The pin of a manifest with recovery and operator keys.", {}),
        ("no-recovery-key", "The pin of a manifest without a recovery key.", {"recovery_pubkey": b""}),
        ("no-operator-keys", "The pin of a manifest without operator keys.", {"operator_pubkeys": []}),
        ("other-name-epoch-revoked",
         "The pin covers neither the name of the organization nor epoch nor revoked.",
         {"org_name": "Other", "epoch": 1, "revoked": []}),
    ):

        def given(draws):
            told = world.manifest(draws, **changes).to_json()
            draws("code_random")
            return {"manifest": told}

        book.accept(f"enrollment-code/{name}", "enrollment-code", "3", why, given)


def code(draws):
    return {"text": world.code(draws, world.manifest(draws))}


def data(draws):
    """The 48 bytes of the code of these draws."""
    _, random, pin = strings.parse_enrollment_code(code(draws)["text"])
    return random + pin


def code_refusals(book):
    for name, why, typed in (
        ("as-made", "88 lower-case characters.", lambda text: text),
        ("upper-case", "Upper case is as good as lower case.", str.upper),
        ("blanks-around", "Blanks around are trimmed.", lambda text: f"  {text} "),
        ("upper-case-and-blanks", "Trimmed, then lower-cased.", lambda text: f" {text.upper()}  "),
    ):
        book.accept(f"enrollment-code/{name}", "enrollment-code-parse", "3", why,
                    lambda d: {"text": typed(code(d)["text"])})

    def swap(text, index):
        return text[:index] + text[index + 1] + text[index] + text[index + 2:]

    def other(text, index):
        letters = strings.BECH32_ALPHABET
        return text[:index] + letters[(letters.index(text[index]) + 1) % 32] + text[index + 1:]

    def padded(draws):
        groups = to_groups(data(draws))
        return bech32_encode("fenr", [*groups[:-1], groups[-1] | 1])

    def swappable(text):
        return next(i for i in range(20, 80) if text[i] != text[i + 1])

    def letter(text):
        return next(i for i in range(20, 80) if text[i].isalpha())

    for name, why, typed, reason in (
        ("one-character-wrong", "A typo is caught before any packet is sent.", lambda t, d: other(t, 40),
         "checksum"),
        ("first-character-wrong", "A typo is caught wherever it is.", lambda t, d: other(t, 5), "checksum"),
        ("last-character-wrong", "A typo in the checksum is caught too.", lambda t, d: other(t, 87),
         "checksum"),
        ("two-characters-swapped", "So are two characters in the wrong order.",
         lambda t, d: swap(t, swappable(t)), "checksum"),
        ("bech32", "The checksum of BIP-173 in place of that of BIP-350.",
         lambda t, d: bech32_encode("fenr", to_groups(data(d)), BECH32), "checksum"),
        ("padding-bit", "384 bits are 77 characters of 5 bits and one bit of padding, which is zero.",
         lambda t, d: padded(d), "padding-not-zero"),
        ("mixed-case", "Mixed case is refused, as BIP-173 says.",
         lambda t, d: t[:letter(t)] + t[letter(t)].upper() + t[letter(t) + 1:], "mixed-case"),
        ("prefix-upper-case", "Mixed case is refused in the prefix too.", lambda t, d: t[:4].upper() + t[4:],
         "mixed-case"),
        ("other-prefix", "A good string of the same length with another prefix.",
         lambda t, d: bech32_encode("fleet",
                                    to_groups(data(d))[:-1]), "prefix"),
        ("prefix-one-letter-off",
         "A good string of the same length with a prefix that differs in one letter.",
         lambda t, d: bech32_encode("fenq", to_groups(data(d))), "prefix"),
        ("one-byte-short", "A good string of 47 bytes.",
         lambda t, d: bech32_encode("fenr", to_groups(data(d)[:-1])), "length"),
        ("without-pin", "A good string of the 32 random bytes alone.",
         lambda t, d: bech32_encode("fenr", to_groups(data(d)[:32])), "length"),
        ("one-byte-long", "A good string of 49 bytes.",
         lambda t, d: bech32_encode("fenr", to_groups(data(d) + bytes(1))), "length"),
        ("blank-inside", "Blanks inside are not trimmed.", lambda t, d: t[:44] + " " + t[44:], "length"),
        ("blank-for-a-character", "A blank is no character of bech32m.", lambda t, d: t[:44] + " " + t[45:],
         "not-bech32m-character"),
        ("letter-b", "b is not in the alphabet.", lambda t, d: t[:44] + "b" + t[45:],
         "not-bech32m-character"),
        ("separator-for-a-character", "The last 1 ends the prefix, wherever it is.",
         lambda t, d: t[:44] + "1" + t[45:], "checksum"),
        ("empty", "Nothing at all.", lambda t, d: "", "prefix"),
    ):
        book.refuse(f"enrollment-code/{name}", "enrollment-code-parse", "3", why, code,
                    lambda told, d: {"text": typed(told["text"], d)}, "agent-refuses", reason)


def api_keys(book):
    def drawn(draws):
        world.api_key(draws)
        return {}

    book.accept("api-key/drawn", "api-key", "3", "8 digits of 4 random bytes, 43 characters of 32.", drawn)

    def text(draws):
        return {"text": world.api_key(draws)}

    book.accept("api-key/as-made", "api-key-parse", "3", "58 characters.", text)
    book.accept("api-key/dash-and-underscore", "api-key-parse", "3", "Both signs of base64url may occur.",
                lambda d: {"text": "fleet_0123abcd_" + "-_" * 20 + "AbA"})
    form = ("unauthenticated", "api-key-form", "")
    length = ("invalid_argument", "api-key-length", "api_key")
    for name, why, change, (refused, reason, field) in (
        ("other-prefix", "An api_key begins with fleet_.", lambda t: "fleat" + t[5:], form),
        ("prefix-upper-case", "The prefix is in lower case.", lambda t: "FLEET" + t[5:], form),
        ("7-digits", "There are 8 digits.", lambda t: t[:6] + t[7:], form),
        ("9-digits", "There are 8 digits.", lambda t: t[:6] + "0" + t[6:], form),
        ("digit-not-hex", "The digits are hex.", lambda t: t[:6] + "g" + t[7:], form),
        ("42-characters", "There are 43 characters.", lambda t: t[:-1], form),
        ("44-characters", "There are 43 characters.", lambda t: t + "A", form),
        ("padded", "base64url is written without padding here.", lambda t: t + "=", form),
        ("plus", "base64url has no plus.", lambda t: t[:20] + "+" + t[21:], form),
        ("dash-for-underscore", "The digits end at an underscore.", lambda t: t[:14] + "-" + t[15:], form),
        ("19-characters", "An api_key has 20 to 512 characters.", lambda t: t[:19], length),
        ("513-characters", "An api_key has 20 to 512 characters.", lambda t: t + "A" *
         (513 - len(t)), length),
    ):
        book.refuse(f"api-key/{name}", "api-key-parse", "10" if field else "3", why, text,
                    lambda told, d: {"text": change(told["text"])}, refused, reason, field)
