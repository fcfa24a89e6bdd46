"""The agent certificate (sections 2, 4 and 5)."""

import keys
from refusal import answering, require
from strings import check_name
from transcript import transcript


def certificate_transcript(certificate):
    return transcript("fleet/v1/agent-certificate",
                      org_id=certificate.org_id,
                      agent_id=certificate.agent_id,
                      name=certificate.name,
                      identity_pk=certificate.identity_pubkey,
                      miner_signing_pk=certificate.miner_signing_pubkey,
                      sealing_pk=certificate.sealing_pubkey,
                      key_epoch=certificate.key_epoch,
                      issued_at=certificate.issued_at)


def sign(certificate, root_seed):
    certificate.signature = keys.sign(root_seed, certificate_transcript(certificate))
    return certificate


def check(certificate):
    require(certificate.org_id >= 1, "org-id-not-positive", field="org_id")
    require(certificate.agent_id >= 1, "agent-id-not-positive", field="agent_id")
    require(certificate.key_epoch >= 1, "key-epoch-not-positive", field="key_epoch")
    require(certificate.issued_at >= 0, "time-negative", field="issued_at")
    with answering("none", "name"):
        check_name(certificate.name)
    check_key_set(certificate)


def check_key_set(holder):
    """The three public keys of an agent, in a certificate or a request."""
    with answering("none", "identity_pubkey"):
        keys.check_ed25519(holder.identity_pubkey)
    with answering("none", "miner_signing_pubkey"):
        keys.check_ed25519(holder.miner_signing_pubkey)
    with answering("none", "sealing_pubkey"):
        keys.check_x25519(holder.sealing_pubkey)
    # Section 2. A sealing key is of another curve; its bytes are compared all the same.
    require(holder.identity_pubkey != holder.miner_signing_pubkey,
            "key-in-two-roles",
            field="miner_signing_pubkey")
    require(holder.sealing_pubkey not in (holder.identity_pubkey, holder.miner_signing_pubkey),
            "key-in-two-roles",
            field="sealing_pubkey")


def verify(certificate, root_pubkey, org_id, agent_id, identity_pubkey, miner_signing_pubkey, sealing_pubkey):
    """A certificate that an agent takes for its own: its org, its id and its three keys, under the root."""
    check(certificate)
    require(certificate.org_id == org_id, "other-org", field="org_id")
    require(certificate.agent_id == agent_id, "other-agent", field="agent_id")
    for field, own in (("identity_pubkey", identity_pubkey), ("miner_signing_pubkey", miner_signing_pubkey),
                       ("sealing_pubkey", sealing_pubkey)):
        require(getattr(certificate, field) == own, "other-key", field=field)
    with answering("none", "signature"):
        keys.verify(root_pubkey, certificate_transcript(certificate), certificate.signature)
