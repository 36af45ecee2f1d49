"""Transitions and alerts as they come in: read from the read model, so that nobody's queue can run over.

The id of an event is how far each partition was read with it. So any console can go on from it, a rebuilt one too.
"""

import re
from collections.abc import Mapping, Sequence

from streamproc.console.model.entries import StepKind
from streamproc.console.queries.history import Telling
from streamproc.console.reads import BadCursor, Event, StreamFilter

KINDS = {"transition": StepKind.TRANSITION, "alert": StepKind.ALERT}
NAMES = {kind: name for name, kind in KINDS.items()}
PART = re.compile(r"([at])(\d{1,6})-(\d{1,18})")
LETTERS = {StepKind.TRANSITION: "t", StepKind.ALERT: "a"}
OF_LETTER = {letter: kind for kind, letter in LETTERS.items()}
MAX_ID_CHARS = 40_000

Read = Mapping[tuple[StepKind, int], int]
"""The next offset of each partition, by kind and number."""


def kinds_of(wanted: StreamFilter) -> Sequence[StepKind]:
    """Return the kinds that are wanted."""
    return [kind for name, kind in KINDS.items() if not wanted.kinds or name in wanted.kinds]


def id_of(read: Read) -> str:
    """Return how far partitions were read as the id of an event: `t0-17.t1-4.a0-2`."""
    return ".".join(f"{LETTERS[kind]}{partition}-{offset}" for (kind, partition), offset in sorted(read.items()))


def read_in(text: str) -> dict[tuple[StepKind, int], int]:
    """Return how far partitions were read, as an id says it; raises BadCursor."""
    parts = text.split(".") if text and len(text) <= MAX_ID_CHARS else []
    matches = [PART.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        raise BadCursor("Last-Event-ID is none of this stream: leave it out to begin with what comes next")
    return {(OF_LETTER[found[1]], int(found[2])): int(found[3]) for found in matches if found is not None}


def events(tellings: Sequence[Telling], read: dict[tuple[StepKind, int], int], wanted: StreamFilter) -> list[Event]:
    """Return the events that are wanted, in the order in which they were written; `read` moves on behind them all."""
    found: list[Event] = []
    for each in sorted(tellings, key=lambda each: (each.step.recorded_at, each.kind, each.partition, each.offset)):
        read[each.kind, each.partition] = each.offset + 1
        if _is_meant(each, wanted):
            found.append(Event(id_of(read), NAMES[each.kind], each.run_id, each.assistant_id, each.model, each.step))
    return found


def _is_meant(each: Telling, wanted: StreamFilter) -> bool:
    return (
        (not wanted.statuses or each.step.to_status in wanted.statuses)
        and wanted.assistant in (None, each.assistant_id)
        and wanted.model in (None, each.model)
        and wanted.run_id in (None, each.run_id)
    )
