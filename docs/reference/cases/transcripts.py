"""Transcripts (section 2), timestamps (section 2) and names (section 4)."""

from transcript import BYTES, DOMAINS, INTEGER, MAX_INTEGER, TEXT
from wire import LAST_SECOND

TEXTS = {"name": "rack 7", "org_name": "Example Mining", "command_id": "0198c5d2-reboot", "actor": "user:7"}
INTEGERS = {
    "agent_id": 4242424242, "org_id": 7, "key_epoch": 2, "epoch": 1_764_000_000_000,
    "sequence": 1_764_000_000_001, "last_sequence": 1_764_000_000_000, "server_time": 1_764_000_100_000,
    "expires_at": 1_764_000_130_000, "issued_at": 1_764_000_050_000
}


def fields(domain, draws, **other):
    told = []
    for name, kind in DOMAINS[domain]:
        if name in other:
            value = other[name]
        elif kind == BYTES:
            value = draws(name).hex()
        elif kind == INTEGER:
            value = INTEGERS[name]
        elif kind == TEXT:
            value = TEXTS[name]
        else:
            length = 16 if name == "revoked" else 32
            value = sorted(draws(f"{name}-{i}", length).hex() for i in range(2))
        told.append({"name": name, "kind": "absent"} if value is
                    None else {"name": name, "kind": kind, "value": value})
    return {"domain": domain, "fields": told}


def add_cases(book):
    for domain in DOMAINS:
        book.accept(f"transcript/{domain.removeprefix('fleet/v1/').replace('/', '-')}", "transcript", "2",
                    f"The transcript of {domain} with every field present.", lambda d: fields(domain, d))
    variants = [
        ("no-sequence-yet", "fleet/v1/auth/server",
         "last_sequence is 0 for none, and is 8 bytes all the same.", {"last_sequence": 0}),
        ("no-recovery-key", "fleet/v1/org-manifest",
         "An absent recovery key is LP of nothing, never left out.", {"recovery_pk": None}),
        ("empty-lists", "fleet/v1/org-manifest", "An empty list is LP of nothing, never left out.",
         {"operator_pks": [], "revoked": []}),
        ("pin-of-the-least", "fleet/v1/pin", "Neither recovery nor operator keys: both are LP of nothing.",
         {"recovery_pk": None, "operator_pks": []}),
        ("name-of-one-character", "fleet/v1/enroll/identity", "A one-byte string has a length of 1.",
         {"name": "a"}),
        ("name-decomposed", "fleet/v1/enroll/identity",
         "Strings are not normalised: e and a combining acute accent "
         "stay two characters.", {"name": "Cafe\u0301"}),
        ("name-composed", "fleet/v1/enroll/identity",
         "Strings are not normalised: one character for e with acute.", {"name": "Caf\u00e9"}),
        ("name-beyond-the-basic-plane", "fleet/v1/agent-certificate", "A character of four bytes in UTF-8.",
         {"name": "\U0001f98a 1"}),
        ("integers-least", "fleet/v1/agent-certificate", "The least of every integer.",
         {"org_id": 1, "agent_id": 1, "key_epoch": 1, "issued_at": 0}),
        ("integers-greatest", "fleet/v1/agent-certificate", "The greatest int64 in every integer.",
         {name: str(MAX_INTEGER)
          for name in ("org_id", "agent_id", "key_epoch", "issued_at")}),
        ("agent-id-greatest", "fleet/v1/api-key", "The greatest agent_id that a server gives.",
         {"agent_id": 2**53 - 1}),
        ("actor-api-key", "fleet/v1/command", "A command of somebody who used an api_key.",
         {"actor": "key:0a1b2c3d"}),
        ("actor-system", "fleet/v1/command", "A command of the server itself.", {"actor": "system"}),
    ]
    for name, domain, why, other in variants:
        book.accept(f"transcript/{name}", "transcript", "2", why, lambda d: fields(domain, d, **other))
    for name, value, reason in (("integer-negative", "-1", "integer-negative"),
                                ("integer-beyond-int64", str(MAX_INTEGER + 1), "integer-too-large")):
        book.refuse(f"transcript/{name}", "transcript", "2", "Integers are int64 and never negative.",
                    lambda d: fields("fleet/v1/org-manifest", d),
                    lambda told, d: told["fields"][2].update(value=value), "none", reason, "epoch")
    timestamps(book)
    names(book)


