"""The org manifest (sections 2, 4 and 5) and the pin that an enrollment code carries of it."""

import keys
from refusal import answering, require
from strings import check_name
from transcript import sha256, transcript


def manifest_transcript(manifest):
    return transcript("fleet/v1/org-manifest",
                      org_id=manifest.org_id,
                      org_name=manifest.org_name,
                      epoch=manifest.epoch,
                      root_pk=manifest.root_pubkey,
                      command_pk=manifest.command_pubkey,
                      recovery_pk=manifest.recovery_pubkey,
                      operator_pks=manifest.operator_pubkeys,
                      revoked=manifest.revoked)


def pin_transcript(manifest):
    return transcript("fleet/v1/pin",
                      org_id=manifest.org_id,
                      root_pk=manifest.root_pubkey,
                      command_pk=manifest.command_pubkey,
                      recovery_pk=manifest.recovery_pubkey,
                      operator_pks=manifest.operator_pubkeys)


def pin(manifest):
    """The whole hash; a code carries its first 16 bytes."""
    return sha256(pin_transcript(manifest))


def sign(manifest, root_seed):
    manifest.signature = keys.sign(root_seed, manifest_transcript(manifest))
    return manifest


def role_keys(manifest):
    """Every key that a manifest gives a role to."""
    recovery = [manifest.recovery_pubkey] if manifest.recovery_pubkey else []
    return [manifest.root_pubkey, manifest.command_pubkey, *recovery, *manifest.operator_pubkeys]


def check(manifest):
    """What must hold of a manifest's fields, whoever signed it."""
    require(manifest.org_id >= 1, "org-id-not-positive", field="org_id")
    require(manifest.epoch >= 1, "epoch-not-positive", field="epoch")
    with answering("none", "org_name"):
        check_name(manifest.org_name)
    with answering("none", "root_pubkey"):
        keys.check_ed25519(manifest.root_pubkey)
    with answering("none", "command_pubkey"):
        keys.check_ed25519(manifest.command_pubkey)
    if manifest.recovery_pubkey:
        with answering("none", "recovery_pubkey"):
            keys.check_x25519(manifest.recovery_pubkey)
    for key in manifest.operator_pubkeys:
        with answering("none", "operator_pubkeys"):
            keys.check_ed25519(key)
    require(strictly_ascending(manifest.operator_pubkeys), "not-ascending", field="operator_pubkeys")
    require(all(len(item) == 16 for item in manifest.revoked), "revoked-length", field="revoked")
    require(strictly_ascending(manifest.revoked), "not-ascending", field="revoked")
    roles = role_keys(manifest)
    require(len(set(roles)) == len(roles), "key-in-two-roles")


def strictly_ascending(items):
    return all(a < b for a, b in zip(items, items[1:]))


def verify(manifest, root_pubkey):
    """A manifest under the root that is pinned or, for the first, under the root that it names itself, which
    the pin of the enrollment code must then vouch for."""
    check(manifest)
    require(manifest.root_pubkey == root_pubkey, "other-root", field="root_pubkey")
    with answering("none", "signature"):
        keys.verify(root_pubkey, manifest_transcript(manifest), manifest.signature)


def judge_update(pinned, received):
    """Section 5 step 1: whether an agent that keeps `pinned` now keeps `received`."""
    require(received.org_id == pinned.org_id, "other-org", field="org_id")
    verify(received, pinned.root_pubkey)
    require(received.epoch >= pinned.epoch, "epoch-lower", field="epoch")
    if received.epoch == pinned.epoch:
        require(manifest_transcript(received) == manifest_transcript(pinned),
                "same-epoch-other-content",
                field="epoch")
