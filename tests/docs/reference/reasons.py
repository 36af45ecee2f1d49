"""docs/reference/reasons.md: the closed vocabularies in which the service says why."""

from collections.abc import Iterable
from itertools import product

from streamproc.core.fold import reason_for
from streamproc.core.model import Reason, Verdict
from streamproc.core.tally import ANOMALIES
from streamproc.core.windowstate import Dropped
from streamproc.errors import FormerReason, RejectionReason
from streamproc.notify.observer import DeliveryResult
from streamproc.registry.observer import RequestResult
from streamproc.runtime.diagnosis import Word
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from streamproc.vocabulary import Vocabulary
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
    return page("Reasons", "the code's vocabularies", *_parts())


def _parts() -> list[str]:
    return [
        DEAD_LETTERS,
        _words("reason", RejectionReason),
        "Dead letters of earlier releases may also have:",
        _words("reason", FormerReason),
        VERDICTS,
        _words("verdict", Verdict),
        _verdict_reasons(),
        ODD,
        _words("kind", ANOMALIES),
        PAUSES,
        _pauses(),
        CONNECTIONS,
        _words("cause", Word),
        TASKS,
        _words("state", TaskState),
        PUSHES,
        _words("result", DeliveryResult),
        REGISTRY,
        _words("result", RequestResult),
        WINDOWS,
        _words("reason", Dropped),
    ]


def _words(head: str, words: Iterable[Vocabulary]) -> str:
    """Return a table of words and their meanings, in the code's order."""
    return table((head, ""), [(code(word), word.meaning) for word in words])


def _verdict_reasons() -> str:
    flags = False, True
    found = {reason_for(each, ended=e, repeats=r): each for each, e, r in product(Verdict, flags, flags)}
    return table(("reason", "verdict", ""), [(code(reason), code(found[reason]), reason.meaning) for reason in Reason])


def _pauses() -> str:
    ends = {True: "when somebody decides: `streamproc offsets`", False: "by itself"}
    rows = [(code(pause), pause.meaning, ends[pause.needs_somebody]) for pause in Pause]
    return table(("reason", "", "goes on"), rows)
