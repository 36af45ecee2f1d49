"""A filter as SQL: the condition tried on each run that an index yields."""

from collections.abc import Iterator, Sequence

from streamproc.console.qualifiers import Filter
from streamproc.console.queries.paging import Part, joined
from streamproc.console.queries.view import View


def conditions(view: View, wanted: Filter, now_ms: int) -> Part:
    """Return a filter as one condition; raises BadQuery."""
    parts = [*_values(view, wanted), *_flags(view, wanted, now_ms), *ages(wanted, now_ms)]
    parts += [(f"{view.metadata_column(key)} = ?", [value]) for key, value in wanted.metadata.items()]
    return joined(parts)


def ages(wanted: Filter, now_ms: int) -> Iterator[Part]:
    """Yield the conditions on how long a run has been in its status."""
    if wanted.older_ms is not None:
        yield "since <= ?", [now_ms - wanted.older_ms]
    if wanted.younger_ms is not None:
        yield "since >= ?", [now_ms - wanted.younger_ms]


def _values(view: View, wanted: Filter) -> Iterator[Part]:
    for is_wanted, qualifiers in ((True, wanted.wanted), (False, wanted.unwanted)):
        for name, texts in qualifiers.items():
            if name == "outcome":
                ends = [status for status, outcome in view.profile.outcomes.items() if outcome in texts]
                yield _among("status", ends, is_wanted=is_wanted)
            else:
                yield _among(name, texts, is_wanted=is_wanted)


def _flags(view: View, wanted: Filter, now_ms: int) -> Iterator[Part]:
    ended = list(view.profile.outcomes)
    parts: dict[str, Part] = {
        "open": _among("status", ended, is_wanted=False),
        "ended": _among("status", ended),
        "overdue": ("ends_first <= ?", [now_ms]),
        "illegal": ("illegal", []),
    }
    yield from (parts[flag] for flag in wanted.flags)


def _among(column: str, texts: Sequence[str], *, is_wanted: bool = True) -> Part:
    marks = ", ".join("?" * len(texts))
    return f"{column} IN ({marks})" if is_wanted else f"({column} IS NULL OR {column} NOT IN ({marks}))", texts
