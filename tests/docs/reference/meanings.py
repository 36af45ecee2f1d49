"""What the roles of topics mean. The code says which there are: one without a meaning fails.

The words of a `Vocabulary` have their meanings with them.
"""

from collections.abc import Iterable

TOPICS = {
    "events": ("what producers write, one event a record", "run id or thread id"),
    "state": ("`RunState`, or a tombstone: the run is forgotten", "run id"),
    "transitions": ("`RunTransition`", "run id"),
    "verdicts": ("`RunVerdict`", "run id"),
    "dead_letters": ("the record as it came, with headers that say why", "as it came"),
    "measurements": ("sums of one commit; internal", "none"),
    "windows": ("state of a window; internal", "the window, or a condition on it"),
    "metrics": ("`RunMetrics`", '`["assistant_id","model"]`'),
    "alerts": ("`RunAlert`", "run id, else alert id"),
    "instances": ("`RunInstance`, or a tombstone: the instance stopped", "instance id"),
}


def same(words: Iterable[str], meanings: Iterable[str]) -> None:
    """Fail where there is a word without a meaning, or a meaning without a word."""
    odd = {*words} ^ {*meanings}
    assert not odd, f"tests/docs/reference/meanings.py and the code do not agree on {', '.join(sorted(odd))}"
