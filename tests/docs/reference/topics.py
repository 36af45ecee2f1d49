"""docs/reference/topics.md: the topics, as `streamproc topics create` makes them."""

from collections.abc import Mapping

from streamproc.runtime.config import KafkaSettings, TopicSettings
from streamproc.runtime.topics import DAY_MS, PARTITIONS, RECEIPTS, ROLES, _config, receipts_topic
from tests.docs.reference.markdown import code, page, table

INTRODUCTION = f"""\
As `streamproc topics create` makes them. Names are those of the [settings](settings.md#topics) of `topics`. A new
input topic has {PARTITIONS} partitions, unless `--partitions` says otherwise; all others but run-instances have as
many as the input. Values are Avro in the framing of `outputs.framing`, with the fields of [the schemas](schemas.md);
how to read them: [Reading the outputs](../outputs.md)."""
CONFIGURED = """\
What is not listed is the broker's default. `max.message.bytes` follows `kafka.max_record_bytes`; these are for its
default."""
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
"""What is in a topic, and its key."""
HEADS = ("role", "topic", "record", "key", "partitions", "clean-up", "kept")


def text() -> str:
    """Return the page."""
    names = TopicSettings().by_role()
    for roles in (names, ROLES):
        odd = roles.keys() ^ TOPICS.keys()
        assert not odd, f"tests/docs/reference/topics.py and the code do not agree on {', '.join(sorted(odd))}"
    rows = [_row(role, name) for role, name in names.items()]
    receipts = receipts_topic(names["dead_letters"])
    rows.append(
        (
            "",
            code(receipts),
            "which dead letters were replayed; made by `streamproc dlq replay`",
            "of the dead letter",
            "as the input",
            code(RECEIPTS.config["cleanup.policy"]),
            _kept(RECEIPTS.config),
        )
    )
    return page(
        "Topics",
        "the code's table of topics",
        INTRODUCTION,
        table(HEADS, rows),
        f"## Configuration\n\n{CONFIGURED}",
        table(("topic", "configuration"), [(code(name), _configuration(role)) for role, name in names.items()]),
    )


def _row(role: str, name: str) -> tuple[str, ...]:
    record, key = TOPICS[role]
    own = ROLES[role].partitions
    count = "your choice" if role == "events" else "as the input" if own is None else str(own)
    return (
        code(role),
        code(name),
        record,
        key,
        count,
        code(ROLES[role].config["cleanup.policy"]),
        _kept(ROLES[role].config),
    )


def _kept(config: Mapping[str, str]) -> str:
    days = (
        f"{int(config['retention.ms']) // DAY_MS} days".replace("1 days", "1 day") if "retention.ms" in config else None
    )
    if "compact" in config["cleanup.policy"]:
        return f"the latest of each key{f', for {days}' if days else ''}"
    return days or "as the broker has it"


def _configuration(role: str) -> str:
    config = _config(role, KafkaSettings().max_record_bytes)
    return " ".join(code(f"{name}={value}") for name, value in config.items())
