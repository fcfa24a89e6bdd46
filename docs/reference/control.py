"""Section 8: what is signed of a control command, and what the agent checks before it carries one out."""

import keys
from refusal import AGENT_REFUSES, answering, require
from transcript import sha256, transcript


def command_transcript(command, agent_id, identity_pubkey):
    return transcript("fleet/v1/command",
                      agent_id=agent_id,
                      identity_pk=identity_pubkey,
                      sequence=command.sequence,
                      command_id=command.command_id,
                      actor=command.actor,
                      payload_sha256=sha256(command.payload),
                      expires_at=command.expires_at)


def sign(command, command_seed, agent_id, identity_pubkey):
    command.signature = keys.sign(command_seed, command_transcript(command, agent_id, identity_pubkey))
    return command


def judge(command, agent_id, identity_pubkey, command_pubkey, last_sequence, server_time, records):
    """In section 8's order, without the last check (every target is a device that the agent owns), which
    needs the payload's own message. `records` gives the SHA-256 of the payload of each command_id that is
    known. Returns "carry-out", or "repeat" where the stored ack is the answer."""
    with answering(AGENT_REFUSES, "signature"):
        keys.verify(command_pubkey, command_transcript(command, agent_id, identity_pubkey), command.signature)
    if command.command_id in records:
        require(records[command.command_id] == sha256(command.payload).hex(), "command-id-reused",
                AGENT_REFUSES, "command_id")
        return "repeat"
    require(command.sequence > last_sequence, "sequence-not-above", AGENT_REFUSES, "sequence")
    require(command.expires_at > server_time, "command-expired", AGENT_REFUSES, "expires_at")
    return "carry-out"
