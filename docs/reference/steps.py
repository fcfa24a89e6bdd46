"""The operations on what the root signs, and those that are one step of one side: each as in ops.py."""

import certificate as certificates
import control
import enrollment
import handshake
import keys
import manifest as manifests
import rotation
import strings
import wire
from ops import agent_keys, draw, op, signed
from refusal import AGENT_REFUSES, answering
from transcript import sha256
from wire import AgentCertificate, OrgManifest

# Manifest and certificate.


@op("manifest")
def manifest(given):
    made = OrgManifest.from_json(given["manifest"])
    made.root_pubkey = keys.ed25519_public(draw(given, "root_seed"))
    manifests.check(made)
    manifests.sign(made, draw(given, "root_seed"))
    return {
        "root_pubkey": made.root_pubkey.hex(), "pin_transcript": manifests.pin_transcript(made).hex(),
        "pin_sha256": manifests.pin(made).hex(), "protobuf": made.encode().hex(),
        **signed(manifests.manifest_transcript(made), made.signature)
    }


@op("manifest-verify")
def manifest_verify(given):
    judged = OrgManifest.from_json(given["manifest"])
    with answering(AGENT_REFUSES):
        manifests.verify(judged, bytes.fromhex(given["root_pubkey"]))
    return {
        "transcript_sha256": sha256(manifests.manifest_transcript(judged)).hex(),
        "pin_sha256": manifests.pin(judged).hex()
    }


@op("manifest-update")
def manifest_update(given):
    received = OrgManifest.from_json(given["received"])
    with answering(AGENT_REFUSES):
        manifests.judge_update(OrgManifest.from_json(given["pinned"]), received)
    return {
        "epoch": received.epoch, "transcript_sha256": sha256(manifests.manifest_transcript(received)).hex()
    }


@op("certificate")
def certificate(given):
    made = AgentCertificate.from_json(given["certificate"])
    certificates.check(made)
    certificates.sign(made, draw(given, "root_seed"))
    return {
        "root_pubkey": keys.ed25519_public(draw(given, "root_seed")).hex(), "protobuf": made.encode().hex(),
        **signed(certificates.certificate_transcript(made), made.signature)
    }


@op("certificate-verify")
def certificate_verify(given):
    judged, own = AgentCertificate.from_json(given["certificate"]), given["expected"]
    with answering(AGENT_REFUSES):
        certificates.verify(judged, bytes.fromhex(own["root_pubkey"]), own["org_id"], own["agent_id"],
                            **agent_keys(own))
    return {"transcript_sha256": sha256(certificates.certificate_transcript(judged)).hex()}


# Section 4.


@op("seal-api-key")
def seal_api_key(given):
    sealing_pk = keys.x25519_public(draw(given, "sealing_scalar"))
    sealed = enrollment.seal_api_key(given["api_key"], given["agent_id"], given["code"], sealing_pk,
                                     draw(given, "hpke_ephemeral"))
    info = enrollment.api_key_info(given["agent_id"], given["code"], sealing_pk)
    return {"info": info.hex(), "sealed_api_key": sealed.hex(), "sealing_pubkey": sealing_pk.hex()}


@op("open-api-key")
def open_api_key(given):
    return {
        "api_key": enrollment.open_api_key(bytes.fromhex(given["sealed_api_key"]), given["agent_id"],
                                           given["code"], draw(given, "sealing_scalar"))
    }


@op("register-request")
def register_request(given):
    request = wire.RegisterRequest.from_json(given["request"])
    server = {**given["server"], "manifest": OrgManifest.from_json(given["server"]["manifest"])}
    judged = enrollment.judge_request(request, server)
    return {
        "answered_as": judged,
        "identity_fingerprint": strings.fingerprint(request.identity_pubkey, request.miner_signing_pubkey,
                                                    request.sealing_pubkey)
    }


