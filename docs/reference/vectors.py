#!/usr/bin/env python3
"""Writes and checks the test vectors: vectors.py make DIR, vectors.py check DIR."""

import copy
import hashlib
import json
import pathlib
import sys

import flows  # noqa: F401  (registers its operations)
import selftest
import steps  # noqa: F401
from ops import OPS
from refusal import Refused

LABEL = "fleet vectors"


def draw_value(path, name):
    return hashlib.sha256(f"{LABEL}/{path}/{name}".encode()).digest()


def merge(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def difference(source, target):
    """The merge patch that makes `target` of `source`."""
    patch = {name: None for name in source if name not in target}
    for name, value in target.items():
        if name not in source:
            patch[name] = value
        elif source[name] != value:
            both = isinstance(value, dict) and isinstance(source[name], dict)
            patch[name] = difference(source[name], value) if both else value
    return patch


def render(vector):
    return json.dumps(vector, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


class Wrong(Exception):
    """A vector that does not hold; the text names the field."""


def compare(where, expected, got):
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted(set(expected) | set(got)):
            if name not in got or name not in expected:
                raise Wrong(f"{where}.{name}: only {'in the file' if name in expected else 'computed'}")
            compare(f"{where}.{name}", expected[name], got[name])
    elif expected != got:
        raise Wrong(f"{where}: the file has {expected!r}, computed is {got!r}")


def run(vector, given):
    if vector["op"] not in OPS:
        raise Wrong(f"op: unknown: {vector['op']!r}")
    return OPS[vector["op"]](copy.deepcopy(given))


def check_vector(path, vector):
    """Raises Wrong. Whether the vector is a refusal whose one fault, mended, makes it pass."""
    given = vector["in"]
    for name, value in given.get("draws", {}).items():
        if not value or not draw_value(path, name).hex().startswith(value):
            raise Wrong(f"in.draws.{name}: not the SHA-256 of '{LABEL}/{path}/{name}'")
    verdict = path.split(".")[-2]
    expected = {"accept": {"out"}, "refuse": {"refused", "mended"}}[verdict]
    if set(vector) != {"op", "section", "why", "in"} | expected:
        raise Wrong(f"the object has the fields {sorted(vector)}")
    try:
        out = run(vector, given)
    except Refused as refused:
        if verdict == "accept":
            raise Wrong(f"out: refused: {refused.as_json()}") from None
        compare("refused", vector["refused"], refused.as_json())
    else:
        if verdict == "refuse":
            raise Wrong("refused: was taken")
        compare("out", vector["out"], out)
        return False
    try:
        run(vector, merge(given, vector["mended"]))
    except Refused as refused:
        raise Wrong(f"mended: still refused: {refused.as_json()}") from None
    return True


def make(directory):
    from cases import every_case
    made = every_case()
    for path, vector in made.items():
        try:
            check_vector(path, vector)
        except Wrong as wrong:
            sys.exit(f"{path}: {wrong}")
    for path, vector in made.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(vector), encoding="ascii")
    stale = {file.relative_to(directory).as_posix() for file in directory.glob("*/*.json")} - set(made)
    if stale:
        sys.exit(f"these are not among the {len(made)} vectors: {', '.join(sorted(stale))}")
    print(f"wrote {len(made)} vectors")


def check(directory):
    selftest.run()
    counts, proven = {}, 0
    for file in sorted(directory.glob("*/*.json")):
        path = file.relative_to(directory).as_posix()
        try:
            text = file.read_text(encoding="ascii")
            vector = json.loads(text)
            if render(vector) != text:
                raise Wrong("not in canonical form (sorted keys, two spaces, one final newline)")
            proven += check_vector(path, vector)
        except Wrong as wrong:
            sys.exit(f"{path}: {wrong}")
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"{path}: {type(error).__name__}: {error}")
        verdict = path.split(".")[-2]
        counts.setdefault(vector["op"], {"accept": 0, "refuse": 0})[verdict] += 1
    if not counts:
        sys.exit(f"no vectors below {directory}")
    for name, count in sorted(counts.items()):
        print(f"{name:24}{count['accept']:4} accept{count['refuse']:4} refuse")
    accepted, refused = (sum(count[verdict] for count in counts.values()) for verdict in ("accept", "refuse"))
    print(f"{accepted} accepted, {refused} refused, {proven} of these proven to have one fault by mending it")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "check"):
        sys.exit("usage: vectors.py make|check DIR")
    {"make": make, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
