"""Short ways to make events, and a strategy for whole streams of them."""

from hypothesis import strategies as st

from streamproc.core.deadlines import Deadlines
from streamproc.core.model import MAX_AHEAD_MS, Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, step

START_MS = 1_717_200_000_000
RETENTION = Retention(terminal_ms=86_400_000, open_ms=604_800_000)
RULES = Rules(ASSISTANTS, RETENTION, Deadlines(overdue=False))
TRAFFIC_ARRIVES = 10_000_000
"""When `traffic` arrives, by the clock, in milliseconds after START_MS."""
STATUSES = (*ASSISTANTS.statuses, "paused")


def event(status: str, *, at: int = 0, run: str = "run_1", offset: int | None = None, **fields: object) -> RunEvent:
    """Return an event `at` milliseconds after START_MS; its payload differs with its content."""
    values: dict[str, object] = {
        "run_id": run,
        "status": status,
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "model": "gpt-4o",
        "created_at": START_MS // 1000,
        "started_at": None,
        "expires_at": None,
        "completed_at": None,
        "failed_at": None,
        "cancelled_at": None,
        "usage": None,
        "error_code": None,
        "required_tools": (),
        "key": b"thread_1",
        "timestamp": START_MS + at,
        "offset": at if offset is None else offset,
        "schema": "crc64:0000000000000000",
        **fields,
    }
    content = sorted((name, value) for name, value in values.items() if name not in ("timestamp", "offset", "key"))
    values.setdefault("payload", repr(content).encode())
    return RunEvent(**values)  # type: ignore[arg-type]


def new_state() -> State:
    """Return an empty state with the default retention and no deadlines."""
    return State(RULES)


def moment(at: int = 0, *, caught_up: bool = False) -> Moment:
    """Return a reading of the clock `at` milliseconds after START_MS."""
    return Moment(START_MS + at, caught_up)


def fold(state: State, *events: RunEvent, at: int = 10_000_000) -> CommitOutcome:
    """Step and merge, as a commit would."""
    outcome = step(state, events, moment(at), begin(state))
    state.merge(outcome)
    return outcome


@st.composite
def streams(draw: st.DrawFn, runs: int = 4, longest: int = 40) -> list[RunEvent]:
    """Return a stream of events of several runs, in the order of arrival, exact repeats among them."""
    events: list[RunEvent] = []
    clock = 0
    for offset in range(draw(st.integers(1, longest))):
        clock += draw(st.integers(0, 5_000))
        if events and draw(st.integers(0, 5)) == 0:
            again = draw(st.sampled_from(events))
            fields = {name: getattr(again, name) for name in RunEvent.__struct_fields__}
            events.append(RunEvent(**{**fields, "offset": offset, "timestamp": START_MS + clock}))
            continue
        events.append(
            event(
                draw(st.sampled_from(STATUSES)),
                run=f"run_{draw(st.integers(1, runs))}",
                at=clock - draw(st.sampled_from((0, 0, 0, 700))),
                offset=offset,
                started_at=draw(st.none() | st.integers(START_MS // 1000, START_MS // 1000 + 9)),
                usage=draw(st.none() | st.just((1, 2, 3))),
                error_code=draw(st.none() | st.just("server_error")),
            )
        )
    return events


@st.composite
def traffic(draw: st.DrawFn, longest: int = 30) -> list[RunEvent]:
    """Return events of a few runs: late ones, expiries that move, assistants told only later, broken clocks."""
    events: list[RunEvent] = []
    clock = 0
    for offset in range(draw(st.integers(1, longest))):
        clock += draw(st.sampled_from((0, 1, 300, 999, 1_000, 2_500, 7_000, 30_000)))
        at = clock - draw(st.sampled_from((0, 0, 0, 700, 5_000)))
        if draw(st.integers(0, 15)) == 0:
            at = draw(st.sampled_from((10**12, -START_MS, TRAFFIC_ARRIVES + MAX_AHEAD_MS + 1)))
        run = draw(st.integers(1, 4))
        events.append(
            event(
                draw(st.sampled_from((*ASSISTANTS.statuses, "paused", "queued", "in_progress"))),
                run=f"run_{run}",
                at=at,
                offset=offset,
                assistant_id=draw(st.sampled_from((None, f"asst_{run % 2 + 1}", f"asst_{run % 2 + 1}"))),
                expires_at=draw(st.none() | st.integers(START_MS // 1000, START_MS // 1000 + 60)),
            )
        )
    return events