@op("register-answer")
def register_answer(given):
    agent, answer = given["agent"], wire.RegisterResponse.from_json(given["answer"])
    pinned = OrgManifest.from_json(agent["pinned"]) if "pinned" in agent else None
    enrollment.judge_answer(answer, agent["code"], pinned, **agent_keys(agent))
    kept = answer.org_manifest
    return {"epoch": kept.epoch, "transcript_sha256": sha256(manifests.manifest_transcript(kept)).hex()}


# Section 5.


@op("begin-request")
def begin_request(given):
    request = wire.BeginAuthHandshakeRequest.from_json(given["request"])
    handshake.judge_begin(request, given["server"])
    return {"protobuf": request.encode().hex()}


@op("begin-answer")
def begin_answer(given):
    agent = given["agent"]
    data = handshake.judge_begin_answer(wire.BeginAuthHandshakeResponse.from_json(given["answer"]),
                                        agent["agent_id"],
                                        client_nonce=bytes.fromhex(agent["client_nonce"]),
                                        pinned=OrgManifest.from_json(agent["pinned"]),
                                        elapsed=given["elapsed"],
                                        **agent_keys(agent))
    return {
        **signed(data, keys.sign(draw(given, "identity_seed"), data)), "kept_epoch": given["answer"]
        ["org_manifest"]["epoch"]
    }


@op("complete-request")
def complete_request(given):
    handshake.judge_complete(wire.CompleteAuthHandshakeRequest.from_json(given["request"]), given["server"])
    token = strings.session_token(draw(given, "session_token_random"))
    answer = wire.CompleteAuthHandshakeResponse(token, given["server"]["now"] + handshake.SESSION_LIFE)
    return {
        "session_token": token, "session_token_sha256": sha256(token.encode()).hex(),
        "expires_at": answer.expires_at, "protobuf": answer.encode().hex()
    }


def _new_keys(given):
    return rotation.NewKeys(**agent_keys(given))


@op("rotate")
def rotate(given):
    seeds = {
        "old": draw(given, "old_identity_seed"), "identity": draw(given, "identity_seed"),
        "miner-signing": draw(given, "miner_signing_seed")
    }
    old, identity, miner_signing = (keys.ed25519_public(seed) for seed in seeds.values())
    sealing = keys.x25519_public(draw(given, "sealing_scalar"))
    out = {
        "old_identity_pubkey": old.hex(), "identity_pubkey": identity.hex(),
        "miner_signing_pubkey": miner_signing.hex(), "sealing_pubkey": sealing.hex(),
        "identity_fingerprint": strings.fingerprint(identity, miner_signing, sealing)
    }
    for role, seed in seeds.items():
        data = rotation.rotate_transcript(role, given["org_id"], given["agent_id"], given["key_epoch"], old,
                                          identity, miner_signing, sealing)
        out[role] = signed(data, keys.sign(seed, data))
    return out


@op("rotate-verify")
def rotate_verify(given):
    rotation.judge(given["org_id"], given["agent_id"], given["key_epoch"],
                   bytes.fromhex(given["old_identity_pubkey"]), _new_keys(given),
                   {role: bytes.fromhex(proof)
                    for role, proof in given["proofs"].items()},
                   {bytes.fromhex(key)
                    for key in given["taken_keys"]})
    return {"verified": True}


# Section 8.


@op("command")
def command(given):
    made = wire.ControlCommand.from_json(given["command"])
    identity = keys.ed25519_public(draw(given, "identity_seed"))
    control.sign(made, draw(given, "command_seed"), given["agent_id"], identity)
    return {
        "command_pubkey": keys.ed25519_public(draw(given, "command_seed")).hex(),
        "identity_pubkey": identity.hex(), "protobuf": made.encode().hex(),
        **signed(control.command_transcript(made, given["agent_id"], identity), made.signature)
    }


@op("command-verify")
def command_verify(given):
    agent = given["agent"]
    return {
        "decision": control.judge(wire.ControlCommand.from_json(given["command"]), agent["agent_id"],
                                  bytes.fromhex(agent["identity_pubkey"]),
                                  bytes.fromhex(agent["command_pubkey"]), agent["last_sequence"],
                                  agent["server_time"], agent["records"])
    }
