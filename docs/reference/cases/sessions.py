"""What a server makes of Begin and of Complete (section 5)."""

import handshake
import keys
import wire
from cases import world
from transcript import sha256

NOW = world.SERVER_TIME + 250


def add_cases(book):
    begins(book)
    completes(book)
    signatures(book)


def begun(draws):
    api_key, identity = world.api_key(draws), world.public(draws, "identity_seed")
    request = wire.BeginAuthHandshakeRequest(api_key, identity, draws("client_nonce"))
    return {
        "request": request.to_json(), "server": {
            "api_key": {"sha256": sha256(api_key.encode()).hex(), "subject": "agent"},
            "agent": {"status": "CONFIRMED", "identity_pubkey": identity.hex()}
        }
    }


def begins(book):
    book.accept("handshake/begin", "begin-request", "5", "A Begin that the server answers.", begun)

    def refuse(name, why, fault, code, reason, field=""):
        book.refuse(f"handshake/begin-{name}", "begin-request", "10" if field else "5", why, begun, fault,
                    code, reason, field)

    def request(**changes):
        return lambda told, d: told["request"].update(
            {name: change(told["request"][name])
             for name, change in changes.items()})

    def api_key(text):
        """The server even knows this api_key: it is its length that is refused."""
        def fault(told, draws):
            told["request"]["api_key"] = text
            told["server"]["api_key"]["sha256"] = sha256(text.encode()).hex()

        return fault

    refuse("api-key-unknown", "An api_key that the server does not know.",
           lambda told, d: told["server"]["api_key"].update(sha256=d("other_hash").hex()), "unauthenticated",
           "api-key-unknown")
    refuse("api-key-of-user", "The api_key of a user.",
           lambda told, d: told["server"]["api_key"].update(subject="user"), "unauthenticated",
           "api-key-not-of-agent")
    for status in ("PENDING", "REVOKED", "DISCARDED"):
        refuse(f"agent-{status.lower()}", f"The agent is {status}.",
               lambda told, d: told["server"]["agent"].update(status=status), "unauthenticated",
               "agent-not-confirmed")
    refuse("other-key", "Not the identity key that is enrolled.",
           lambda told, d: told["request"].update(identity_pubkey=world.public(d, "other_seed").hex()),
           "unauthenticated", "key-not-enrolled")
    refuse(
        "miner-signing-key", "The agent's other Ed25519 key.",
        lambda told, d: told["request"].update(identity_pubkey=world.public(d, "miner_signing_seed").hex()),
        "unauthenticated", "key-not-enrolled")
    for name, field, reason in (("nonce", "client_nonce", "nonce-length"), ("key", "identity_pubkey",
                                                                            "key-length")):
        for length, change in (("31-bytes", lambda hexes: hexes[:62]),
                               ("33-bytes", lambda hexes: hexes + "00"), ("missing", lambda hexes: "")):
            refuse(f"{name}-{length}", "It is exactly 32 bytes.", request(**{field: change}),
                   "invalid_argument", reason, field)
    refuse("api-key-19-characters", "An api_key has at least 20 characters.", api_key("f" * 19),
           "invalid_argument", "api-key-length", "api_key")
    refuse("api-key-513-characters", "An api_key has at most 512 characters.", api_key("f" * 513),
           "invalid_argument", "api-key-length", "api_key")


def stored(draws):
    """The challenge, as Begin stored it: the fields of the transcript, and whose api_key it was."""
    manifest = world.manifest(draws)
    return {
        "command_pk": manifest.command_pubkey.hex(), "agent_id": world.AGENT_ID,
        "identity_pk": world.public(draws,
                                    "identity_seed").hex(), "client_nonce": draws("client_nonce").hex(),
        "challenge": draws("challenge").hex(), "server_time": world.SERVER_TIME,
        "expires_at": world.SERVER_TIME + handshake.CHALLENGE_LIFE, "last_sequence": world.SERVER_TIME - 1,
        "org_manifest_sha256": sha256(handshake.manifests.manifest_transcript(manifest)).hex()
    }


