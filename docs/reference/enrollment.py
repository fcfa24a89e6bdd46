"""Section 4: enrollment, as the agent and as the server see it."""

import certificate as certificates
import hpke
import keys
import manifest as manifests
import strings
from refusal import (AGENT_REFUSES, FAILED_PRECONDITION, INVALID_ARGUMENT, RESOURCE_EXHAUSTED,
                     UNAUTHENTICATED, answering, require)
from transcript import sha256, transcript
from wire import RegisterRequest

# Step 3, the agent: what it sends.


def proof_transcript(role, request):
    """`role` is `identity` or `miner-signing`; both sign the same fields."""
    return transcript(f"fleet/v1/enroll/{role}",
                      enrollment_token_sha256=sha256(request.enrollment_token.encode()),
                      name=request.name,
                      identity_pk=request.identity_pubkey,
                      miner_signing_pk=request.miner_signing_pubkey,
                      sealing_pk=request.sealing_pubkey)


def make_request(token, name, identity_seed, miner_signing_seed, sealing_scalar):
    request = RegisterRequest(token, name, keys.ed25519_public(identity_seed),
                              keys.ed25519_public(miner_signing_seed), keys.x25519_public(sealing_scalar))
    request.identity_proof = keys.sign(identity_seed, proof_transcript("identity", request))
    request.miner_signing_proof = keys.sign(miner_signing_seed, proof_transcript("miner-signing", request))
    return request


# Step 3, the server: what it takes. Returns "first" or "repeat".

KEY_FIELDS = ("identity_pubkey", "miner_signing_pubkey", "sealing_pubkey")


def check_limits(request):
    """Section 10, and section 4's last paragraph. All of it is judged before anything is looked up."""
    require(20 <= len(request.enrollment_token) <= 512, "token-length", INVALID_ARGUMENT, "enrollment_token")
    with answering(INVALID_ARGUMENT, "name"):
        strings.check_name(request.name)
    for field in KEY_FIELDS:
        require(len(getattr(request, field)) == 32, "key-length", INVALID_ARGUMENT, field)
    for field in ("identity_proof", "miner_signing_proof"):
        require(len(getattr(request, field)) == 64, "signature-length", INVALID_ARGUMENT, field)


def check_proofs(request):
    with answering(UNAUTHENTICATED, "identity_proof"):
        keys.verify(request.identity_pubkey, proof_transcript("identity", request), request.identity_proof)
    with answering(UNAUTHENTICATED, "miner_signing_proof"):
        keys.verify(request.miner_signing_pubkey, proof_transcript("miner-signing", request),
                    request.miner_signing_proof)


def judge_request(request, server):
    check_limits(request)
    enrollment = server["enrollment"]
    known = sha256(request.enrollment_token.encode()).hex() == enrollment["code_sha256"]
    require(known, "code-unknown", UNAUTHENTICATED, "enrollment_token")
    status = enrollment["status"]
    require(status in ("PENDING", "AWAITING_CONFIRMATION", "CONFIRMED"), "code-" + status.lower(),
            UNAUTHENTICATED, "enrollment_token")
    if status != "CONFIRMED":
        require(server["now"] < enrollment["expires_at"], "code-expired", UNAUTHENTICATED, "enrollment_token")
    if status != "PENDING":
        judge_repeat(request, enrollment["agent"], server["now"])
        return "repeat"
    with answering(INVALID_ARGUMENT):
        certificates.check_key_set(request)
    check_proofs(request)
    require(request.name not in server["taken_names"], "name-taken", FAILED_PRECONDITION, "name")
    taken = {bytes.fromhex(key)
             for key in server["taken_keys"]} | set(manifests.role_keys(server["manifest"]))
    for field in KEY_FIELDS:
        require(getattr(request, field) not in taken, "key-taken", FAILED_PRECONDITION, field)
    return "first"


def judge_repeat(request, agent, now):
    for field in ("name", *KEY_FIELDS):
        value = getattr(request, field)
        same = (value if field == "name" else value.hex()) == agent[field]
        require(same, "code-used", UNAUTHENTICATED, field)
    check_proofs(request)
    require(now - agent["last_answered_at"] >= 1000, "asked-too-often", RESOURCE_EXHAUSTED)


# Step 3, the agent: what it takes of an answer.


def judge_answer(answer, code, pinned, identity_pubkey, miner_signing_pubkey, sealing_pubkey):
    """`pinned` is the manifest kept already; None makes this the first answer, whose manifest is judged by
    the code's pin."""
    received = answer.org_manifest
    with answering(AGENT_REFUSES):
        require(received is not None, "manifest-missing", field="org_manifest")
        if pinned is not None:
            manifests.judge_update(pinned, received)
            return
        _, _, pin = strings.parse_enrollment_code(code)
        manifests.verify(received, received.root_pubkey)
        require(manifests.pin(received)[:16] == pin, "pin-not-of-code", field="org_manifest")
        require(answer.agent_id >= 1, "agent-id-not-positive", field="agent_id")
        own = strings.fingerprint(identity_pubkey, miner_signing_pubkey, sealing_pubkey)
        with answering("none", "identity_fingerprint"):
            require(strings.parse_fingerprint(answer.identity_fingerprint) == own, "fingerprint-not-own")


# Step 5: the api_key, sealed to the agent's sealing key.


def api_key_info(agent_id, code, sealing_pk):
    return transcript("fleet/v1/api-key",
                      agent_id=agent_id,
                      enrollment_token_sha256=sha256(code.encode()),
                      sealing_pk=sealing_pk)


def seal_api_key(text, agent_id, code, sealing_pk, ephemeral):
    return hpke.seal(ephemeral, sealing_pk, api_key_info(agent_id, code, sealing_pk), b"",
                     text.encode("ascii"))


def open_api_key(sealed, agent_id, code, sealing_scalar):
    info = api_key_info(agent_id, code, keys.x25519_public(sealing_scalar))
    with answering(AGENT_REFUSES, "sealed_api_key"):
        return hpke.open_sealed(sealing_scalar, info, b"", sealed).decode("ascii")
