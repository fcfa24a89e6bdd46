"""The handshake: the whole of it, and what an agent makes of the answer to Begin (section 5 step 1)."""

import edwards
import handshake
import keys
import wire
from cases import world
from transcript import sha256

NOT_REDUCED = (edwards.P + 3).to_bytes(32, "little")


def add_cases(book):
    whole(book)
    answers(book)
    manifests_and_certificates(book)
    server_signatures(book)


def whole(book):
    for name, why, optional, changes in (
        ("whole", "A handshake from its draws to every byte.", world.OPTIONAL_SEEDS, {}),
        ("whole-first",
         "The first handshake of an agent, in an organization with neither recovery nor operator "
         "keys: last_sequence is 0.", [], {"last_sequence": 0}),
        ("whole-greatest", "Integers as great as JSON carries them, and the last time of all.",
         world.OPTIONAL_SEEDS, {
             "agent_id": 2**53 - 1, "last_sequence": 2**53 - 1,
             "certificate": {"key_epoch": 2**53 - 1, "issued_at": wire.LAST_TIME}
         }),
    ):

        def given(draws):
            told = world.flow(
                draws, [*world.FLOW_SEEDS, *optional, "client_nonce", "challenge", "session_token_random"])
            return {
                **told, "server_time": world.SERVER_TIME, "completed_at": world.SERVER_TIME + 250,
                "last_sequence": world.SERVER_TIME - 1, **changes
            }

        book.accept(f"handshake/{name}", "handshake", "5", why, given)


def sign_server(told, draws, seed="command_seed", role="server", **changes):
    """The server's signature over the answer as it is, or over other fields of the transcript."""
    answer = wire.BeginAuthHandshakeResponse.from_json(told["answer"])
    agent = told["agent"]
    manifest = answer.org_manifest
    values = {
        "command_pk": manifest.command_pubkey, "agent_id": agent["agent_id"],
        "identity_pk": bytes.fromhex(agent["identity_pubkey"]),
        "client_nonce": bytes.fromhex(agent["client_nonce"]), "challenge": answer.challenge,
        "server_time": answer.server_time, "expires_at": answer.expires_at,
        "last_sequence": answer.last_sequence,
        "org_manifest_sha256": sha256(handshake.manifests.manifest_transcript(manifest)), **changes
    }
    signature = keys.sign(draws(seed), handshake.auth_transcript(role, **values))
    told["answer"]["server_signature"] = signature.hex()
    return told


def given(draws, manifest=None, certificate=None, pinned=None, elapsed=250, command="command_seed", **answer):
    manifest = manifest or world.manifest(draws)
    told = {
        "agent": {
            "agent_id": world.AGENT_ID,
            **world.hexed(world.agent_keys(draws)), "client_nonce": draws("client_nonce").hex(),
            "pinned": (pinned or world.manifest(draws)).to_json()
        }, "answer": wire.BeginAuthHandshakeResponse(draws("challenge"),
                                                     world.SERVER_TIME + handshake.CHALLENGE_LIFE,
                                                     world.SERVER_TIME, b"", manifest, certificate
                                                     or world.certificate(draws),
                                                     world.SERVER_TIME - 1).to_json(), "elapsed": elapsed
    }
    told["answer"].update(answer)
    return sign_server(told, draws, command)


def refusing(book):
    def refuse(name, why, fault, reason, field, good=given):
        book.refuse(f"handshake/{name}", "begin-answer", "5", why, good, fault, "agent-refuses", reason,
                    field)

    return refuse


