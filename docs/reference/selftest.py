"""Checks of the building blocks against values from elsewhere. `vectors.py check` runs them first."""

import hashlib
import json
import pathlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import edwards
import hpke
import keys
import strings
import wire
from refusal import Refused
from transcript import frame, lp, sha256


def refuses(function, *arguments):
    try:
        function(*arguments)
    except Refused:
        return True
    return False


def ed25519():
    # RFC 8032, section 7.1, tests 1 and 3.
    for seed, public, message, signature in (
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"),
    ):
        seed, public, message, signature = (bytes.fromhex(part)
                                            for part in (seed, public, message, signature))
        assert keys.ed25519_public(seed) == public
        assert keys.sign(seed, message) == signature
        keys.verify(public, message, signature)
        assert edwards.signature_equation(public, message, signature)
        assert refuses(keys.verify, public, message + b"x", signature)
        assert not edwards.signature_equation(public, message + b"x", signature)
        scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (2**254 - 8) | 2**254
        assert edwards.encode(edwards.multiply(scalar, edwards.BASE)) == public
    # The small-order encodings that implementations keep as a list, found here by arithmetic.
    assert {edwards.encode(point).hex()
            for point in edwards.small_order_points()} == {
                "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "00" * 32, "00" * 31 + "80",
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
            }


LOW_ORDER_U = [
    bytes(32).hex(), "01" + "00" * 31, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", "ec" + "ff" * 30 + "7f"
]


