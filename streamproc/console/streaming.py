"""Transitions and alerts as they come in. They are read from the read model, so no listener needs a queue.

The id of an event has the next offset of each partition. So any console can resume from it, even a rebuilt one.
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
    """Return the kinds of steps that a filter admits."""
    return [kind for name, kind in KINDS.items() if not wanted.kinds or name in wanted.kinds]


def id_of(read: Read) -> str:
    """Return the next offsets of partitions as an event's id: `t0-17.t1-4.a0-2`."""
    return ".".join(f"{LETTERS[kind]}{partition}-{offset}" for (kind, partition), offset in sorted(read.items()))


def read_in(text: str) -> dict[tuple[StepKind, int], int]:
    """Return the next offsets of partitions in an event's id; raises BadCursor."""
    parts = text.split(".") if text and len(text) <= MAX_ID_CHARS else []
    matches = [PART.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        raise BadCursor("Last-Event-ID is none of this stream: leave it out to begin with what comes next")
    return {(OF_LETTER[match[1]], int(match[2])): int(match[3]) for match in matches if match is not None}


def events(tellings: Sequence[Telling], read: dict[tuple[StepKind, int], int], wanted: StreamFilter) -> list[Event]:
    """Return the events that a filter admits, in the order of writing; `read` is moved on behind all tellings."""
    chosen: list[Event] = []
    for telling in sorted(
        tellings, key=lambda telling: (telling.step.recorded_at, telling.kind, telling.partition, telling.offset)
    ):
        read[telling.kind, telling.partition] = telling.offset + 1
        if _is_meant(telling, wanted):
            chosen.append(
                Event(
                    id_of(read), NAMES[telling.kind], telling.run_id, telling.assistant_id, telling.model, telling.step
                )
            )
    return chosen


def _is_meant(telling: Telling, wanted: StreamFilter) -> bool:
    return (
        (not wanted.statuses or telling.step.to_status in wanted.statuses)
        and wanted.assistant in (None, telling.assistant_id)
        and wanted.model in (None, telling.model)
        and wanted.run_id in (None, telling.run_id)
    )
