"""Section 5: the handshake, as the agent and as the server see it."""

import certificate as certificates
import keys
import manifest as manifests
from refusal import AGENT_REFUSES, INVALID_ARGUMENT, UNAUTHENTICATED, answering, require
from transcript import sha256, transcript

CHALLENGE_LIFE = 30_000
REPLY_LIFE = 30_000
SESSION_LIFE = 3_600_000


def auth_transcript(role, command_pk, agent_id, identity_pk, client_nonce, challenge, server_time, expires_at,
                    last_sequence, org_manifest_sha256):
    """`role` is `server` or `agent`; both sign the same fields."""
    return transcript(f"fleet/v1/auth/{role}",
                      command_pk=command_pk,
                      agent_id=agent_id,
                      identity_pk=identity_pk,
                      client_nonce=client_nonce,
                      challenge=challenge,
                      server_time=server_time,
                      expires_at=expires_at,
                      last_sequence=last_sequence,
                      org_manifest_sha256=org_manifest_sha256)


def answer_transcript(role, answer, agent_id, identity_pk, client_nonce):
    """The transcript that an answer to Begin is about."""
    manifest = answer.org_manifest
    return auth_transcript(role, manifest.command_pubkey, agent_id, identity_pk, client_nonce,
                           answer.challenge, answer.server_time, answer.expires_at, answer.last_sequence,
                           sha256(manifests.manifest_transcript(manifest)))


# Step 1, the server.


def judge_begin(request, server):
    require(20 <= len(request.api_key) <= 512, "api-key-length", INVALID_ARGUMENT, "api_key")
    require(len(request.identity_pubkey) == 32, "key-length", INVALID_ARGUMENT, "identity_pubkey")
    require(len(request.client_nonce) == 32, "nonce-length", INVALID_ARGUMENT, "client_nonce")
    stored = server["api_key"]
    require(sha256(request.api_key.encode()).hex() == stored["sha256"], "api-key-unknown", UNAUTHENTICATED)
    require(stored["subject"] == "agent", "api-key-not-of-agent", UNAUTHENTICATED)
    agent = server["agent"]
    require(agent["status"] == "CONFIRMED", "agent-not-confirmed", UNAUTHENTICATED)
    require(request.identity_pubkey.hex() == agent["identity_pubkey"], "key-not-enrolled", UNAUTHENTICATED)


# Step 1, the agent: all that it requires of the answer before it signs. Returns what it then signs.


def judge_begin_answer(answer, agent_id, identity_pubkey, miner_signing_pubkey, sealing_pubkey, client_nonce,
                       pinned, elapsed):
    with answering(AGENT_REFUSES):
        require(elapsed <= REPLY_LIFE, "reply-too-old")
        require(len(answer.challenge) == 32, "challenge-length", field="challenge")
        require(answer.last_sequence >= 0, "integer-negative", field="last_sequence")
        manifest, certificate = answer.org_manifest, answer.agent_certificate
        require(manifest is not None, "manifest-missing", field="org_manifest")
        with answering("none", "org_manifest"):
            manifests.judge_update(pinned, manifest)
        require(certificate is not None, "certificate-missing", field="agent_certificate")
        with answering("none", "agent_certificate"):
            certificates.verify(certificate, pinned.root_pubkey, pinned.org_id, agent_id, identity_pubkey,
                                miner_signing_pubkey, sealing_pubkey)
        with answering("none", "server_signature"):
            keys.verify(manifest.command_pubkey,
                        answer_transcript("server", answer, agent_id, identity_pubkey, client_nonce),
                        answer.server_signature)
    return answer_transcript("agent", answer, agent_id, identity_pubkey, client_nonce)


# Step 2, the server.


def judge_complete(request, server):
    """`server["challenge"]` holds the transcript's fields as they were stored at Begin."""
    require(len(request.challenge) == 32, "challenge-length", INVALID_ARGUMENT, "challenge")
    require(len(request.signature) == 64, "signature-length", INVALID_ARGUMENT, "signature")
    stored, agent = server["challenge"], server["agent"]
    require(request.challenge.hex() == stored["challenge"], "challenge-unknown", UNAUTHENTICATED)
    signed = auth_transcript("agent", bytes.fromhex(stored["command_pk"]), stored["agent_id"],
                             bytes.fromhex(stored["identity_pk"]), bytes.fromhex(stored["client_nonce"]),
                             request.challenge, stored["server_time"], stored["expires_at"],
                             stored["last_sequence"], bytes.fromhex(stored["org_manifest_sha256"]))
    with answering(UNAUTHENTICATED, "signature"):
        keys.verify(bytes.fromhex(stored["identity_pk"]), signed, request.signature)
    require(agent["status"] == "CONFIRMED", "agent-not-confirmed", UNAUTHENTICATED)
    require(agent["identity_pubkey"] == stored["identity_pk"], "key-changed", UNAUTHENTICATED)
    require(agent["api_key_sha256"] == stored["api_key_sha256"], "api-key-changed", UNAUTHENTICATED)
    require(server["now"] < stored["expires_at"], "challenge-expired", UNAUTHENTICATED)