def x25519():
    # RFC 7748, section 5.2, the first vector.
    scalar, u, shared = (bytes.fromhex(part)
                         for part in ("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                                      "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                                      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"))
    assert keys.x25519(scalar, u) == shared
    # The points of low order of RFC 7748's curve and its twist, as published at cr.yp.to/ecdh.html.
    for u in LOW_ORDER_U:
        assert refuses(keys.check_x25519, bytes.fromhex(u)), u
    for index in range(16):
        keys.check_x25519(keys.x25519_public(sha256(b"x25519 %d" % index)))


def hpke_suite():
    """CFRG's vectors, from PyPI's cryptography_vectors or from the file that the Rust tests use."""
    files = [pathlib.Path(__file__).parents[2] / "fleet-core/tests/vectors/hpke-rfc9180.json"]
    try:
        import cryptography_vectors
        files.append(pathlib.Path(cryptography_vectors.__file__).parent / "HPKE/test-vectors.json")
    except ImportError:
        pass
    compared = 0
    for file in filter(pathlib.Path.exists, files):
        told = json.loads(file.read_text())
        for vector in told["vectors"] if isinstance(told, dict) else told:
            ids = [vector["mode"], vector["kem_id"], vector["kdf_id"], vector["aead_id"]]
            if ids != [0, hpke.KEM, hpke.KDF, hpke.AEAD]:
                continue
            first = vector["encryptions"][0]
            ephemeral, recipient, public, info, aad, plaintext, sealed = (
                bytes.fromhex(part)
                for part in (vector["skEm"], vector["skRm"], vector["pkRm"], vector["info"], first["aad"],
                             first.get("pt") or first["plaintext"], vector["enc"] + first["ct"]))
            assert hpke.seal(ephemeral, public, info, aad, plaintext) == sealed
            assert hpke.open_sealed(recipient, info, aad, sealed) == plaintext
            assert refuses(hpke.open_sealed, recipient, info + b"x", aad, sealed)
            compared += 1
    if not compared:
        print("SKIPPED: HPKE against CFRG's vectors: neither its file nor cryptography-vectors is here")


def bech32m():
    # BIP-350's test vectors for Bech32m.
    for text in ("A1LQFN3A", "a1lqfn3a", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "?1v759aa",
                 "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
                 "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
                 "split1checkupstagehandshakeupstreamerranterredcaperredlc445v"):
        prefix, values = strings.bech32_decode(text)
        assert strings.bech32_encode(prefix, values) == text.lower()
    for text in ("\x201xj0phk", "\x7f1g6xzxy", "\x801vctc34", "qyrz8wqd2c9m", "1qyrz8wqd2c9m", "y1b0jsk6g",
                 "lt1igcx5c0", "in1muywd", "mm1crxm3i", "au1s5cgom", "M1VUXWEZ", "16plkw9", "1p2gdwpf"):
        assert refuses(strings.bech32_decode, text), text
    # The Bech32 strings of BIP-173 have the other checksum.
    for text in ("A12UEL5L", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "?1ezyfcl"):
        strings.bech32_decode(text, strings.BECH32)
        assert refuses(strings.bech32_decode, text), text


def fingerprint():
    # The example of section 2.
    shown = strings.fingerprint(*(bytes([number]) * 32 for number in (1, 2, 3)))
    assert shown == "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R", shown


def protobuf():
    # The examples of protobuf.dev/programming-guides/encoding.
    assert wire.varint_field(1, 150).hex() == "089601"
    assert wire.bytes_field(2, b"testing").hex() == "120774657374696e67"
    assert wire.varint_field(1, 0) == b""
    assert wire.timestamp(1_764_000_000_001).hex() == "08" + wire.varint(1_764_000_000).hex() + "10c0843d"


def sealed_secret():
    """The one vector that the protocol page brings along, of section 6."""
    def s(number):
        return sha256(b"protoreview %d" % number)

    author, secret = keys.ed25519_public(s(1)), s(4)
    commitment = hpke.hkdf_expand(secret, b"fleet/v1/secret/commit", 32)
    assert commitment.hex() == "3153ce6f5841b8c2b300769db8d422bcf75eaa737aa85a030f5d4aacb1fbbe82"
    recipients = sorted((sha256(keys.x25519_public(s(n)))[:16], keys.x25519_public(s(n))) for n in (2, 3))
    header = [
        1, 7, "miner-password", 42, "", 1_764_000_000_000, "mac:aabbccddeeff", author, commitment,
        b"".join(key_id for key_id, _ in recipients)
    ]
    aad = frame("fleet/v1/secret/body", header)
    assert sha256(aad).hex() == "c33f6f3c1f7ccedfb34550a3081a37c7fcbcde61c0febef78987328e1e7e7f5d"
    body = AESGCM(hpke.hkdf_expand(secret, b"fleet/v1/secret/key",
                                   32)).encrypt(bytes(12),
                                                lp(b"root") + lp(b"hunter2"), aad)
    assert body.hex() == "c15fef6dbae2f869b8e6a65c784566b1adfcfc760b0d8ed0a474a4b11af01fe4024cc8"
    info = frame("fleet/v1/secret/wrap", header)
    wraps = [
        hpke.seal(ephemeral, public, info, b"", secret).hex()
        for ephemeral, (_, public) in zip((s(5), s(6)), recipients)
    ]
    assert wraps == [
        "b00734ee789c77bb16b47024a9ade3286e6b3cbd256efe01ccf43dc3f00c377c264cd5ee9083fa4c"
        "559b6ec16595ccd29a6a6f2354e3804d7532f30b49bbc6aeb3c88aa8e85d21c2bf14ff9c9b6e64c3",
        "32be7529220be8149017864440542083df439aaa5f4c48ec8a7bfac0cae42668ec6f5c479054384f"
        "b2cd584097c419f76af5befe525420c868115bc28a9103c82fee8f68e1720bf0bb07d804c499f2f3"
    ]
    signature = keys.sign(s(1), frame("fleet/v1/secret", [*header, sha256(body)]))
    assert signature.hex() == (
        "ebfde1f36f74524d9bf3550f86e2d1a45ee43d845b3bcbb3505c929e9cb0594456186e895d75456c"
        "41c00680ac9d8146d90d3aa743c867a86181e906680d3e0c")


def run():
    for part in (ed25519, x25519, hpke_suite, bech32m, fingerprint, protobuf, sealed_secret):
        part()
    print("self-test passed")
