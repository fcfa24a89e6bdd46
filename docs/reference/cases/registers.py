"""Enrollment: the whole of it, and what a server makes of a Register request (section 4)."""

import edwards
import enrollment
import keys
from cases import world
from transcript import sha256

NOW = world.SERVER_TIME
SMALL = edwards.encode(edwards.small_order_points()[1])
SMALL_NOT_CANONICAL = (edwards.P + 1).to_bytes(32, "little")
LOW_ORDER_U = (1).to_bytes(32, "little")


def add_cases(book):
    whole(book)
    limits(book)
    codes(book)
    key_rules(book)
    proofs(book)
    uniqueness(book)
    repeats(book)


def whole(book):
    for name, why, optional, changes in (
        ("whole", "An enrollment from its draws to every byte.", world.OPTIONAL_SEEDS, {}),
        ("whole-without-recovery", "An organization with neither recovery nor operator keys.", [], {}),
        ("whole-least", "The least agent_id and the shortest names.", world.OPTIONAL_SEEDS, {
            "agent_id": 1, "name": "a",
            "manifest": {"org_id": 1, "org_name": "b", "epoch": 1, "revoked": ["00" * 16, "ff" * 16]}
        }),
        ("whole-name-beyond-ascii", "Names of one to four bytes a character, not normalised.",
         world.OPTIONAL_SEEDS, {"name": "ra\u0308ck \u2116 \U0001f98a", "agent_id": 2**53 - 1}),
    ):
        book.accept(
            f"register/{name}", "register", "4", why, lambda d: world.flow(
                d, [*world.FLOW_SEEDS, *optional, "code_random", "hpke_ephemeral"], **changes))


def given(draws, token=None, **changes):
    """A first request that the server takes, with `changes` to what world.request is told."""
    manifest = world.manifest(draws)
    token = token or world.code(draws, manifest)
    return {
        "request": world.request(draws, token, **changes).to_json(), "server": {
            "now": NOW, "manifest": manifest.to_json(), "taken_names": ["rack 1"],
            "taken_keys": [public(draws, "stranger_seed"),
                           public(draws, "stranger_scalar")], "enrollment": {
                               "code_sha256": sha256(token.encode()).hex(), "status": "PENDING",
                               "expires_at": NOW + 1000
                           }
        }
    }


def public(draws, name):
    return world.public(draws, name).hex()


def resign(told, draws, identity="identity_seed", miner_signing="miner_signing_seed", **changes):
    """The request with other fields, and with proofs over what it says now."""
    request = enrollment.RegisterRequest.from_json({**told["request"], **changes})
    request.identity_proof = keys.sign(draws(identity), enrollment.proof_transcript("identity", request))
    request.miner_signing_proof = keys.sign(draws(miner_signing),
                                            enrollment.proof_transcript("miner-signing", request))
    return {**told, "request": request.to_json()}


def refusing(book, code, section="4"):
    def refuse(name, why, fault, reason, field="", good=given):
        book.refuse(f"register/{name}", "register-request", section, why, good, fault, code, reason, field)

    return refuse


def limits(book):
    refuse = refusing(book, "invalid_argument", "10")

    def token(text):
        def fault(told, draws):
            """The server even knows this token: it is its length that is refused."""
            told = resign(told, draws, enrollment_token=text)
            told["server"]["enrollment"]["code_sha256"] = sha256(text.encode()).hex()
            return told

        return fault

    refuse("token-19-characters", "An enrollment_token has at least 20 characters.", token("f" * 19),
           "token-length", "enrollment_token")
    refuse("token-513-characters", "An enrollment_token has at most 512 characters.", token("f" * 513),
           "token-length", "enrollment_token")
    for name, why, text, reason in (
        ("name-empty", "A name has at least one character.", "", "name-length"),
        ("name-256-characters", "A name has at most 255 characters.", "a" * 256, "name-length"),
        ("name-reordered", "A name holds nothing that reorders text.", "rack\u202e7", "name-character"),
        ("name-isolated", "A name holds nothing that reorders text.", "rack\u20667", "name-character"),
        ("name-with-line-end", "A name holds no control character.", "rack 7\n", "name-character"),
        ("name-with-nul", "A name holds no control character.", "rack\u00007", "name-character"),
    ):
        refuse(name, why, lambda told, d: resign(told, d, name=text), reason, "name")
    for field in world.ROLES:
        for name, why, change in (("31-bytes", "A key is exactly 32 bytes.", lambda hexes: hexes[:62]),
                                  ("33-bytes", "A key is exactly 32 bytes.", lambda hexes: hexes + "00"),
                                  ("missing", "A key is exactly 32 bytes, never absent.", lambda hexes: "")):
            refuse(f"{field.replace('_', '-')}-{name}", why,
                   lambda told, d: resign(told, d, **{field: change(told["request"][field])}), "key-length",
                   field)
    for field in ("identity_proof", "miner_signing_proof"):
        for name, change in (("63-bytes", lambda hexes: hexes[:126]),
                             ("65-bytes", lambda hexes: hexes + "00"), ("missing", lambda hexes: "")):
            refuse(f"{field.replace('_', '-')}-{name}", "A proof is exactly 64 bytes.",
                   lambda told, d: told["request"].update({field: change(told["request"][field])}),
                   "signature-length", field)


