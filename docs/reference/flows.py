"""The two whole flows, from their draws to every byte: the operations `register` and `handshake`."""

import certificate as certificates
import enrollment
import handshake
import keys
import manifest as manifests
import strings
import wire
from ops import draw, op, signed
from transcript import sha256
from wire import STATUS, AgentCertificate, OrgManifest


def organization(given):
    """The signed manifest of the draws root_seed, command_seed and, where drawn, recovery_scalar and
    operator_seed."""
    draws = given["draws"]
    made = OrgManifest.from_json(given["manifest"])
    made.root_pubkey = keys.ed25519_public(draw(given, "root_seed"))
    made.command_pubkey = keys.ed25519_public(draw(given, "command_seed"))
    if "recovery_scalar" in draws:
        made.recovery_pubkey = keys.x25519_public(draw(given, "recovery_scalar"))
    if "operator_seed" in draws:
        made.operator_pubkeys = [keys.ed25519_public(draw(given, "operator_seed"))]
    return manifests.sign(made, draw(given, "root_seed"))


def certify(given, manifest, public_keys):
    told = given["certificate"]
    made = AgentCertificate(manifest.org_id, given["agent_id"], given["name"], *public_keys,
                            told["key_epoch"], told["issued_at"])
    return certificates.sign(made, draw(given, "root_seed"))


def agent_public_keys(given):
    return (keys.ed25519_public(draw(given, "identity_seed")),
            keys.ed25519_public(draw(given,
                                     "miner_signing_seed")), keys.x25519_public(draw(given,
                                                                                     "sealing_scalar")))


@op("register")
def register(given):
    manifest = organization(given)
    code = strings.enrollment_code(draw(given, "code_random"), manifests.pin(manifest))
    seeds = [draw(given, name) for name in ("identity_seed", "miner_signing_seed", "sealing_scalar")]
    request = enrollment.make_request(code, given["name"], *seeds)
    public_keys = agent_public_keys(given)
    # The server takes it, as a first request under a code that it knows.
    enrollment.judge_request(
        request, {
            "now": 0, "manifest": manifest, "taken_names": [], "taken_keys": [],
            "enrollment": {"status": "PENDING", "code_sha256": sha256(code.encode()).hex(), "expires_at": 1}
        })
    shown = strings.fingerprint(*public_keys)
    answer = wire.RegisterResponse(given["agent_id"], STATUS["PENDING"], shown, manifest)
    enrollment.judge_answer(answer, code, None, *public_keys)
    # An operator confirms; the answer to the agent's next repeat brings the api_key.
    certificate = certify(given, manifest, public_keys)
    certificates.verify(certificate, manifest.root_pubkey, manifest.org_id, given["agent_id"], *public_keys)
    api_key = strings.api_key(draw(given, "api_key_digits_random"), draw(given, "api_key_random"))
    sealed = enrollment.seal_api_key(api_key, given["agent_id"], code, public_keys[2],
                                     draw(given, "hpke_ephemeral"))
    assert enrollment.open_api_key(sealed, given["agent_id"], code, seeds[2]) == api_key
    repeat = wire.RegisterResponse(given["agent_id"], STATUS["CONFIRMED"], shown, manifest, sealed)
    enrollment.judge_answer(repeat, code, manifest, *public_keys)
    return {
        "manifest": manifest.to_json(),
        "manifest_transcript_sha256": sha256(manifests.manifest_transcript(manifest)).hex(),
        "pin_sha256": manifests.pin(manifest).hex(),
        "code": code,
        "code_sha256": sha256(code.encode()).hex(),
        "identity_fingerprint": shown,
        "identity_proof": signed(enrollment.proof_transcript("identity", request), request.identity_proof),
        "miner_signing_proof": signed(enrollment.proof_transcript("miner-signing", request),
                                      request.miner_signing_proof),
        "request": request.to_json(),
        "request_protobuf": request.encode().hex(),
        "answer_protobuf": answer.encode().hex(),
        "certificate": certificate.to_json(),
        "certificate_protobuf": certificate.encode().hex(),
        "api_key": api_key,
        "api_key_sha256": sha256(api_key.encode()).hex(),
        "sealed_api_key": sealed.hex(),
        "repeat_answer_protobuf": repeat.encode().hex(),
    }


@op("handshake")
def whole_handshake(given):
    manifest = organization(given)
    public_keys = agent_public_keys(given)
    identity, agent_id, nonce = public_keys[0], given["agent_id"], draw(given, "client_nonce")
    api_key = strings.api_key(draw(given, "api_key_digits_random"), draw(given, "api_key_random"))
    begin = wire.BeginAuthHandshakeRequest(api_key, identity, nonce)
    handshake.judge_begin(
        begin, {
            "api_key": {"sha256": sha256(api_key.encode()).hex(), "subject": "agent"},
            "agent": {"status": "CONFIRMED", "identity_pubkey": identity.hex()}
        })
    answer = wire.BeginAuthHandshakeResponse(draw(given, "challenge"),
                                             given["server_time"] + handshake.CHALLENGE_LIFE,
                                             given["server_time"],
                                             org_manifest=manifest,
                                             agent_certificate=certify(given, manifest, public_keys),
                                             last_sequence=given["last_sequence"])
    by_server = handshake.answer_transcript("server", answer, agent_id, identity, nonce)
    answer.server_signature = keys.sign(draw(given, "command_seed"), by_server)
    by_agent = handshake.judge_begin_answer(answer, agent_id, *public_keys, nonce, manifest, 0)
    complete = wire.CompleteAuthHandshakeRequest(answer.challenge,
                                                 keys.sign(draw(given, "identity_seed"), by_agent))
    handshake.judge_complete(
        complete, {
            "now": given["completed_at"], "challenge": {
                "challenge": answer.challenge.hex(), "command_pk": manifest.command_pubkey.hex(),
                "agent_id": agent_id, "identity_pk": identity.hex(), "client_nonce": nonce.hex(),
                "server_time": answer.server_time, "expires_at": answer.expires_at,
                "last_sequence": answer.last_sequence, "api_key_sha256": sha256(api_key.encode()).hex(),
                "org_manifest_sha256": sha256(manifests.manifest_transcript(manifest)).hex()
            }, "agent": {
                "status": "CONFIRMED", "identity_pubkey": identity.hex(), "api_key_sha256": sha256(
                    api_key.encode()).hex()
            }
        })
    token = strings.session_token(draw(given, "session_token_random"))
    done = wire.CompleteAuthHandshakeResponse(token, given["completed_at"] + handshake.SESSION_LIFE)
    return {
        "begin_request": begin.to_json(),
        "begin_request_protobuf": begin.encode().hex(),
        "begin_answer": answer.to_json(),
        "begin_answer_protobuf": answer.encode().hex(),
        "server": signed(by_server, answer.server_signature),
        "agent": signed(by_agent, complete.signature),
        "complete_request": complete.to_json(),
        "complete_request_protobuf": complete.encode().hex(),
        "complete_answer": done.to_json(),
        "complete_answer_protobuf": done.encode().hex(),
        "session_token": token,
        "session_token_sha256": sha256(token.encode()).hex(),
    }
