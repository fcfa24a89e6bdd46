"""The test vectors, subject by subject."""

import copy
import importlib

import vectors

SUBJECTS = [
    "transcripts", "curves", "handed", "roots", "certificates", "sealed", "registers", "answers",
    "handshakes", "sessions", "controls"
]


class Draws:
    """Bytes that stand for randomness: the SHA-256 of the file's path and the draw's name, so that nobody can
    have chosen them."""
    def __init__(self, path):
        self.path = path
        self.told = {}

    def __call__(self, name, length=32):
        value = vectors.draw_value(self.path, name)[:length]
        self.told[name] = value.hex()
        return value

    def first(self, name, test):
        """Draws `name`-0, `name`-1 and so on until one passes; only that one is told."""
        index = 0
        while not test(vectors.draw_value(self.path, f"{name}-{index}")):
            index += 1
        return self(f"{name}-{index}")


class Book:
    def __init__(self):
        self.files = {}

    def accept(self, path, op, section, why, given):
        """`given` takes the file's draws and returns the vector's "in"."""
        path += ".accept.json"
        draws = Draws(path)
        told = self._with_draws(given(draws), draws)
        self._add(path, {
            "op": op, "section": section, "why": why, "in": told, "out": vectors.OPS[op](copy.deepcopy(told))
        })

    def refuse(self, path, op, section, why, given, fault, code, reason, field=""):
        """`given` makes an "in" that is taken; `fault` gets that and the draws, and spoils one thing."""
        path += ".refuse.json"
        draws = Draws(path)
        good = given(draws)
        bad = copy.deepcopy(good)
        bad = fault(bad, draws) or bad
        bad, good = self._with_draws(bad, draws), self._with_draws(good, draws)
        refused = {"code": code, "reason": reason, **({"field": field} if field else {})}
        return self._add(
            path, {
                "op": op, "section": section, "why": why, "in": bad, "refused": refused,
                "mended": vectors.difference(bad, good)
            })

    @staticmethod
    def _with_draws(given, draws):
        return {**given, "draws": draws.told} if draws.told else given

    def _add(self, path, vector):
        assert path not in self.files, path
        self.files[path] = vector
        return vector


def every_case():
    book = Book()
    for subject in SUBJECTS:
        importlib.import_module(f"cases.{subject}").add_cases(book)
    return book.files
