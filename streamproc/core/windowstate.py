"""The state of a window task, and the changes of one commit to it."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct, field

from streamproc.core.alerts import Alert, AlertKind
from streamproc.core.calendar import Calendar, CalendarOverlay
from streamproc.core.conditions import Holding, HoldingKey, WindowCondition
from streamproc.core.failures import FailureRules
from streamproc.core.measure import Group, Totals
from streamproc.core.model import OLD_MS
from streamproc.core.sources import SourceMark, Sources
from streamproc.vocabulary import Vocabulary

MAX_LOOKED_AT = 2_000
"""How many windows one commit closes or drops at most, so that it stays small."""
NOT_YET = -1
"""The revision of a window that has not closed."""


class WindowRules(Struct, frozen=True):
    """How windows are cut and when they close. `sources`: how many partitions measure; `silence_ms` 0: no alert."""

    sources: int
    stream: str
    sizes_ms: tuple[int, ...] = (60_000,)
    grace_ms: int = 30_000
    retention_ms: int = 3_600_000
    silence_ms: int = 600_000
    conditions: tuple[WindowCondition, ...] = field(default_factory=lambda: (FailureRules(),))

    def closes_at(self, key: "WindowKey") -> int:
        """Return the watermark that closes a window."""
        return key.start + key.size_ms + self.grace_ms

    def expires_at(self, key: "WindowKey") -> int:
        """Return the watermark from which on late arrivals are dropped."""
        return self.closes_at(key) + self.retention_ms

    def condition(self, kind: AlertKind) -> WindowCondition | None:
        """Return the condition of a kind, None if it is no longer configured."""
        return next((each for each in self.conditions if each.kind is kind), None)

    def judged_again_at(self, kind: AlertKind, holding: Holding) -> int:
        """Return the watermark that closes the group's next window, which decides whether the condition still holds."""
        condition = self.condition(kind)
        return holding.until + (condition.window_ms if condition else 0) + self.grace_ms


class WindowKey(NamedTuple):
    """A window of a group. Times in milliseconds."""

    assistant_id: str | None
    model: str | None
    size_ms: int
    start: int

    @property
    def group(self) -> Group:
        """The group that the window is about."""
        return self.assistant_id, self.model


