"""How this implementation says no."""

from contextlib import contextmanager

INVALID_ARGUMENT = "invalid_argument"
UNAUTHENTICATED = "unauthenticated"
FAILED_PRECONDITION = "failed_precondition"
RESOURCE_EXHAUSTED = "resource_exhausted"
AGENT_REFUSES = "agent-refuses"
NONE = "none"


class Refused(Exception):
    """A refusal: the wire code (or who stops), a stable reason, and the field at fault, if one is."""
    def __init__(self, reason, code=NONE, field=""):
        super().__init__(reason, code, field)
        self.reason = reason
        self.code = code
        self.field = field

    def as_json(self):
        told = {"code": self.code, "reason": self.reason}
        if self.field:
            told["field"] = self.field
        return told


@contextmanager
def answering(code, field="", reason=""):
    """Gives a refusal from a building block the code that the step around it answers with."""
    try:
        yield
    except Refused as refused:
        raise Refused(reason or refused.reason, code, refused.field or field) from None


def require(condition, reason, code=NONE, field=""):
    if not condition:
        raise Refused(reason, code, field)