def codes(book):
    refuse = refusing(book, "unauthenticated")
    book.accept("register/first", "register-request", "4", "A first request that the server takes.", given)
    book.accept("register/just-in-time", "register-request", "4", "The code is good until it expires.",
                lambda d: expiring(given(d), NOW + 1))

    def enrollment_is(**changes):
        return lambda told, d: told["server"]["enrollment"].update(changes)

    refuse("code-unknown", "A good code that the server does not know.",
           enrollment_is(code_sha256=sha256(b"another code").hex()), "code-unknown", "enrollment_token")
    refuse("code-expired", "The enrollment is EXPIRED.", enrollment_is(status="EXPIRED"), "code-expired",
           "enrollment_token")
    refuse("code-expired-by-time", "The code expired a millisecond ago, and nobody has marked it yet.",
           enrollment_is(expires_at=NOW - 1), "code-expired", "enrollment_token")
    refuse("code-cancelled", "The enrollment is CANCELLED.", enrollment_is(status="CANCELLED"),
           "code-cancelled", "enrollment_token")
    refuse("code-in-upper-case",
           "The server hashes what it is sent and changes nothing in it: the agent makes it "
           "lower case.",
           lambda told, d: resign(told, d, enrollment_token=told["request"]["enrollment_token"].upper()),
           "code-unknown", "enrollment_token")
    refuse("code-with-blank", "The server trims nothing: the agent does.",
           lambda told, d: resign(told, d, enrollment_token=told["request"]["enrollment_token"] + " "),
           "code-unknown", "enrollment_token")


def expiring(told, expires_at):
    told["server"]["enrollment"]["expires_at"] = expires_at
    return told


def key_rules(book):
    refuse = refusing(book, "invalid_argument")

    def small(role, key):
        """A key of small order, for which anybody can make the proof."""
        def fault(told, draws):
            told = resign(told, draws, **{f"{role}_pubkey": key.hex()})
            request = enrollment.RegisterRequest.from_json(told["request"])
            message = enrollment.proof_transcript(role.replace("_", "-"), request)
            told["request"][f"{role}_proof"] = world.forged(draws, message, key).hex()
            return told

        return fault

    for role in ("identity", "miner_signing"):
        slug = role.replace("_", "-")
        refuse(f"{slug}-key-small-order", "A key of order 8, with a proof that fulfils the equation.",
               small(role, SMALL), "key-small-order", f"{role}_pubkey")
        refuse(f"{slug}-key-not-canonical",
               "The identity of the group with a y of p + 1, with a proof that fulfils "
               "the equation.", small(role, SMALL_NOT_CANONICAL), "key-not-canonical", f"{role}_pubkey")
    refuse("sealing-key-low-order", "A sealing key of low order: anybody could open what is sealed to it.",
           lambda told, d: resign(told, d, sealing_pubkey=LOW_ORDER_U.hex()), "key-low-order",
           "sealing_pubkey")
    refuse(
        "sealing-key-top-bit", "A sealing key with the top bit set.", lambda told, d: resign(
            told, d, sealing_pubkey=(world.public(d, "sealing_scalar")[:31] + b"\xff").hex()),
        "key-not-canonical", "sealing_pubkey")
    refuse("sealing-key-not-reduced", "A sealing key that is not below 2^255-19.",
           lambda told, d: resign(told, d, sealing_pubkey=(edwards.P + 9).to_bytes(32, "little").hex()),
           "key-not-canonical", "sealing_pubkey")
    refuse("identity-is-miner-signing-key", "identity_pk differs from miner_signing_pk; both proofs hold.",
           lambda told, d: given(d, miner_signing="identity_seed"), "key-in-two-roles",
           "miner_signing_pubkey")