def timestamps(book):
    for name, why, seconds, nanos in (
        ("zero", "The beginning of Unix time.", 0, 0),
        ("whole-seconds", "Nanos of zero are left out of the encoding.", 1_764_000_000, 0),
        ("one-millisecond", "The least fraction.", 1_764_000_000, 1_000_000),
        ("last-millisecond", "The greatest fraction.", 1_764_000_000, 999_000_000),
        ("last-of-9999", "The greatest time that a google.protobuf.Timestamp holds.", LAST_SECOND, 999_000_000),
    ):
        book.accept(f"timestamp/{name}", "timestamp", "2", why,
                    lambda d: {"seconds": seconds, "nanos": nanos})
    for name, why, change, reason in (
        ("one-nanosecond", "Times are whole milliseconds.", {"nanos": 1}, "timestamp-not-whole-milliseconds"),
        ("nanosecond-short", "Times are whole milliseconds.", {"nanos": 999_999_999},
         "timestamp-not-whole-milliseconds"),
        ("microseconds", "Times are whole milliseconds.", {"nanos": 500_500_000},
         "timestamp-not-whole-milliseconds"),
        ("nanos-of-a-second", "protobuf allows nanos from 0 to 999,999,999.", {"nanos": 1_000_000_000},
         "timestamp-nanos-out-of-range"),
        ("nanos-negative", "protobuf allows nanos from 0 to 999,999,999.", {"nanos": -1_000_000},
         "timestamp-nanos-out-of-range"),
        ("before-1970", "Integers are never negative.", {"seconds": -1}, "timestamp-negative"),
        ("year-10000", "A google.protobuf.Timestamp ends with the year 9999.", {"seconds": LAST_SECOND + 1},
         "timestamp-too-large"),
        ("beyond-int64", "Milliseconds are int64.", {"seconds": str(MAX_INTEGER)}, "timestamp-too-large"),
    ):
        book.refuse(f"timestamp/{name}", "timestamp", "2", why,
                    lambda d: {"seconds": 1_764_000_000, "nanos": 1_000_000},
                    lambda told, d: told.update(change), "invalid_argument", reason)


# The ends of every range that a name must not hold, and the characters just outside.
FORBIDDEN = [
    0x00, 0x09, 0x0A, 0x1F, 0x7F, 0x80, 0x85, 0x9F, 0x061C, 0x200B, 0x200D, 0x200F, 0x202A, 0x202E, 0x2060,
    0x2066, 0x2069, 0xFEFF
]
ALLOWED = [
    0x20, 0x7E, 0xA0, 0xAD, 0x061B, 0x061D, 0x200A, 0x2010, 0x2028, 0x2029, 0x202F, 0x205F, 0x2061, 0x2065,
    0x206A, 0xFEFE, 0xFF00, 0x10FFFF
]


def names(book):
    for name, why, value in (
        ("plain", "Letters, digits, blank, dash.", "rack 7-b"),
        ("one-character", "The shortest.", "a"),
        ("255-characters", "The longest, of one byte each.", "a" * 255),
        ("255-characters-of-four-bytes", "The limit counts characters, not bytes.", "\U0001f98a" * 255),
        ("blanks-around", "Nothing trims a name.", " rack "),
        ("decomposed", "Nothing normalises a name.", "Cafe\u0301"),
        ("right-to-left-letters", "Letters that run from right to left are no formatting characters.",
         "\u05de\u05db\u05e8\u05d4"),
    ):
        book.accept(f"name/{name}", "name", "4", why, lambda d: {"name": value})
    for code in ALLOWED:
        book.accept(f"name/beside-u{code:04x}", "name", "4",
                    f"U+{code:04X} is next to what is refused, and allowed.",
                    lambda d: {"name": f"a{chr(code)}b"})
    for code in FORBIDDEN:
        book.refuse(f"name/u{code:04x}", "name", "4",
                    f"U+{code:04X} is a control, or hides or reorders text.", lambda d: {"name": "ab"},
                    lambda told, d: {"name": f"a{chr(code)}b"}, "invalid_argument", "name-character", "name")
    book.refuse("name/at-the-start", "name", "4", "A character is refused at the start too.",
                lambda d: {"name": "ab"}, lambda told, d: {"name": "\ufeffab"}, "invalid_argument",
                "name-character", "name")
    book.refuse("name/at-the-end", "name", "4", "A line end is refused at the end too.",
                lambda d: {"name": "ab"}, lambda told, d: {"name": "ab\n"}, "invalid_argument",
                "name-character", "name")
    book.refuse("name/empty", "name", "10", "A name has at least one character.", lambda d: {"name": "a"},
                lambda told, d: {"name": ""}, "invalid_argument", "name-length", "name")
    book.refuse("name/256-characters", "name", "10", "A name has at most 255 characters.",
                lambda d: {"name": "a" * 255}, lambda told, d: {"name": "a" * 256}, "invalid_argument",
                "name-length", "name")
