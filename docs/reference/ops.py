"""The operations of the test vectors: each takes a vector's "in" and returns its "out", or refuses.

fleet-core/tests/vectors/README.md describes them for whoever implements them elsewhere.
"""

import keys
import manifest as manifests
import strings
import transcript as transcripts
import wire
from refusal import AGENT_REFUSES, INVALID_ARGUMENT, NONE, UNAUTHENTICATED, answering, require
from transcript import sha256
from wire import OrgManifest

OPS = {}
KEY_FIELDS = ("identity_pubkey", "miner_signing_pubkey", "sealing_pubkey")


def op(name):
    def register(function):
        OPS[name] = function
        return function

    return register


def draw(given, name):
    return bytes.fromhex(given["draws"][name])


def signed(data, signature):
    return {"transcript": data.hex(), "transcript_sha256": sha256(data).hex(), "signature": signature.hex()}


def agent_keys(given):
    return {name: bytes.fromhex(given[name]) for name in KEY_FIELDS}


# Section 2.


@op("transcript")
def transcript(given):
    values = []
    expected = transcripts.DOMAINS[given["domain"]]
    for field, (name, kind) in zip(given["fields"], expected, strict=True):
        if field["name"] != name or field["kind"] not in (kind, "absent"):
            raise ValueError(f"{given['domain']} has {name} ({kind}) here, not {field}")
        with answering(NONE, name):
            values.append(
                transcripts.encode({
                    "integer": lambda value: int(value),
                    "bytes": bytes.fromhex,
                    "text": str,
                    "list": lambda items: [bytes.fromhex(item) for item in items],
                    "absent": lambda _: None,
                }[field["kind"]](field.get("value"))))
    data = transcripts.frame(given["domain"], values)
    return {"bytes": data.hex(), "sha256": sha256(data).hex()}


@op("timestamp")
def timestamp(given):
    with answering(INVALID_ARGUMENT):
        milliseconds = wire.timestamp_to_milliseconds(int(given["seconds"]), given["nanos"])
    return {"milliseconds": milliseconds, "protobuf": wire.timestamp(milliseconds).hex()}


@op("ed25519-public-key")
def ed25519_public_key(given):
    with answering(INVALID_ARGUMENT, "public_key"):
        keys.check_ed25519(bytes.fromhex(given["public_key"]))
    return {"public_key": given["public_key"]}


@op("x25519-public-key")
def x25519_public_key(given):
    with answering(INVALID_ARGUMENT, "public_key"):
        keys.check_x25519(bytes.fromhex(given["public_key"]))
    return {"public_key": given["public_key"]}


@op("ed25519-verify")
def ed25519_verify(given):
    keys.verify(*(bytes.fromhex(given[name]) for name in ("public_key", "message", "signature")))
    return {"verified": True}


@op("fingerprint")
def fingerprint(given):
    return {
        "fingerprint": strings.fingerprint(
            **{k.replace("pubkey", "pk"): v
               for k, v in agent_keys(given).items()})
    }


@op("fingerprint-parse")
def fingerprint_parse(given):
    return {"fingerprint": strings.parse_fingerprint(given["text"])}


# Section 3.


@op("enrollment-code")
def enrollment_code(given):
    pin = manifests.pin(OrgManifest.from_json(given["manifest"]))
    code = strings.enrollment_code(draw(given, "code_random"), pin)
    return {"code": code, "code_sha256": sha256(code.encode()).hex(), "pin_sha256": pin.hex()}


@op("enrollment-code-parse")
def enrollment_code_parse(given):
    with answering(AGENT_REFUSES):
        code, random, pin = strings.parse_enrollment_code(given["text"])
    return {
        "code": code, "code_sha256": sha256(code.encode()).hex(), "random": random.hex(), "pin": pin.hex()
    }


@op("api-key")
def api_key(given):
    text = strings.api_key(draw(given, "api_key_digits_random"), draw(given, "api_key_random"))
    return {"api_key": text, "digits": strings.parse_api_key(text), "sha256": sha256(text.encode()).hex()}


@op("api-key-parse")
def api_key_parse(given):
    text = given["text"]
    require(20 <= len(text) <= 512, "api-key-length", INVALID_ARGUMENT, "api_key")
    with answering(UNAUTHENTICATED):
        digits = strings.parse_api_key(text)
    return {"digits": digits, "sha256": sha256(text.encode()).hex()}


# Section 4.


@op("name")
def name(given):
    with answering(INVALID_ARGUMENT, "name"):
        strings.check_name(given["name"])
    return {"characters": len(given["name"]), "utf8": given["name"].encode("utf-8").hex()}
