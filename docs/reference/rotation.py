"""Section 5 step 5: the three proofs of RotateKeys."""

import certificate as certificates
import keys
from refusal import FAILED_PRECONDITION, INVALID_ARGUMENT, UNAUTHENTICATED, answering, require
from transcript import transcript

# Each domain and who signs it: the old identity key, the new one, and the new miner-signing key.
ROLES = {"old": "old_identity_pubkey", "identity": "identity_pubkey", "miner-signing": "miner_signing_pubkey"}


def rotate_transcript(role, org_id, agent_id, key_epoch, old_identity_pubkey, identity_pubkey,
                      miner_signing_pubkey, sealing_pubkey):
    return transcript(f"fleet/v1/rotate/{role}",
                      org_id=org_id,
                      agent_id=agent_id,
                      key_epoch=key_epoch,
                      old_identity_pk=old_identity_pubkey,
                      identity_pk=identity_pubkey,
                      miner_signing_pk=miner_signing_pubkey,
                      sealing_pk=sealing_pubkey)


class NewKeys:
    """The three new public keys, as attributes, the way certificates and requests hold theirs."""
    def __init__(self, identity_pubkey, miner_signing_pubkey, sealing_pubkey):
        self.identity_pubkey = identity_pubkey
        self.miner_signing_pubkey = miner_signing_pubkey
        self.sealing_pubkey = sealing_pubkey


def judge(org_id, agent_id, key_epoch, old_identity_pubkey, new, proofs, taken):
    """What the server requires of the proofs (by role) and of the new keys; `taken` are the keys of all
    roles, agents and manifest, the agent's own old ones included."""
    for role, proof in proofs.items():
        require(len(proof) == 64, "signature-length", INVALID_ARGUMENT, f"{role}-proof")
    with answering(INVALID_ARGUMENT):
        certificates.check_key_set(new)
    signers = {
        "old": old_identity_pubkey, "identity": new.identity_pubkey, "miner-signing": new.miner_signing_pubkey
    }
    for role, signer in signers.items():
        signed = rotate_transcript(role, org_id, agent_id, key_epoch, old_identity_pubkey,
                                   new.identity_pubkey, new.miner_signing_pubkey, new.sealing_pubkey)
        with answering(UNAUTHENTICATED, f"{role}-proof"):
            keys.verify(signer, signed, proofs[role])
    for field in ("identity_pubkey", "miner_signing_pubkey", "sealing_pubkey"):
        require(getattr(new, field) not in taken, "key-taken", FAILED_PRECONDITION, field)
