"""docs/reference/reasons.md: the closed vocabularies in which the service says why."""

from streamproc.core.model import Reason, Verdict
from streamproc.core.windowstate import Dropped
from streamproc.notify.observer import DeliveryResult as Pushed
from streamproc.observe.counters import FORMER_REASONS, REASONS
from streamproc.observe.runmetrics import ANOMALIES
from streamproc.registry.observer import RequestResult as Asked
from streamproc.runtime.diagnosis import Word
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from tests.docs.reference import meanings
from tests.docs.reference.markdown import code, page, table

DEAD_LETTERS = """\
## Dead letters

In the header `streamproc.error.reason` of a dead letter, and the label `reason` of
`streamproc_events_rejected_total`. What to do: [Dead letters](../dead-letters.md)."""
VERDICTS = """\
## Verdicts

What became of an event that could be used: the label `verdict` of `streamproc_event_verdicts_total`. Each one that
changed no status has a record in run-verdicts, with verdict and reason."""
ODD = """\
## Anomalies

What is odd about an event that is taken all the same: the label `kind` of `streamproc_run_anomalies_total`."""
PAUSES = """\
## Pauses

Why a partition waits, with its records in the input: the label `reason` of `streamproc_partitions_paused`, and the
`causes` of `/readyz`. What to do: [Operating](../operating.md)."""
CONNECTIONS = """\
## Connections

Why there is no connection to a broker: in the log, in the `causes` of `/readyz`, and the label `cause` of
`streamproc_transactions_failed_total`. A message beside it says what was seen, and what to change."""
TASKS = """\
## Tasks

The life of a partition's task: the label `state` of `streamproc_task_state`, and the log."""
PUSHES = """\
## Pushes

What became of an alert that was sent to a receiver: the label `result` of `streamproc_push_sent_total`."""
REGISTRY = """\
## Registry

What became of a request to a schema registry: the label `result` of `streamproc_registry_requests_total`."""
WINDOWS = """\
## Windows

Why an arrival is in no window: the label `reason` of `streamproc_window_dropped_total`."""


def text() -> str:
    """Return the page."""
    return page("Reasons", "the code's own lists", *_parts())


def _parts() -> list[str]:
    meanings.same(Reason, meanings.VERDICT_REASONS)
    reasons = [(code(reason), *_of(reason)) for reason in Reason]
    return [
        DEAD_LETTERS,
        meanings.listed("reason", REASONS, meanings.REASONS),
        "Dead letters of earlier releases may also have:",
        meanings.listed("reason", FORMER_REASONS, meanings.FORMER_REASONS),
        VERDICTS,
        meanings.listed("verdict", Verdict, meanings.VERDICTS),
        table(("reason", "verdict", ""), reasons),
        ODD,
        meanings.listed("kind", ANOMALIES, meanings.ANOMALIES),
        PAUSES,
        _pauses(),
        CONNECTIONS,
        meanings.listed("cause", Word, meanings.CONNECTIONS),
        TASKS,
        meanings.listed("state", (state.value for state in TaskState), meanings.TASKS),
        PUSHES,
        meanings.listed("result", Pushed, meanings.PUSHES),
        REGISTRY,
        meanings.listed("result", Asked, meanings.REGISTRY),
        WINDOWS,
        meanings.listed("reason", Dropped, meanings.DROPPED),
    ]


def _of(reason: Reason) -> tuple[str, str]:
    verdict, meaning = meanings.VERDICT_REASONS[reason]
    return code(Verdict(verdict)), meaning


def _pauses() -> str:
    meanings.same((pause.value for pause in Pause), meanings.PAUSES)
    ends = {True: "when somebody decides: `streamproc offsets`", False: "by itself"}
    rows = [(code(pause.value), meanings.PAUSES[pause.value], ends[pause.needs_somebody]) for pause in Pause]
    return table(("reason", "", "goes on"), rows)