def signed(draws, seed="identity_seed", role="agent", **changes):
    fields = {**stored(draws), **changes}
    values = {
        name: bytes.fromhex(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return keys.sign(draws(seed), handshake.auth_transcript(role, **values)).hex()


def given(draws, now=NOW, **changes):
    challenge, api_key_sha256 = stored(draws), draws("api_key_hash").hex()
    draws("session_token_random")
    return {
        "request": {"challenge": challenge["challenge"], "signature": signed(draws, **changes)}, "server": {
            "now": now, "manifest": world.manifest(draws).to_json(),
            "challenge": {**challenge, "api_key_sha256": api_key_sha256}, "agent": {
                "status": "CONFIRMED", "identity_pubkey": challenge["identity_pk"],
                "api_key_sha256": api_key_sha256
            }
        }
    }


def completes(book):
    book.accept("handshake/complete", "complete-request", "5", "A Complete that opens a session.", given)
    book.accept("handshake/complete-in-time", "complete-request", "5",
                "A millisecond before the challenge expires.",
                lambda d: given(d, world.SERVER_TIME + handshake.CHALLENGE_LIFE - 1))

    def refuse(name, why, fault, reason, code="unauthenticated", field=""):
        book.refuse(f"handshake/complete-{name}", "complete-request",
                    "10" if code == "invalid_argument" else "5", why, given, fault, code, reason, field)

    refuse("expired", "A millisecond after the challenge expired.",
           lambda told, d: told["server"].update(now=world.SERVER_TIME + handshake.CHALLENGE_LIFE + 1),
           "challenge-expired")
    refuse("challenge-unknown", "Not the challenge that is stored, all else as it should be.",
           lambda told, d: told["request"].update(challenge=world.flip(told["request"]["challenge"])),
           "challenge-unknown")
    for status in ("PENDING", "REVOKED"):
        refuse(f"agent-{status.lower()}", f"The agent has become {status} since Begin.",
               lambda told, d: told["server"]["agent"].update(status=status), "agent-not-confirmed")
    refuse("key-changed", "The agent's identity key has changed since Begin.",
           lambda told, d: told["server"]["agent"].update(identity_pubkey=world.public(d, "new_seed").hex()),
           "key-changed")
    refuse("api-key-changed", "The agent's api_key is not that of Begin any more.",
           lambda told, d: told["server"]["agent"].update(api_key_sha256=d("new_api_key_hash").hex()),
           "api-key-changed")

    def request(field, change):
        return lambda told, d: told["request"].update({field: change(told["request"][field])})

    for field, size in (("challenge", 32), ("signature", 64)):
        for name, change in ((f"{size - 1}-bytes", lambda hexes: hexes[:-2]),
                             (f"{size + 1}-bytes", lambda hexes: hexes + "00"), ("missing",
                                                                                 lambda hexes: "")):
            refuse(f"{field}-{name}", f"It is exactly {size} bytes.", request(field, change),
                   f"{field}-length", "invalid_argument", field)


def signatures(book):
    def refuse(name, why, signature, reason="signature-invalid"):
        book.refuse(f"handshake/agent-signature-{name}", "complete-request", "5", why, given,
                    lambda told, d: told["request"].update(signature=signature(told, d)), "unauthenticated",
                    reason, "signature")

    refuse("by-stranger", "By another key.", lambda told, d: signed(d, "other_seed"))
    refuse("by-miner-signing-key", "By the agent's other key.",
           lambda told, d: signed(d, "miner_signing_seed"))
    refuse("by-command-key", "By the command key.", lambda told, d: signed(d, "command_seed"))
    refuse("servers-domain", "By the agent's key, under the server's domain.",
           lambda told, d: signed(d, role="server"))
    refuse("servers-signature", "The server's own signature, sent back.",
           lambda told, d: signed(d, "command_seed", "server"))
    for name, why, changes in (
        ("other-challenge", "Over another challenge.", {"challenge": lambda d: d("other_challenge").hex()}),
        ("other-nonce", "Over another nonce.", {"client_nonce": lambda d: d("other_nonce").hex()}),
        ("other-agent-id", "Over another agent_id.", {"agent_id": lambda d: world.AGENT_ID + 1}),
        ("other-identity", "Over another identity key.",
         {"identity_pk": lambda d: world.public(d, "other_seed").hex()}),
        ("other-command-key", "Over another command key.",
         {"command_pk": lambda d: world.public(d, "other_command_seed").hex()}),
        ("other-server-time", "Over another server_time.", {"server_time": lambda d: world.SERVER_TIME + 1}),
        ("other-expires-at", "Over another expires_at.", {"expires_at": lambda d: world.SERVER_TIME + 30_001
                                                          }),
        ("other-last-sequence", "Over another last_sequence.", {"last_sequence": lambda d: 0}),
        ("other-manifest", "Over the hash of another manifest.",
         {"org_manifest_sha256": lambda d: d("other_manifest_hash").hex()}),
    ):
        refuse(name, why, lambda told, d: signed(d, **{field: value(d) for field, value in changes.items()}))
    refuse("over-challenge-alone", "Over the 32 bytes of the challenge, without a transcript.",
           lambda told, d: keys.sign(d("identity_seed"), d("challenge")).hex())
    refuse("bit", "One bit is flipped.", lambda told, d: world.flip(told["request"]["signature"], 33))
    refuse("malleated", "S + L in place of S.",
           lambda told, d: world.malleated(bytes.fromhex(told["request"]["signature"])).hex(),
           "signature-s-not-reduced")
