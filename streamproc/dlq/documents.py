"""What the commands of `dlq` tell programs: times in milliseconds, bytes in base64."""

import base64
from typing import Any

from streamproc.codec.sizes import named
from streamproc.dlq.letter import Letter
from streamproc.dlq.planning import LetterVerdict, ReplayPlan
from streamproc.dlq.receipts import Receipt
from streamproc.dlq.replaying import LetterReplay


def row_document(letter: Letter, size: int, receipt: Receipt | None) -> dict[str, Any]:
    """Return a letter of the list for programs."""
    return {
        "place": letter.place,
        "time": letter.source.timestamp,
        "written": letter.written_ms,
        "reason": letter.reason,
        "message": letter.message,
        "schema": letter.schema,
        "source": {"topic": letter.source.topic, "partition": letter.source.partition, "offset": letter.source.offset},
        "bytes": size,
        "cut": letter.is_cut,
        "sha256": None if letter.original is None else letter.original.sha256,
        "through": letter.through,
        "attempt": letter.attempt,
        "replayed": None if receipt is None else receipt.at_ms,
    }


def letter_document(
    letter: Letter, receipt: Receipt | None, *, show_value: bool, most_bytes: int | None
) -> dict[str, Any]:
    """Return everything about a letter, as the list has it and more; `value` only where it is shown, so much of it."""
    document = row_document(letter, letter.size, receipt)
    document["key"] = _text(letter.key)
    document["headers"] = [{"name": _name(named(name)), "value": _text(value)} for name, value in letter.headers]
    document["value_bytes"] = None if letter.value is None else len(letter.value)
    if show_value:
        document["value"] = _text(None if letter.value is None else letter.value[:most_bytes])
    return document


def replay_document(plan: ReplayPlan, replay: LetterReplay | None) -> dict[str, Any]:
    """Return what was replayed, or would be where `replay` is None, and what was left."""
    return {
        "dry_run": replay is None,
        "meant": plan.total,
        "reasons": dict(plan.chosen.reasons),
        "schemas": dict(plan.chosen.schemas),
        "replayed": 0 if replay is None else replay.replayed,
        "replayed_by_another": 0 if replay is None else replay.by_another,
        "remaining": plan.total if replay is None else replay.remaining,
        "in_doubt": 0 if replay is None else replay.in_doubt,
        "replayed_before": plan.counts[LetterVerdict.REPLAYED],
        "left": {verdict.name.lower(): count for verdict, count, _ in plan.left()},
        "unknown_schemas": dict(plan.unmended),
        "nothing_at": [f"{partition}:{offset}" for partition, offset in plan.nothing_at],
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _name(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
