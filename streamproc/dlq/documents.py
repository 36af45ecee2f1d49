"""What `dlq show` and `dlq replay` say, for programs: times in milliseconds, bytes in base64."""

import base64
from typing import Any

from streamproc.codec.sizes import named
from streamproc.dlq.letter import Letter
from streamproc.dlq.planning import LetterVerdict, ReplayPlan
from streamproc.dlq.receipts import Receipt
from streamproc.dlq.replaying import LetterReplay
from streamproc.dlq.showing import row_document


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
    replayed = 0 if replay is None else replay.replayed
    # What is not sent though the replay came to its end was sent by another command.
    by_another = plan.total - replayed if replay is not None and replay.finished else 0
    return {
        "dry_run": replay is None,
        "meant": plan.total,
        "reasons": dict(plan.chosen.reasons),
        "schemas": dict(plan.chosen.schemas),
        "replayed": replayed,
        "replayed_by_another": by_another,
        "remaining": plan.total - replayed - by_another,
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