class Window(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The sums of a window. `revision`: the last one sent, or NOT_YET; `late`: arrivals after it closed."""

    totals: Totals = field(default_factory=Totals)
    revision: int = NOT_YET
    late: int = 0

    def copy(self) -> "Window":
        """Return one that can be changed on its own."""
        return Window(self.totals.copy(), self.revision, self.late)


class Silence(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The silence whose alert fires. `since`: by the clock."""

    since: int


SILENCE_KEY, SOURCES_KEY = "silence", "sources"
Key = WindowKey | HoldingKey | str | int
"""The key of a window, a holding condition, the silence, or the sources; a number: of one source, see SourceMark."""
Value = Window | Holding | Silence | Sources | SourceMark


class WindowState:
    """The state of one measurement partition. `watermark` in milliseconds: the stream time of the position."""

    def __init__(self, rules: WindowRules, watermark: int = 0) -> None:
        self.rules = rules
        self.values: dict[Key, Value] = {}
        self.watermark = watermark
        self.idle_until = 0
        self.closing: Calendar[WindowKey] = Calendar(1)
        self.holding: Calendar[HoldingKey] = Calendar(1)

    @property
    def stream_time(self) -> int:
        """How far time has come: the watermark, even if the clock moved it and there was nothing to commit."""
        return max(self.watermark, self.idle_until)

    @property
    def live_keys(self) -> int:
        """How many keys the state topic has."""
        return len(self.values)

    def arm(self) -> None:
        """Schedule the windows of a restored state."""
        out = WindowOutcome.on(self)
        for key, value in self.values.items():
            out.remind(self.rules, key, value)
        self._take_over(out)

    def merge(self, out: "WindowOutcome") -> None:
        """Apply the changes of a confirmed commit. The commit must have begun on this state as it is."""
        for key, value in out.changed.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self.watermark = out.watermark
        self._take_over(out)

    def settle(self, out: "WindowOutcome") -> None:
        """If there is nothing to commit: note what was examined without a change, so that nothing examines it again."""
        self.idle_until = out.watermark
        self._take_over(out)

    def live_after(self, changed: Mapping[Key, Value | None]) -> int:
        """Return the number of keys once `changed` is merged."""
        values = self.values
        return len(values) + sum((value is not None) - (key in values) for key, value in changed.items())

    def _take_over(self, out: "WindowOutcome") -> None:
        self.closing.merge(out.closing)
        self.holding.merge(out.holding)


class Closing(NamedTuple):
    """A revision of a window, to be sent."""

    key: WindowKey
    revision: int
    totals: Totals
    late: int


class Dropped(Vocabulary):
    """Why an arrival is in no window. The two point to different causes."""

    LATE = "late", "It came after `windows.retention_s`."
    OLD = "old", "It came a day or more after that."

    @staticmethod
    def after(ms: int) -> "Dropped":
        """Return the reason, given how long ago the retention of the last fitting window ended."""
        return Dropped.OLD if ms >= OLD_MS else Dropped.LATE


class WindowOutcome(Struct):
    """What one commit changes and sends: an overlay on a WindowState, which it leaves as it is.

    `closing`, `holding`: overlays on those of the state; `target`: the watermark that the marks permit;
    `room`: how many windows may still be closed or dropped; `changed`: values, None where they are gone; `late`:
    arrivals after a close; `dropped`: those in no window, by `Dropped`; `unjudged`: windows that did not tell whether a
    condition holds, by its kind.
    """

    watermark: int
    closing: CalendarOverlay[WindowKey]
    holding: CalendarOverlay[HoldingKey]
    target: int = 0
    room: int = MAX_LOOKED_AT
    changed: dict[Key, Value | None] = field(default_factory=dict)
    closings: list[Closing] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    revised: dict[WindowKey, None] = field(default_factory=dict)
    late: int = 0
    dropped: dict[Dropped, int] = field(default_factory=dict)
    unjudged: dict[str, int] = field(default_factory=dict)

    @classmethod
    def on(cls, state: WindowState) -> "WindowOutcome":
        """Return an empty outcome."""
        return cls(state.watermark, CalendarOverlay(state.closing), CalendarOverlay(state.holding))

    def remind(self, rules: WindowRules, key: Key, value: Value) -> None:
        """Schedule a window for its close or expiry, a holding condition for the close of its next window."""
        if isinstance(key, WindowKey) and isinstance(value, Window):
            closed = value.revision != NOT_YET
            self.closing.add(key, rules.expires_at(key) if closed else rules.closes_at(key))
        elif isinstance(key, HoldingKey) and isinstance(value, Holding):
            self.holding.add(key, rules.judged_again_at(key.kind, value))

    def get(self, state: WindowState, key: Key) -> Value | None:
        """Return a value as this outcome changes it, else as in `state`."""
        return self.changed[key] if key in self.changed else state.values.get(key)

    def sources(self, state: WindowState) -> Sources:
        """Return what is known of the sources; the caller must not change it."""
        known = self.get(state, SOURCES_KEY)
        return known if isinstance(known, Sources) else Sources.of(state.rules.sources, state.values)

    def own_sources(self, state: WindowState) -> Sources:
        """Return the sources, for this commit to change.

        The same commit removes the values of single sources: a source is never known twice, or not at all.
        """
        own = self.changed.get(SOURCES_KEY)
        if not isinstance(own, Sources):
            own = self.changed[SOURCES_KEY] = self.sources(state).copy()
            if SOURCES_KEY not in state.values:
                self.changed.update((key, None) for key in state.values if isinstance(key, int))
        return own
