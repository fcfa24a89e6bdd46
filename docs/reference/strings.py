"""Section 3's strings that people handle, section 2's fingerprint, and section 4's names."""

import base64
import re
import unicodedata

from refusal import require
from transcript import sha256, transcript

BECH32_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M, BECH32 = 0x2BC830A3, 1
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

CODE_PREFIX = "fenr"
CODE_LENGTH = 88

# Bech32m, BIP-350. Its limit of 90 characters is not enforced here: every caller knows its exact length.


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    return check


def expand_prefix(prefix):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def bech32_encode(prefix, values, constant=BECH32M):
    check = polymod(expand_prefix(prefix) + values + [0] * 6) ^ constant
    values = values + [check >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(BECH32_ALPHABET[value] for value in values)


def bech32_decode(text, constant=BECH32M):
    """The prefix and the 5-bit values of an all-lower or all-upper string."""
    require(text == text.lower() or text == text.upper(), "mixed-case")
    prefix, separator, rest = text.lower().rpartition("1")
    require(separator and prefix and len(rest) >= 6, "not-bech32m")
    require(all(33 <= ord(c) <= 126 for c in prefix), "not-bech32m")
    require(all(c in BECH32_ALPHABET for c in rest), "not-bech32m-character")
    values = [BECH32_ALPHABET.index(c) for c in rest]
    require(polymod(expand_prefix(prefix) + values) == constant, "checksum")
    return prefix, values[:-6]


def to_groups(data):
    """Bytes as 5-bit values, most significant bit first, padded with zero bits."""
    count = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << (count * 5 - len(data) * 8)
    return [number >> 5 * (count - 1 - i) & 31 for i in range(count)]


def from_groups(values):
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    require(number & ((1 << padding) - 1) == 0, "padding-not-zero")
    return (number >> padding).to_bytes(len(values) * 5 // 8, "big")


# The enrollment code.


def enrollment_code(random, pin_sha256):
    return bech32_encode(CODE_PREFIX, to_groups(random + pin_sha256[:16]))


def parse_enrollment_code(text):
    """What the agent makes of what was typed: 88 lower-case characters, the random part, the pin's start."""
    text = text.strip(" \t\r\n")
    require(text.isascii(), "not-bech32m-character")
    require(text == text.lower() or text == text.upper(), "mixed-case")
    text = text.lower()
    require(text.startswith(CODE_PREFIX + "1"), "prefix")
    require(len(text) == CODE_LENGTH, "length")
    prefix, values = bech32_decode(text)
    require(prefix == CODE_PREFIX, "prefix")
    data = from_groups(values)
    return text, data[:32], data[32:]


# Other strings.


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def api_key(digits_random, secret_random):
    """`fleet_` 8 hex digits `_` 43 base64url characters, from 4 and from 32 random bytes."""
    return f"fleet_{digits_random.hex()}_{base64url(secret_random)}"


def parse_api_key(text):
    """The 8 digits, which the server lists in clear."""
    match = re.fullmatch(r"fleet_([0-9a-f]{8})_[0-9A-Za-z_-]{43}", text)
    require(match, "api-key-form")
    return match.group(1)


def session_token(random):
    return base64url(random)


# The fingerprint.


def crockford(number, digits):
    return "".join(CROCKFORD[number >> 5 * (digits - 1 - i) & 31] for i in range(digits))


def grouped(digits):
    return "-".join(digits[i:i + 5] for i in range(0, len(digits), 5))


def fingerprint(identity_pk, miner_signing_pk, sealing_pk):
    digest = sha256(
        transcript("fleet/v1/keyset",
                   identity_pk=identity_pk,
                   miner_signing_pk=miner_signing_pk,
                   sealing_pk=sealing_pk))
    return grouped(crockford(int.from_bytes(digest, "big") >> 131, 25))


def parse_fingerprint(text):
    """A fingerprint as somebody typed it, in the form in which it is shown."""
    digits = text.replace("-", "").replace(" ", "")
    require(digits.isascii(), "fingerprint-character")
    digits = digits.upper().replace("O", "0").replace("I", "1").replace("L", "1")
    require(all(c in CROCKFORD for c in digits), "fingerprint-character")
    require(len(digits) == 25, "fingerprint-length")
    return grouped(digits)


# Names.


def _forbidden_in_names(character):
    code = ord(character)
    return (unicodedata.category(character) == "Cc" or code in (0x061C, 0x2060, 0xFEFF)
            or 0x200B <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069)


def check_name(name):
    """1 to 255 characters, that is, code points, none of which is a control or turns or hides text."""
    require(1 <= len(name) <= 255, "name-length")
    require(not any(_forbidden_in_names(c) for c in name), "name-character")