def answers(book):
    refuse = refusing(book)
    book.accept("handshake/answer", "begin-answer", "5", "An answer to Begin as it should be.", given)
    book.accept("handshake/answer-no-sequence", "begin-answer", "5", "last_sequence is 0 for none.",
                lambda d: given(d, last_sequence=0))
    book.accept("handshake/answer-after-30-s", "begin-answer", "5",
                "A reply that is 30 s old is not older than that.", lambda d: given(d, elapsed=30_000))
    book.accept("handshake/answer-after-rotation", "begin-answer", "5", "A certificate of a later key_epoch.",
                lambda d: given(d, certificate=world.certificate(d, key_epoch=2)))

    refuse("answer-too-old", "Replies older than 30 s are dropped.",
           lambda told, d: told.update(elapsed=30_001), "reply-too-old", "")
    refuse("answer-challenge-31-bytes", "A challenge is exactly 32 bytes.",
           lambda told, d: given(d, challenge=told["answer"]["challenge"][:62]), "challenge-length",
           "challenge")
    refuse("answer-challenge-missing", "A challenge is exactly 32 bytes, never absent.",
           lambda told, d: given(d, challenge=""), "challenge-length", "challenge")
    refuse("answer-last-sequence-negative",
           "Integers are never negative; it is signed over the eight bytes that a "
           "cast makes of -1.", negative_sequence, "integer-negative", "last_sequence")
    refuse("answer-manifest-missing", "Without a manifest there is no command key to verify with.",
           lambda told, d: told["answer"].pop("org_manifest") and None, "manifest-missing", "org_manifest")
    refuse("answer-certificate-missing", "The agent verifies its own certificate before it signs.",
           lambda told, d: told["answer"].pop("agent_certificate") and None, "certificate-missing",
           "agent_certificate")


def negative_sequence(told, draws):
    told = sign_server(told, draws, last_sequence=b"\xff" * 8)
    told["answer"]["last_sequence"] = -1
    return told


def manifests_and_certificates(book):
    refuse = refusing(book)
    book.accept(
        "handshake/answer-new-command-key", "begin-answer", "5", "A newer manifest brings another command "
        "key, which signs the answer.", lambda d: given(
            d, later(d, command_pubkey=world.public(d, "new_command_seed")), command="new_command_seed"))
    book.accept("handshake/answer-newer-manifest", "begin-answer", "5",
                "A newer manifest revokes another agent.",
                lambda d: given(d, later(d, revoked=[d("revoked-1", 16)])))

    refuse(
        "answer-old-command-key", "A newer manifest brings another command key: the old one counts no more.",
        lambda told, d: sign_server(told, d, "command_seed"), "signature-invalid", "server_signature", lambda
        d: given(d, later(d, command_pubkey=world.public(d, "new_command_seed")), command="new_command_seed"))
    for name, why, manifest, reason, field in (
        ("lower-epoch", "A lower epoch: the server was restored from a backup.",
         lambda d: world.manifest(d, epoch=world.EPOCH - 1), "epoch-lower", "epoch"),
        ("same-epoch-other-content", "The same epoch with other content.",
         lambda d: world.manifest(d, revoked=[]), "same-epoch-other-content", "epoch"),
        ("other-root", "Another root, all else as it should be.", lambda d: later(d, "other_root_seed"),
         "other-root", "root_pubkey"),
        ("other-org", "Another organization of the same root.", lambda d: later(d, org_id=8), "other-org",
         "org_id"),
        ("manifest-unsigned", "A newer manifest that nobody signed.", lambda d: without_signature(later(d)),
         "signature-length", "signature"),
        ("manifest-by-command-key",
         "A newer manifest, signed by the command key: a server alone cannot make one.",
         lambda d: signed_by_command_key(later(d), d), "signature-invalid", "signature"),
        ("command-key-not-canonical", "A newer manifest with a command key whose y is not below p.",
         lambda d: later(d, command_pubkey=NOT_REDUCED), "key-not-canonical", "command_pubkey"),
    ):
        refuse(f"answer-{name}", why, lambda told, d: given(d, manifest(d)), reason, field)
    for name, why, certificate, reason, field in (
        ("other-agent", "The certificate of another agent_id.",
         lambda d: world.certificate(d, agent_id=world.AGENT_ID + 1), "other-agent", "agent_id"),
        ("other-org", "The certificate of another organization.", lambda d: world.certificate(d, org_id=8),
         "other-org", "org_id"),
        ("other-identity-key", "A certificate for another identity key.",
         lambda d: world.certificate(d, identity_pubkey=world.public(d, "other_seed")), "other-key",
         "identity_pubkey"),
        ("other-miner-signing-key", "A certificate for another miner-signing key.",
         lambda d: world.certificate(d, miner_signing_pubkey=world.public(d, "other_seed")), "other-key",
         "miner_signing_pubkey"),
        ("other-sealing-key", "A certificate for another sealing key.",
         lambda d: world.certificate(d, sealing_pubkey=world.public(d, "other_scalar")), "other-key",
         "sealing_pubkey"),
        ("other-root", "A certificate that another root signed.",
         lambda d: world.certificate(d, "other_root_seed"), "signature-invalid", "signature"),
        ("by-command-key", "A certificate that the command key signed.",
         lambda d: world.certificate(d, "command_seed"), "signature-invalid", "signature"),
        ("unsigned", "A certificate that nobody signed.", lambda d: without_signature(world.certificate(d)),
         "signature-length", "signature"),
        ("key-epoch-0", "key_epoch starts at 1.", lambda d: world.certificate(d, key_epoch=0),
         "key-epoch-not-positive", "key_epoch"),
    ):
        refuse(f"answer-certificate-{name}", why, lambda told, d: given(d, certificate=certificate(d)),
               reason, field)


