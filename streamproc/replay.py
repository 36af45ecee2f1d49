"""Replays object container files of RunObjects with the service's codec and core, without Kafka; results are files.

Records in a file have no Kafka timestamp. Event time is the latest of a RunObject's own times except `expires_at`. It
never goes back, and a time ahead of the clock does not move it. The core's clock is event time, too, so that the same
files give the same results. A run that waits for tool outputs shows no new time, so `in_from_ms` is a lower bound.

Retention is the service's (rules.md 17), and bounds memory: a run's state is written when the run is forgotten, or at
the end. A run that comes back after that has a second record in run-state.avro; the later one counts, as in the topic.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from streamproc.codec.arrival import Bare, Rejection
from streamproc.codec.book import SchemaBook
from streamproc.codec.container import ContainerWriter, entries, schema_of
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.message import Messages
from streamproc.codec.schemas import WriterSchema, load
from streamproc.codec.targets import Getters
from streamproc.codec.verdicts import VerdictEncoder
from streamproc.core.model import MAX_AHEAD_MS, MAX_LATE_MS, MIN_TIME_MS, Moment, RunEvent, Verdict
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, pass_time, step
from streamproc.errors import ConfigError, RejectionReason

BATCH = 2_000
OWN_TIMES = ("created_at", "started_at", "completed_at", "failed_at", "cancelled_at")
RESULTS = {
    "run-transitions.avro": "run_transition",
    "run-verdicts.avro": "run_verdict",
    "run-state.avro": "run_state",
    "dead-letters.avro": "replay_dead_letter",
}
"""The files and their schemas, in the order of `_Results`."""


class FileReplayTerms(NamedTuple):
    """The terms of a replay. `now_ms`: the clock; later event times are ignored."""

    application_id: str
    rules: Rules
    now_ms: int


class ReplaySummary(NamedTuple):
    """Counts of records: each is in `verdicts` or `rejected`; `written` counts the results in each file."""

    records: int
    verdicts: Mapping[Verdict, int]
    rejected: Mapping[RejectionReason, int]
    written: Mapping[str, int]

    def rows(self) -> list[tuple[str, int]]:
        """Return a table in which the figures below the first add up to it."""
        verdicts = [(f"  {verdict.value}", self.verdicts.get(verdict, 0)) for verdict in Verdict]
        reasons = [(f"    {reason}", count) for reason, count in sorted(self.rejected.items())]
        return [("records", self.records), *verdicts, ("  rejected", sum(self.rejected.values())), *reasons]

    def document(self, directory: Path) -> dict[str, Any]:
        """Return the same for programs, with the paths of the results."""
        return {
            "records": self.records,
            "verdicts": {verdict.value: self.verdicts.get(verdict, 0) for verdict in Verdict},
            "rejected": dict(sorted(self.rejected.items())),
            "written": [{"file": str(directory / name), "records": count} for name, count in self.written.items()],
        }


class _Results(NamedTuple):
    transitions: ContainerWriter
    verdicts: ContainerWriter
    states: ContainerWriter
    dead_letters: ContainerWriter


def replay(files: Sequence[Path], directory: Path, terms: FileReplayTerms, *, force: bool = False) -> ReplaySummary:
    """Replay files in the given order; raises ConfigError for a file that cannot be read, and then writes nothing."""
    schemas = [schema_of(path, terms.rules.profile.shape) for path in files]
    with _results(directory, force=force) as results:
        run = _FileReplay(files, terms, results)
        for path, schema in zip(files, schemas, strict=True):
            run.read(path, schema)
        return run.finish()


@contextmanager
def _results(directory: Path, *, force: bool) -> Iterator[_Results]:
    """Open the result files; they get their names only when all are complete."""
    partial = {name: directory / f"{name}.partial" for name in RESULTS}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not force and any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty: name another --out, or overwrite the results with --force")
        with ExitStack() as stack:
            writers = (ContainerWriter(partial[name], load(schema)) for name, schema in RESULTS.items())
            yield _Results(*map(stack.enter_context, writers))
        for name, path in partial.items():
            path.replace(directory / name)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written to: {error.strerror}") from error
    finally:
        for path in partial.values():
            with suppress(OSError):
                path.unlink()


class _FileReplay:
    """A replay in progress."""

    def __init__(self, files: Sequence[Path], terms: FileReplayTerms, results: _Results) -> None:
        self._terms = terms
        self._results = results
        self._state = State(terms.rules)
        self._sources = [OutputSource(terms.application_id, path.name, 0) for path in files]
        self._encoders = [OutputEncoder(source) for source in self._sources]
        self._verdict_encoder = VerdictEncoder(terms.application_id)
        self._starts: list[int] = []
        self._records = 0
        self._clock_ms = MIN_TIME_MS
        self._verdicts: Counter[Verdict] = Counter()
        self._rejected: Counter[RejectionReason] = Counter()

    def read(self, path: Path, schema: WriterSchema) -> None:
        """Replay the next file."""
        encoder, source = self._encoders[len(self._starts)], self._sources[len(self._starts)]
        self._starts.append(self._records)
        book = SchemaBook([schema], self._terms.rules.profile.shape)
        arrivals = self._arrivals(path, schema)
        while batch := list(islice(arrivals, BATCH)):
            decoded = decode(batch, book)
            moment, outcome = Moment(batch[-1].timestamp, caught_up=False), begin(self._state)
            for events in _in_time(decoded.events):
                step(self._state, events, Moment(events[-1].timestamp, caught_up=False), outcome)
            self._results.transitions.append(_payloads(encoder.transitions(outcome.transitions, moment.wall_ms)))
            rulings = self._verdict_encoder.messages(outcome.rulings, moment.wall_ms, source)
            self._results.verdicts.append(_payloads(rulings))
            self._results.dead_letters.append(_dead_letter(path, rejection) for rejection in decoded.rejections)
            self._verdicts += outcome.tally.verdicts
            self._rejected.update(rejection.reason for rejection in decoded.rejections)
            self._merge(outcome)
            self._forget(moment)

    def finish(self) -> ReplaySummary:
        """Write the states of all runs not forgotten yet."""
        self._write_states(self._state.runs)
        written = {name: writer.records for name, writer in zip(RESULTS, self._results, strict=True)}
        return ReplaySummary(self._records, self._verdicts, self._rejected, written)

    def _arrivals(self, path: Path, schema: WriterSchema) -> Iterator[Bare]:
        # A record's offset is its index over all files.
        for entry in entries(path, schema):
            self._clock_ms = event_time_ms(entry.fields, schema.getters, self._clock_ms, self._terms.now_ms)
            yield Bare(self._records, self._clock_ms, schema.header + entry.payload)
            self._records += 1

    def _forget(self, moment: Moment) -> None:
        outcome = pass_time(self._state, moment, begin(self._state))
        self._write_states(outcome.forgotten)
        self._merge(outcome)

    def _merge(self, outcome: CommitOutcome) -> None:
        self._state.merge(outcome)

    def _write_states(self, run_ids: Iterable[str]) -> None:
        """Write states, each with the file of its last applied event as its source."""
        runs = self._state.runs
        places = sorted((runs[run_id].offset, run_id) for run_id in run_ids)
        for file, of_file in groupby(places, lambda place: bisect_right(self._starts, place[0]) - 1):
            while batch := self._state.whole([runs[run_id] for _, run_id in islice(of_file, BATCH)]):
                self._results.states.append(_payloads(self._encoders[file].states(batch, self._clock_ms)))


def _in_time(events: Sequence[RunEvent]) -> Iterator[Sequence[RunEvent]]:
    """Cut a batch of events where their times are so far apart that the first would count as late."""
    start = 0
    for number, event in enumerate(events):
        if event.timestamp - events[start].timestamp > MAX_LATE_MS:
            yield events[start:number]
            start = number
    if start < len(events):
        yield events[start:]


def event_time_ms(fields: Mapping[str, Any], getters: Getters, before_ms: int, now_ms: int) -> int:
    """Return a record's event time, given that of the record before it."""
    times = (getters.time(fields, name, []) for name in OWN_TIMES)
    latest = max((time for time in times if time is not None), default=0)
    return max(before_ms, latest * 1000) if latest * 1000 <= now_ms + MAX_AHEAD_MS else before_ms


def _payloads(messages: Messages) -> Iterator[bytes]:
    """Remove the framing: a container file names the schema once."""
    return (value[SINGLE_OBJECT_BYTES:] for _, value, *_ in messages if value is not None)


def _dead_letter(path: Path, rejection: Rejection) -> bytes:
    record = rejection.record
    buffer = BytesIO()
    letter = {
        "reason": rejection.reason,
        "message": rejection.message,
        "file": str(path),
        "index": record.offset,
        "value": (record.value or b"")[SINGLE_OBJECT_BYTES:],
    }
    fastavro.schemaless_writer(buffer, load("replay_dead_letter").parsed, letter)
    return buffer.getvalue()
