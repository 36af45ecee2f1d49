"""A simulated run: its content, and the fields that each status writes on its RunObject.

Nothing here knows how a record is encoded, or in which order the records of different runs are sent.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from fastavro.types import Schema
from msgspec import Struct

from streamproc.local.assistants import Assistant, call_arguments, new_id
from streamproc.local.chances import INITIAL, NEVER_S, Life, Lots

EXPIRES_AFTER_S = 600
_ENDED_BY: Mapping[str, str | None] = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
    "expired": None,
}
"""Each terminal status with the time that it sets."""

_ERRORS = {
    "rate_limit_exceeded": "You exceeded your current quota, please check your plan and billing details.",
    "server_error": "Sorry, something went wrong.",
    "invalid_prompt": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "tool_user_error": "Error: the tool returned HTTP 424.",
}
_ERROR_LOTS = Lots({"rate_limit_exceeded": 45, "server_error": 35, "invalid_prompt": 10, "tool_user_error": 10})
_REASON_LOTS = Lots({"max_completion_tokens": 60, "max_prompt_tokens": 25, "content_filter": 15})

BLANK: Mapping[str, Any] = {
    "status": INITIAL,
    "required_action": None,
    "last_error": None,
    "expires_at": None,
    "started_at": None,
    "cancelled_at": None,
    "failed_at": None,
    "completed_at": None,
    "incomplete_details": None,
    "usage": None,
}
"""The fields of the RunObject that change with a run's events."""

_QUIRKS = {
    "no_usage": 0.04,
    "no_required_action": 0.03,
    "early_usage": 0.15,
    "early_cancelled_at": 0.3,
    "no_started_at": 0.05,
    "cached_tokens": 0.2,
}
"""The share of runs with each of the oddities in docs/domain.md 2."""


class Thread(Struct, frozen=True):
    """A conversation: its runs follow each other, never two at once."""

    id: str
    key: bytes
    assistant: Assistant
    metadata: dict[str, str]


class SimulatedRun(Struct):
    """One run; `state` has the fields of BLANK."""

    id: str
    thread: Thread
    version: str
    life: Life
    created_at: int
    quirks: frozenset[str]
    upcoming: str
    state: dict[str, Any]
    tool_rounds: int = 0
    late_until_ms: float = 0
    template: tuple[bytes | Schema, ...] = ()
    """Used by the encoder: the encoded fields that are the same in all events of the run."""

    @property
    def status(self) -> str:
        """The status that the run is in."""
        status: str = self.state["status"]
        return status

    @property
    def ended(self) -> bool:
        """Whether the status is terminal."""
        return self.state["status"] in _ENDED_BY

    @property
    def expires_ms(self) -> int:
        """When the run expires if nothing else ends it."""
        return (self.created_at + EXPIRES_AFTER_S) * 1000


def new_thread(rng: Random, assistant: Assistant) -> Thread:
    """Make a conversation with an assistant; its id is the key of its records, so that it stays on one partition."""
    thread_id = new_id(rng, "thread_")
    metadata = {
        "user_id": f"user_{rng.getrandbits(40):010x}",
        "tenant": rng.choice(("acme", "globex", "initech", "umbrella")),
        "channel": rng.choice(("web", "mobile", "email", "slack")),
        "trace_id": f"{rng.getrandbits(64):016x}",
    }
    return Thread(thread_id, thread_id.encode(), assistant, metadata)


def new_run(rng: Random, thread: Thread, version: str, life: Life, created_at: int) -> SimulatedRun:
    """Make a run that is about to report its first status."""
    return SimulatedRun(
        id=new_id(rng, "run_"),
        thread=thread,
        version=version,
        life=life,
        created_at=created_at,
        quirks=frozenset(quirk for quirk, chance in _QUIRKS.items() if rng.random() < chance),
        upcoming=INITIAL,
        state={**BLANK, "expires_at": created_at + EXPIRES_AFTER_S},
    )


def enter(rng: Random, run: SimulatedRun, status: str, at: int) -> None:
    """Bring the run into a status, at a time in Unix seconds."""
    run.state["status"] = status
    run.state["required_action"] = None
    _ON_ENTRY.get(status, _nothing)(rng, run, at)


def plan(rng: Random, run: SimulatedRun) -> tuple[str | None, float]:
    """Draw what happens next and after how many seconds at the pace of life."""
    to, _, mean_wait_s = run.life[run.state["status"]].draw(rng)
    if to is None or mean_wait_s == NEVER_S:
        return to, NEVER_S
    return to, rng.expovariate(1 / mean_wait_s)


def another_end(rng: Random, run: SimulatedRun) -> str:
    """Draw a terminal status other than the run's own, for a producer that contradicts itself."""
    # Not every version knows incomplete.
    return rng.choice([status for status in _ENDED_BY if status not in (run.status, "incomplete")])


def _nothing(_rng: Random, _run: SimulatedRun, _at: int) -> None:
    """For statuses that write nothing but themselves."""


def _start(_rng: Random, run: SimulatedRun, at: int) -> None:
    # Also when it resumes: the API moves started_at then.
    run.state["started_at"] = None if "no_started_at" in run.quirks else at


def _ask(rng: Random, run: SimulatedRun, _at: int) -> None:
    run.tool_rounds += 1
    if "early_usage" in run.quirks:
        run.state["usage"] = _usage(rng, run)
    if "no_required_action" not in run.quirks:
        functions = rng.choices(run.thread.assistant.functions, k=rng.choice((1, 1, 1, 2)))
        calls = [_tool_call(rng, function) for function in functions]
        run.state["required_action"] = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}


def _tool_call(rng: Random, function: str) -> dict[str, Any]:
    call = {"name": function, "arguments": call_arguments(rng, function)}
    return {"id": new_id(rng, "call_"), "type": "function", "function": call}


def _cancelling(_rng: Random, run: SimulatedRun, at: int) -> None:
    if "early_cancelled_at" in run.quirks:
        run.state["cancelled_at"] = at


def _end(rng: Random, run: SimulatedRun, at: int) -> None:
    state = run.state
    if ended_by := _ENDED_BY[state["status"]]:
        state[ended_by] = at
    state["expires_at"] = None
    if "no_usage" not in run.quirks:
        state["usage"] = _usage(rng, run)


def _fail(rng: Random, run: SimulatedRun, at: int) -> None:
    _end(rng, run, at)
    code = _ERROR_LOTS.draw(rng)
    run.state["last_error"] = {"code": code, "message": _ERRORS[code]}


def _cut_short(rng: Random, run: SimulatedRun, at: int) -> None:
    _end(rng, run, at)
    run.state["incomplete_details"] = {"reason": _REASON_LOTS.draw(rng)}


def _usage(rng: Random, run: SimulatedRun) -> dict[str, Any]:
    prompt = (1 + run.tool_rounds) * rng.randrange(300, 3_000)
    completion = (1 + run.tool_rounds) * rng.randrange(20, 600)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    # An undocumented field that only the newest schema has; writers with other schemas ignore it.
    details = {"prompt_token_details": {"cached_tokens": prompt // 2}} if "cached_tokens" in run.quirks else {}
    return usage | details


_ON_ENTRY: Mapping[str, Callable[[Random, SimulatedRun, int], None]] = {
    "in_progress": _start,
    "requires_action": _ask,
    "cancelling": _cancelling,
    "completed": _end,
    "incomplete": _cut_short,
    "failed": _fail,
    "cancelled": _end,
    "expired": _end,
}
