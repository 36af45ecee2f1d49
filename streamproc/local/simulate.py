"""A realistic source of run status events: interleaved runs of every outcome, and typical disturbances.

Pure: no Kafka, no clock, no global random. The same seed and arguments give the same bytes, so a test can name a stream
by its seed. scenario.py has the life of one run; here the statuses of all runs become records in one stream.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from random import Random

from msgspec import Struct

from streamproc.errors import ConfigError
from streamproc.local import chances, scenario
from streamproc.local.assistants import ASSISTANTS, MAX_ASSISTANTS, MAX_MODELS_EACH, Assistant, make_assistants
from streamproc.local.chances import Life, Lots
from streamproc.local.scenario import SimulatedRun, Thread
from streamproc.local.wire import BAD_VALUES, Encoder

VERSIONS: Mapping[str, int] = {"v1": 10, "v1_5": 10, "v2": 20, "v2_1": 60}
"""Each version of the RunObject with its share of the runs in a mixed stream, in percent."""

MIXED = "mixed"
DEFAULT_START_MS = 1_717_200_000_000  # 1 June 2024, when all versions were in use
MAX_LIVE_RUNS = 500
MAX_DISTURBED_RATIO = 0.5

_FOLLOW_UP_CHANCE = 0.6  # that a thread has another run
_IDLE_THREADS = 50  # that stand between their runs
_ABANDONED_RUNS = 40  # open since before the first event, so that runs expire early in the stream too
_ABANDONED_SPREAD_S = 60
_OPENING = ("bad", "bad", "bad", "illegal", "illegal")  # owed from the start where an opening is asked for
_FORGOTTEN_LEFT_S = 12  # until the opening's forgotten run is past its expiry
_FORGOTTEN_SPREAD_S = 1
_RETRY_S = 0.5
_LATE_S = 2
_SOON_S = 60  # how far off a run's next event may be for this one to arrive late


class SimulatedEvent(Struct, frozen=True, gc=False):
    """One record. `kind`: what the source intends: event, duplicate, late, illegal or bad:<reason>."""

    key: bytes
    value: bytes | None
    timestamp_ms: int
    kind: str


class _Ratios(Struct, frozen=True):
    """The share of each disturbance among all records."""

    bad: float
    duplicate: float
    late: float
    illegal: float
    missed: float


def simulate(  # noqa: PLR0913 - one argument for each knob, all by name
    *,
    seed: int,
    events: int | None = None,
    schema_version: str = "v2_1",
    rate_per_s: float = 100.0,
    start_ms: int = DEFAULT_START_MS,
    bad_ratio: float = 0.002,
    duplicate_ratio: float = 0.02,
    late_ratio: float = 0.005,
    illegal_ratio: float = 0.0005,
    missed_ratio: float = 0.005,
    assistants: int = ASSISTANTS,
    models_each: int = 1,
    opening: bool = False,
) -> Iterator[SimulatedEvent]:
    """Yield `events` records (None: without end), Avro single-object encoded, about 880 bytes on average.

    Instructions, tools and metadata make up most of the size. `rate_per_s` is in event time: it spaces the timestamps.
    Runs take as long as in life while no more than about MAX_LIVE_RUNS are open; at higher rates they go faster.
    Records are keyed by thread. A late record keeps its own timestamp; else timestamps never decrease.
    The ratios are shares of all records; `missed` ones never appear. Each of the `assistants` runs on `models_each`
    models; a few assistants have most of the runs. With an `opening` the stream begins with rare cases: bad records,
    ends that contradict each other, and a call for tools that nobody answers, whose run expires 12 s later.

    Raises:
        ConfigError: an argument out of its range.
    """
    ratios = _Ratios(bad_ratio, duplicate_ratio, late_ratio, illegal_ratio, missed_ratio)
    _check(schema_version, rate_per_s, ratios)
    if not (1 <= assistants <= MAX_ASSISTANTS and 1 <= models_each <= MAX_MODELS_EACH):
        raise ConfigError(f"assistants are 1 to {MAX_ASSISTANTS}, models of each 1 to {MAX_MODELS_EACH}")
    versions = tuple(VERSIONS) if schema_version == MIXED else (schema_version,)
    rng = Random(seed)
    staff = make_assistants(rng, versions, assistants, models_each)
    source = _Simulation(rng, versions, rate_per_s, start_ms, ratios, staff)
    if opening:
        source.open(start_ms)
    return itertools.islice(source.records(), events)


def _check(schema_version: str, rate_per_s: float, ratios: _Ratios) -> None:
    if schema_version not in (*VERSIONS, MIXED):
        raise ConfigError(f"schema version {schema_version!r} is not one of {', '.join(VERSIONS)}, {MIXED}")
    if not 0 < rate_per_s < math.inf:
        raise ConfigError(f"rate {rate_per_s} is not above 0 events per second")
    shares = [getattr(ratios, name) for name in ratios.__struct_fields__]
    if not (all(share >= 0 for share in shares) and sum(shares) <= MAX_DISTURBED_RATIO):
        raise ConfigError(f"ratios must not be negative nor add up to more than {MAX_DISTURBED_RATIO}: {ratios}")


_Happen = Callable[[SimulatedRun, SimulatedEvent, float], SimulatedEvent | None]


class _Simulation:
    """Runs and records on one agenda in the order of time; the next entry decides what comes next."""

    def __init__(
        self,
        rng: Random,
        versions: tuple[str, ...],
        rate_per_s: float,
        start_ms: int,
        ratios: _Ratios,
        assistants: Lots[Assistant],
    ) -> None:
        self._rng = rng
        self._versions = Lots({version: VERSIONS[version] for version in versions})
        self._encoders = {version: Encoder(version) for version in versions}
        self._lives = {version: chances.life_of(version) for version in versions}
        self._assistants = assistants
        self._idle: deque[Thread] = deque()
        self._agenda: list[tuple[float, int, SimulatedRun | SimulatedEvent | None]] = []
        self._entries = itertools.count()
        self._chances = _cumulate(ratios)
        self._owed: list[str] = []
        self._arrivals_per_ms, self._pace = self._tempo(rate_per_s, ratios)
        self._disturbances: Mapping[str, tuple[_Happen, tuple[str, ...]]] = {
            "bad": (self._spoil, ("followed", "ended", "other")),
            "duplicate": (self._repeat, ("followed", "ended", "other")),
            "late": (self._hold_back, ("followed",)),
            "illegal": (self._contradict, ("ended",)),
            "missed": (self._miss, ("followed",)),
        }
        self._push(start_ms, None)
        for _ in range(_ABANDONED_RUNS):
            left_s = rng.uniform(1, scenario.EXPIRES_AFTER_S)
            self._abandon(start_ms, left_s, min(left_s - 1, _ABANDONED_SPREAD_S), chances.ABANDONED)

    def open(self, start_ms: int) -> None:
        """Let the stream begin with rare cases."""
        self._owed += _OPENING
        self._abandon(start_ms, _FORGOTTEN_LEFT_S, _FORGOTTEN_SPREAD_S, chances.FORGOTTEN)

    def _tempo(self, rate_per_s: float, ratios: _Ratios) -> tuple[float, float]:
        """Return the new runs per millisecond that give the rate, and the factor on waits compared to real life."""
        events, seconds = chances.expectation(next(iter(self._lives.values())))
        added = ratios.bad + ratios.duplicate + ratios.illegal - ratios.missed
        runs_per_s = rate_per_s * (1 - added) / events
        return runs_per_s / 1000, min(1.0, MAX_LIVE_RUNS / (runs_per_s * seconds))

    def records(self) -> Iterator[SimulatedEvent]:
        """Yield the stream, without end."""
        random = self._rng.random
        disturbed = self._chances[-1][0]
        while True:
            now_ms, _, entry = heappop(self._agenda)
            if isinstance(entry, SimulatedEvent):
                record: SimulatedEvent | None = entry
            else:
                record = self._advance(entry or self._arrive(now_ms), now_ms)
            if record is None:
                continue
            if (drawn := random()) < disturbed:
                self._owed.append(next(name for chance, name in self._chances if drawn < chance))
            yield record

    def _push(self, due_ms: float, entry: SimulatedRun | SimulatedEvent | None) -> None:
        heappush(self._agenda, (due_ms, next(self._entries), entry))

    def _arrive(self, now_ms: float) -> SimulatedRun:
        """Begin a run and put the next arrival on the agenda."""
        self._push(now_ms + self._rng.expovariate(self._arrivals_per_ms), None)
        return self._new_run(self._thread(), now_ms)

    def _new_run(self, thread: Thread, created_ms: float) -> SimulatedRun:
        version = self._versions.draw(self._rng)
        return scenario.new_run(self._rng, thread, version, self._lives[version], int(created_ms) // 1000)

    def _thread(self) -> Thread:
        if len(self._idle) > _IDLE_THREADS:
            return self._idle.popleft()
        return scenario.new_thread(self._rng, self._assistants.draw(self._rng))

    def _abandon(self, start_ms: int, left_s: float, within_s: float, life: Life) -> None:
        """Add a run that began before the stream. Its first event is a call for tools that nobody answers."""
        rng = self._rng
        run = self._new_run(self._thread(), start_ms - (scenario.EXPIRES_AFTER_S - left_s) * 1000)
        scenario.enter(rng, run, "in_progress", run.created_at + 1)
        run.life, run.upcoming = life, "requires_action"
        self._push(start_ms + rng.uniform(0, within_s) * 1000, run)

    def _advance(self, run: SimulatedRun, now_ms: float) -> SimulatedEvent | None:
        """Bring the run into its next status; None where the event for it is missed or late."""
        scenario.enter(self._rng, run, run.upcoming, int(now_ms) // 1000)
        due_ms = self._plan(run, now_ms)
        event = SimulatedEvent(run.thread.key, self._encode(run), int(now_ms), "event")
        return self._disturb(run, event, due_ms) if self._owed else event

    def _encode(self, run: SimulatedRun) -> bytes:
        return self._encoders[run.version].encode(run)

    def _plan(self, run: SimulatedRun, now_ms: float) -> float:
        """Put the run's next step on the agenda and return its time; a wait ends at the expiry at the latest."""
        if run.ended:
            if self._rng.random() < _FOLLOW_UP_CHANCE:
                self._idle.append(run.thread)
            return math.inf
        upcoming, wait_s = scenario.plan(self._rng, run)
        if upcoming is None:
            return math.inf
        due_ms = now_ms + wait_s * self._pace * 1000
        if due_ms > run.expires_ms:
            upcoming, due_ms = "expired", run.expires_ms + self._rng.uniform(0, 2_000)
        run.upcoming = upcoming
        self._push(due_ms, run)
        return due_ms

    def _disturb(self, run: SimulatedRun, event: SimulatedEvent, due_ms: float) -> SimulatedEvent | None:
        """Apply the first owed disturbance that fits this event; return the event to send instead."""
        # A late event waits for the run's next one, which must itself be on time.
        follows_late = event.timestamp_ms <= run.late_until_ms
        followed = not follows_late and due_ms < event.timestamp_ms + _SOON_S * 1000
        stage = "ended" if run.ended else "followed" if followed else "other"
        for name in self._owed:
            happen, stages = self._disturbances[name]
            if stage in stages:
                self._owed.remove(name)
                return happen(run, event, due_ms)
        return event

    def _spoil(self, run: SimulatedRun, event: SimulatedEvent, _due_ms: float) -> SimulatedEvent:
        """Send a broken copy after the event."""
        reason = self._rng.choice(_BAD_REASONS)
        value = BAD_VALUES[reason](self._rng, self._encode(run))
        self._push(event.timestamp_ms, SimulatedEvent(event.key, value, event.timestamp_ms, f"bad:{reason}"))
        return event

    def _repeat(self, run: SimulatedRun, event: SimulatedEvent, _due_ms: float) -> SimulatedEvent:
        """Send the same bytes again: at once for a new run (created, then queued), else after a producer's retry."""
        created = run.status == chances.INITIAL and run.tool_rounds == 0
        at_ms = event.timestamp_ms + (0 if created else self._delay_ms(_RETRY_S))
        self._push(at_ms, SimulatedEvent(event.key, event.value, int(at_ms), "duplicate"))
        return event

    def _hold_back(self, run: SimulatedRun, event: SimulatedEvent, due_ms: float) -> None:
        """Send the event only after the run's next one."""
        run.late_until_ms = due_ms
        late = SimulatedEvent(event.key, event.value, event.timestamp_ms, "late")
        self._push(due_ms + self._delay_ms(_LATE_S), late)

    def _contradict(self, run: SimulatedRun, event: SimulatedEvent, _due_ms: float) -> SimulatedEvent:
        """Send another end of the same run after the event."""
        at_ms = event.timestamp_ms + self._delay_ms(_LATE_S)
        scenario.enter(self._rng, run, scenario.another_end(self._rng, run), int(at_ms) // 1000)
        self._push(at_ms, SimulatedEvent(event.key, self._encode(run), int(at_ms), "illegal"))
        return event

    def _miss(self, _run: SimulatedRun, _event: SimulatedEvent, _due_ms: float) -> None:
        """Do not send the event at all."""

    def _delay_ms(self, mean_s: float) -> float:
        return self._rng.expovariate(1 / mean_s) * self._pace * 1000


_BAD_REASONS = tuple(BAD_VALUES)


def _cumulate(ratios: _Ratios) -> list[tuple[float, str]]:
    names = ratios.__struct_fields__
    return list(zip(itertools.accumulate(getattr(ratios, name) for name in names), names, strict=True))
