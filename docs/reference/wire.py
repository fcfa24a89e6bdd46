"""Section 13: the messages, and just enough protobuf to write them.

In each class the n-th field has field number n. A message is written as proto3 writes it: fields by ascending
number, those at their default left out, a Timestamp's zero nanos too. Times are Unix milliseconds in these
classes and google.protobuf.Timestamp on the wire.
"""

from dataclasses import dataclass, field, fields
from typing import NewType

from refusal import require

Time = NewType("Time", int)
# A google.protobuf.Timestamp ends with the year 9999, as its own .proto file says.
LAST_SECOND = 253_402_300_799
LAST_TIME = LAST_SECOND * 1000 + 999


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def varint_field(number, value):
    return varint(number << 3) + varint(value) if value else b""


def bytes_field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def timestamp(milliseconds):
    require(milliseconds <= LAST_TIME, "timestamp-too-large")
    seconds, rest = divmod(milliseconds, 1000)
    return varint_field(1, seconds) + varint_field(2, rest * 1_000_000)


def timestamp_to_milliseconds(seconds, nanos):
    """Section 2: whole milliseconds, never negative. The rest is protobuf's own rule."""
    require(0 <= nanos < 1_000_000_000, "timestamp-nanos-out-of-range")
    require(nanos % 1_000_000 == 0, "timestamp-not-whole-milliseconds")
    require(seconds >= 0, "timestamp-negative")
    require(seconds <= LAST_SECOND, "timestamp-too-large")
    return seconds * 1000 + nanos // 1_000_000


@dataclass
class Message:
    def encode(self):
        out = b""
        for number, part in enumerate(fields(self), 1):
            value = getattr(self, part.name)
            if part.type is Time:
                out += bytes_field(number, timestamp(value))
            elif isinstance(value, int):
                out += varint_field(number, value)
            elif isinstance(value, list):
                out += b"".join(bytes_field(number, item) for item in value)
            elif isinstance(value, Message):
                out += bytes_field(number, value.encode())
            elif value:
                out += bytes_field(number, value.encode("utf-8") if isinstance(value, str) else value)
        return out

    @classmethod
    def from_json(cls, told):
        """From a vector's object, in which bytes are hex. What is not told is at its default, or absent."""
        known = {part.name: part.type for part in fields(cls)}
        read = {bytes: bytes.fromhex, list: lambda items: [bytes.fromhex(item) for item in items]}
        values = {}
        for name, value in told.items():
            kind = known[name]
            if isinstance(kind, type) and issubclass(kind, Message):
                values[name] = kind.from_json(value)
            else:
                values[name] = read.get(kind, lambda plain: plain)(value)
        return cls(**values)

    def to_json(self):
        told = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, Message):
                told[part.name] = value.to_json()
            elif isinstance(value, list):
                told[part.name] = [item.hex() for item in value]
            elif value is not None:
                told[part.name] = value.hex() if isinstance(value, bytes) else value
        return told


@dataclass
class OrgManifest(Message):
    org_id: int = 0
    org_name: str = ""
    epoch: int = 0
    root_pubkey: bytes = b""
    command_pubkey: bytes = b""
    recovery_pubkey: bytes = b""
    operator_pubkeys: list = field(default_factory=list)
    revoked: list = field(default_factory=list)
    signature: bytes = b""


@dataclass
class AgentCertificate(Message):
    org_id: int = 0
    agent_id: int = 0
    name: str = ""
    identity_pubkey: bytes = b""
    miner_signing_pubkey: bytes = b""
    sealing_pubkey: bytes = b""
    key_epoch: int = 0
    issued_at: Time = 0
    signature: bytes = b""


# EnrollmentStatus
STATUS = {"UNSPECIFIED": 0, "PENDING": 1, "CONFIRMED": 2, "REVOKED": 3, "DISCARDED": 4}


@dataclass
class RegisterRequest(Message):
    enrollment_token: str = ""
    name: str = ""
    identity_pubkey: bytes = b""
    miner_signing_pubkey: bytes = b""
    sealing_pubkey: bytes = b""
    identity_proof: bytes = b""
    miner_signing_proof: bytes = b""


@dataclass
class RegisterResponse(Message):
    agent_id: int = 0
    enrollment_status: int = 0
    identity_fingerprint: str = ""
    org_manifest: OrgManifest = None
    sealed_api_key: bytes = b""


@dataclass
class BeginAuthHandshakeRequest(Message):
    api_key: str = ""
    identity_pubkey: bytes = b""
    client_nonce: bytes = b""


@dataclass
class BeginAuthHandshakeResponse(Message):
    challenge: bytes = b""
    expires_at: Time = 0
    server_time: Time = 0
    server_signature: bytes = b""
    org_manifest: OrgManifest = None
    agent_certificate: AgentCertificate = None
    last_sequence: int = 0


@dataclass
class CompleteAuthHandshakeRequest(Message):
    challenge: bytes = b""
    signature: bytes = b""


@dataclass
class CompleteAuthHandshakeResponse(Message):
    session_token: str = ""
    expires_at: Time = 0


@dataclass
class ControlCommand(Message):
    command_id: str = ""
    payload: bytes = b""
    actor: str = ""
    sequence: int = 0
    expires_at: Time = 0
    signature: bytes = b""
