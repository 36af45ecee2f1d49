"""States as tests compare them."""

from streamproc.core.model import Run
from streamproc.core.state import State


def runs_of(state: State) -> dict[str, Run]:
    """Return the runs with their payloads: under which number a state keeps one is its own business."""
    return {run.run_id: run for run in state.whole(list(state.runs.values()))}
