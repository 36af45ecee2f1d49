"""Runs as text for people: a list, and one run with its history. Text from other programs is escaped."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from streamproc.escaping import escaped
from streamproc.records.lines import line
from streamproc.records.runstates import Story
from streamproc.times import instant, span


def table(states: Iterable[Mapping[str, Any]], now_ms: int) -> Table:
    """Return runs as a table."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("run", no_wrap=True)
    for name in ("status", "for", "limit", "assistant", "model", "error"):
        grid.add_column(name, overflow="fold")
    for state in states:
        cells = (
            state["run_id"],
            state["status"],
            span(now_ms - state["status_since"]),
            _until(state["deadline_at"], now_ms),
            state["assistant_id"] or "",
            state["model"] or "",
            state["error_code"] or "",
        )
        grid.add_row(*(Text(escaped(cell)) for cell in cells))
    return grid


def story_lines(run_id: str, story: Story, now_ms: int) -> Iterator[str]:
    """Yield lines about a run: its state, then its history in the order of time."""
    yield escaped(run_id)
    for name, value in _state(story.state, now_ms):
        yield f"  {name:<11} {escaped(value)}"
    yield ""
    for gap in story.gaps:
        yield f"  {escaped(gap)}"
    for step in story.history:
        yield f"  {line(step['what'], step)}"


def _state(state: Mapping[str, Any] | None, now_ms: int) -> Iterator[tuple[str, str]]:
    if state is None:
        yield "status", "forgotten: its retention is over"
        return
    since = state["status_since"]
    yield "status", f"{state['status']} since {instant(since)}, for {span(now_ms - since)}"
    yield "limit", _limit(state["deadline_at"], now_ms)
    if state["overdue_at"] is not None:
        yield "expires", _limit(state["overdue_at"], now_ms)
    for name in ("assistant_id", "model", "thread_id", "error_code"):
        if state[name] is not None:
            yield name.partition("_")[0], state[name]
    if state["required_tools"]:
        yield "waits for", ", ".join(state["required_tools"])
    if state["usage"] is not None:
        yield "tokens", "prompt {:,}, completion {:,}, total {:,}".format(*state["usage"].values())
    if state["attempt"] > 1:
        yield "attempt", str(state["attempt"])
    yield "last event", f"{state['source_topic']}:{state['source_partition']}:{state['source_offset']}"
    yield "alerts", ", ".join(state["alerts"]) or "none"


def _limit(at_ms: int | None, now_ms: int) -> str:
    return "none" if at_ms is None else f"{instant(at_ms)}, {_until(at_ms, now_ms)}"


def _until(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return ""
    return f"in {span(at_ms - now_ms)}" if at_ms > now_ms else f"passed {span(now_ms - at_ms)} ago"
