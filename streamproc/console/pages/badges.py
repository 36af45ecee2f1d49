"""Badges for states: a word, a shape and a hue, never the hue alone."""

from functools import lru_cache
from typing import Final, NamedTuple

from markupsafe import Markup

from streamproc.escaping import escaped


class Look(NamedTuple):
    """`shape`: a symbol of the base template; `tone`: a class of the style sheet."""

    shape: str
    tone: str


BY_OUTCOME: Final = {
    "succeeded": Look("check", "good"),
    "failed": Look("cross", "bad"),
    "expired": Look("clock", "late"),
    "cancelled": Look("slash", "dim"),
    "incomplete": Look("half", "warn"),
}
BY_STATUS: Final = {
    **dict.fromkeys(("queued", "pending"), Look("ring", "dim")),
    **dict.fromkeys(("in_progress", "running"), Look("play", "run")),
    **dict.fromkeys(("requires_action", "interrupted"), Look("hand", "warn")),
    "cancelling": Look("slash", "dim"),
    **dict.fromkeys(("completed", "success", "succeeded"), BY_OUTCOME["succeeded"]),
    **dict.fromkeys(("failed", "error"), BY_OUTCOME["failed"]),
    **dict.fromkeys(("expired", "timeout"), BY_OUTCOME["expired"]),
    "cancelled": BY_OUTCOME["cancelled"],
    "incomplete": BY_OUTCOME["incomplete"],
}
OTHER: Final = Look("dot", "run")
BY_WORD: Final = {
    "applied": Look("check", "good"),
    "duplicate": Look("same", "dim"),
    "stale": Look("clock", "dim"),
    "illegal": Look("bang", "bad"),
    "rejected": Look("cross", "bad"),
    "firing": Look("bell", "bad"),
    "resolved": Look("check", "good"),
    "over": Look("dot", "dim"),
    "critical": Look("bang", "bad"),
    "warning": Look("bang", "warn"),
    "info": Look("dot", "dim"),
    "running": Look("play", "good"),
    "ready": Look("check", "good"),
    "restoring": Look("half", "warn"),
    "created": Look("ring", "dim"),
    "fenced": Look("ring", "dim"),
    "suspended": Look("pause", "warn"),
    "paused": Look("pause", "warn"),
    "closed": Look("slash", "dim"),
    "unowned": Look("cross", "bad"),
    "stale report": Look("clock", "late"),
}


def look(status: str, outcome: str | None = None) -> Look:
    """Return the look of a run's status: by its outcome, else by its name."""
    return BY_OUTCOME.get(outcome or "") or BY_STATUS.get(status, OTHER)


def badge(status: str | None, outcome: str | None = None) -> Markup:
    """Return a run's status with its shape."""
    return Markup("") if status is None else _badge(status, look(status, outcome))


def sign(word: str, shown: str | None = None) -> Markup:
    """Return any other state with its shape."""
    return _badge(shown or word, BY_WORD.get(word, Look("dot", "dim")))


@lru_cache(1_024)
def _badge(text: str, style: Look) -> Markup:
    return Markup(
        '<span class="badge {}"><svg class="shape" aria-hidden="true"><use href="#{}"/></svg><bdi>{}</bdi></span>'
    ).format(style.tone, style.shape, escaped(text))
