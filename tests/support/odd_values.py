"""A RunObject that says everything, and what the service makes of one that is odd."""

import json
from typing import Any

from msgspec import structs

from streamproc.codec.arrival import FLAGS
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.shape import TIMES
from streamproc.core.state import State
from streamproc.core.step import begin, step
from tests.support.books import bundled_book
from tests.support.oracle import FOREVER, NO_DEADLINES
from tests.support.runobjects import START_MS, arrivals

T = 1_796_000_000
ENCODER = OutputEncoder(OutputSource("values", "run-events", 0))
WHOLE: dict[str, Any] = {
    "id": "run_1",
    "object": "thread.run",
    "status": "failed",
    "thread_id": "thread_1",
    "assistant_id": "asst_1",
    "model": "gpt-4o",
    **dict.fromkeys(TIMES, T),
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "last_error": {"code": "server_error", "message": "m"},
    "required_action": {"submit_tool_outputs": {"tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}},
    "metadata": {"a": "b"},
    "instructions": "i",
}


def taken(value: bytes, book: SchemaBook | None = None) -> RunEvent:
    """Return the event of one record, once all was made of it that the service makes."""
    decoded = decode(arrivals(value), book or bundled_book())
    assert decoded.rejections == []
    [event] = decoded.events
    assert [*event.flags] == [flag for flag in FLAGS if flag in event.flags]
    state = State(Rules(ASSISTANTS, FOREVER, NO_DEADLINES))
    outcome = step(state, [event], Moment(START_MS, caught_up=False), begin(state))
    assert sum(outcome.tally.verdicts.values()) == 1
    assert all(outcome.tally.anomalies[flag] == 1 for flag in event.flags)
    assert ENCODER.transitions(outcome.transitions, START_MS)
    assert ENCODER.states([run for run in outcome.runs.values() if run is not None], START_MS)
    return event


def as_json(found: Any, *, ensure_ascii: bool = True) -> bytes:
    """Return an object as a careless writer puts it: NaN, and halves of surrogate pairs as they are."""
    return json.dumps(found, ensure_ascii=ensure_ascii).encode(errors="surrogatepass")


def alike(event: RunEvent) -> RunEvent:
    """Return an event without what its framing decides."""
    return structs.replace(event, payload=b"", schema="")
