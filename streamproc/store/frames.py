"""Runs in a snapshot: some thousand in a frame, in columns, so that most of them need not be decoded on loading."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, get_type_hints

import cramjam
from msgspec import DecodeError, Struct, defstruct
from msgspec.msgpack import Decoder, Encoder

from streamproc.core.model import Run
from streamproc.core.runs import pack, unpack
from streamproc.core.state import State
from streamproc.store.checked import StoreDamaged, checked, content

RUNS_PER_FRAME = 4_096
LEVEL = 1

PackedRun = tuple[str, bytes | Run | None]
"""A run's id, and its value in the state (packed where it has ended); None where it was forgotten."""


class Frame(Struct, array_like=True):
    """Forgotten, open and ended runs; the ended ones in columns. `statuses`: indices into `names`."""

    forgotten: list[str]
    opened: list[bytes]
    ended: list[str]
    packed: list[bytes]
    retained_from: list[int]
    statuses: list[int]
    names: list[str]


_BRIEF = Run.__struct_fields__[: Run.__struct_fields__.index("retained_from") + 1]
_Brief = defstruct("_Brief", [(name, get_type_hints(Run)[name]) for name in _BRIEF], array_like=True)
"""The first fields of a packed run; decoding ignores the others."""

_encode = Encoder().encode
_decode = Decoder(Frame).decode
_brief = Decoder(_Brief).decode


def frames_of(runs: Iterable[PackedRun]) -> Iterator[bytes]:
    """Yield runs as frames, each with its checksum."""
    remaining = iter(runs)
    while portion := list(islice(remaining, RUNS_PER_FRAME)):
        yield checked(bytes(cramjam.zstd.compress(_encode(_frame(portion)), LEVEL)))


def put_back(frame: bytes, state: State, forgotten: set[str]) -> None:
    """Put the runs of a frame into a state. Frames come latest first, so runs already in the state are skipped.

    `forgotten`: runs that later frames list as forgotten; those of this frame are added. Raises StoreDamaged.
    """
    opened_frame = _opened(frame)
    _put_ended(opened_frame, state, forgotten)
    for packed in opened_frame.opened:
        run = unpack(packed)
        if run.run_id not in state.runs and run.run_id not in forgotten:
            state.put(run)
    forgotten.update(run_id for run_id in opened_frame.forgotten if run_id not in state.runs)


def _frame(runs: Sequence[PackedRun]) -> Frame:
    forgotten: list[str] = []
    opened: list[bytes] = []
    ended: dict[str, bytes] = {}
    briefs: list[Any] = []
    for run_id, packed in runs:
        if packed is None:
            forgotten.append(run_id)
        elif isinstance(packed, Run):
            opened.append(pack(packed))
        else:
            ended[run_id] = packed
            briefs.append(_brief(packed))
    numbers: dict[str, int] = {}
    statuses = [numbers.setdefault(brief.status, len(numbers)) for brief in briefs]
    retained = [brief.retained_from for brief in briefs]
    return Frame(forgotten, opened, list(ended), list(ended.values()), retained, statuses, list(numbers))


def _opened(frame: bytes) -> Frame:
    try:
        return _decode(bytes(cramjam.zstd.decompress(content(frame))))
    except DecodeError as error:
        raise StoreDamaged(f"a snapshot is none: {error}") from error


def _put_ended(frame: Frame, state: State, forgotten: set[str]) -> None:
    ended, packed, retained, statuses = frame.ended, frame.packed, frame.retained_from, frame.statuses
    if not (state.runs.isdisjoint(ended) and forgotten.isdisjoint(ended)):
        places = [at for at, run_id in enumerate(ended) if run_id not in state.runs and run_id not in forgotten]
        ended, packed = [ended[at] for at in places], [packed[at] for at in places]
        retained, statuses = [retained[at] for at in places], [statuses[at] for at in places]
    counts = {frame.names[number]: count for number, count in Counter(statuses).items()}
    state.put_ended(dict(zip(ended, packed, strict=True)), retained, counts)