def proofs(book):
    refuse = refusing(book, "unauthenticated")
    fields = {"identity": "identity_proof", "miner-signing": "miner_signing_proof"}
    seeds = {"identity": "identity_seed", "miner-signing": "miner_signing_seed"}

    def proof(role, seed=None, domain=None, **changes):
        """One proof over other fields, by another key or under another domain; the other one stays right."""
        def fault(told, draws):
            request = enrollment.RegisterRequest.from_json(
                {**told["request"], **{name: value(draws)
                                       for name, value in changes.items()}})
            signed = enrollment.proof_transcript(domain or role, request)
            told["request"][fields[role]] = keys.sign(draws(seed or seeds[role]), signed).hex()

        return fault

    def change(role, function):
        def fault(told, draws):
            data = bytes.fromhex(told["request"][fields[role]])
            told["request"][fields[role]] = function(data).hex()

        return fault

    for role, other in (("identity", "miner-signing"), ("miner-signing", "identity")):
        for name, why, fault, reason in (
            ("bit", "One bit of the proof is flipped.", change(role, lambda s: world.flip(s, 33)),
             "signature-invalid"),
            ("malleated", "S + L in place of S.", change(role, world.malleated), "signature-s-not-reduced"),
            ("zero", "64 zero bytes: R is a point of order 4.", change(role, lambda s: bytes(64)),
             "signature-r-small-order"),
            ("by-stranger", "Another key made the proof.", proof(role, "stranger_seed"), "signature-invalid"),
            ("by-the-other-key", "The agent's other key made the proof.", proof(role, seeds[other]),
             "signature-invalid"),
            ("of-the-other-domain", "The proof is under the other proof's domain.", proof(role, domain=other),
             "signature-invalid"),
            ("over-other-name", "The proof is over another name.", proof(role, name=lambda d: "rack 8"),
             "signature-invalid"),
            ("over-other-code", "The proof is over another code.",
             proof(role,
                   enrollment_token=lambda d: world.strings.enrollment_code(d("other_random"), d("pin"))),
             "signature-invalid"),
            ("over-other-sealing-key", "The proof is over another sealing key.",
             proof(role, sealing_pubkey=lambda d: public(d, "other_scalar")), "signature-invalid"),
        ):
            refuse(f"{role}-proof-{name}", why, fault, reason, fields[role])

    def swap(told, draws):
        request = told["request"]
        request["identity_proof"], request["miner_signing_proof"] = (request["miner_signing_proof"],
                                                                     request["identity_proof"])

    refuse("proofs-swapped", "Each proof in the other's place.", swap, "signature-invalid", "identity_proof")


def uniqueness(book):
    refuse = refusing(book, "failed_precondition")
    refuse("name-taken", "Another agent of the organization has the name.",
           lambda told, d: told["server"]["taken_names"].append(world.NAME), "name-taken", "name")
    for role in world.ROLES:
        refuse(f"{role.replace('_', '-')}-taken", "An agent, in whatever role, has or had this key.",
               lambda told, d: told["server"]["taken_keys"].append(told["request"][role]), "key-taken", role)
    for role, seed in (("identity", "identity_pubkey"), ("miner_signing", "miner_signing_pubkey")):
        for name in ("root_seed", "command_seed", "operator_seed-1"):
            owner = name.split("_")[0]
            refuse(f"{role.replace('_', '-')}-is-{owner}-key",
                   f"The organization's {owner} key, with good proofs.",
                   lambda told, d: given(d, **{role: name}), "key-taken", seed)
    refuse("sealing-is-recovery-key", "The organization's recovery key, with good proofs.",
           lambda told, d: given(d, sealing="recovery_scalar"), "key-taken", "sealing_pubkey")


def repeated(draws, status="AWAITING_CONFIRMATION", agent_status="PENDING", age=1500):
    told = given(draws)
    agent = {name: told["request"][name] for name in ("name", *world.ROLES)}
    told["server"]["enrollment"].update(
        status=status,
        agent={**agent, "agent_id": world.AGENT_ID, "status": agent_status, "last_answered_at": NOW - age})
    told["server"]["taken_names"].append(agent["name"])
    told["server"]["taken_keys"] += [agent[name] for name in world.ROLES]
    return told


def repeats(book):
    for name, why, changes in (
        ("waiting", "The same code, name and keys while nobody has confirmed.", {}),
        ("confirmed", "The same once it is confirmed.", {"status": "CONFIRMED", "agent_status": "CONFIRMED"}),
        ("revoked", "The same once the agent is revoked: its status is answered.",
         {"status": "CONFIRMED", "agent_status": "REVOKED"}),
    ):
        book.accept(f"register/repeat-{name}", "register-request", "4", why, lambda d: repeated(d, **changes))
    refuse = refusing(book, "unauthenticated")
    refuse("repeat-other-name", "Another name under a used code, with good proofs.",
           lambda told, d: resign(told, d, name="rack 8"), "code-used", "name", repeated)
    for role, name in zip(world.ROLES, ("identity", "miner_signing", "sealing")):
        seed = "other_scalar" if name == "sealing" else "other_seed"
        refuse(
            f"repeat-other-{name.replace('_', '-')}-key", "Another key under a used code, with good proofs.",
            lambda told, d: {
                **told, "request": world.request(d, told["request"]["enrollment_token"], **{name: seed}).
                to_json()
            }, "code-used", role, repeated)
    for field in ("identity_proof", "miner_signing_proof"):
        refuse(f"repeat-{field.replace('_', '-')}-bit", "Both proofs are verified again.",
               lambda told, d: told["request"].update({field: world.flip(told["request"][field], 33)}),
               "signature-invalid", field, repeated)
    for status in ("EXPIRED", "CANCELLED"):
        refuse(f"repeat-{status.lower()}",
               f"The enrollment is {status}: its repeats are no better than strangers.",
               lambda told, d: told["server"]["enrollment"].update(status=status), f"code-{status.lower()}",
               "enrollment_token", repeated)
    refusing(book, "resource_exhausted")("repeat-too-soon",
                                         "The status is answered at most once a second an agent.",
                                         lambda told, d: repeated(d, age=500),
                                         "asked-too-often",
                                         good=repeated)