def later(draws, root="root_seed", **changes):
    return world.manifest(draws, root, **{"epoch": world.EPOCH + 1, **changes})


def without_signature(message):
    message.signature = b""
    return message


def signed_by_command_key(manifest, draws):
    return handshake.manifests.sign(manifest, draws("command_seed"))


def server_signatures(book):
    refuse = refusing(book)

    def over(**changes):
        return lambda told, d: sign_server(
            told, d, **{name: value(d) if callable(value) else value
                        for name, value in changes.items()})

    for name, why, changes in (
        ("other-nonce", "Over another nonce: a replayed answer.",
         {"client_nonce": lambda d: d("other_nonce")}),
        ("other-challenge", "Over another challenge.", {"challenge": lambda d: d("other_challenge")}),
        ("other-agent-id", "Over another agent_id.", {"agent_id": world.AGENT_ID + 1}),
        ("other-identity", "Over another identity key.",
         {"identity_pk": lambda d: world.public(d, "other_seed")}),
        ("other-command-key", "Over another command key, by the right one.",
         {"command_pk": lambda d: world.public(d, "other_command_seed")}),
        ("other-last-sequence", "Over another last_sequence.", {"last_sequence": world.SERVER_TIME}),
        ("no-last-sequence", "Over a last_sequence of 0.", {"last_sequence": 0}),
        ("other-server-time", "Over another server_time.", {"server_time": world.SERVER_TIME + 1}),
        ("other-expires-at", "Over another expires_at.", {"expires_at": world.SERVER_TIME + 30_001}),
        ("times-exchanged", "Over the two times in each other's place.",
         {"server_time": world.SERVER_TIME + 30_000, "expires_at": world.SERVER_TIME}),
        ("other-manifest", "Over the hash of another manifest.",
         {"org_manifest_sha256": lambda d: d("other_manifest_hash")}),
    ):
        refuse(f"server-signature-{name}", why, over(**changes), "signature-invalid", "server_signature")
    for name, why, seed in (("by-stranger", "By a key that nobody knows.", "other_command_seed"),
                            ("by-root", "By the root, which signs no handshakes.",
                             "root_seed"), ("by-operator", "By an operator key.", "operator_seed-1")):
        refuse(f"server-signature-{name}", why, lambda told, d: sign_server(told, d, seed),
               "signature-invalid", "server_signature")
    refuse("server-signature-agents-domain", "By the command key, under the agent's domain.",
           lambda told, d: sign_server(told, d, role="agent"), "signature-invalid", "server_signature")

    def change(function):
        def fault(told, draws):
            data = bytes.fromhex(told["answer"]["server_signature"])
            told["answer"]["server_signature"] = function(data).hex()

        return fault

    for name, why, function, reason in (
        ("bit", "One bit is flipped.", lambda s: world.flip(s, 33), "signature-invalid"),
        ("malleated", "S + L in place of S.", world.malleated, "signature-s-not-reduced"),
        ("missing", "No signature at all.", lambda s: b"", "signature-length"),
        ("63-bytes", "A signature is exactly 64 bytes.", lambda s: s[:63], "signature-length"),
    ):
        refuse(f"server-signature-{name}", why, change(function), reason, "server_signature")
