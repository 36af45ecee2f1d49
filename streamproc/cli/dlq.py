"""`streamproc dlq`: parses, calls, reports; decides nothing else."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamproc.cli.shell import (
    AsJson,
    AsJsonLines,
    Config,
    consoles,
    err,
    run_async,
    say_errors_only,
    settings_of,
    wrong_usage,
)
from streamproc.printing import print_line

if TYPE_CHECKING:
    from streamproc.dlq.choice import Choice
    from streamproc.runtime.config import TopicSettings
    from streamproc.runtime.ports import Kafka
    from streamproc.settings.service import Settings

T = TypeVar("T")

dlq_cli = typer.Typer(no_args_is_help=True, help="Look at dead letters, and send them back to where they came from.")

WHEN = (
    "an age such as 90m, 2h or 3d, or a time such as 2026-01-31T12:00 (UTC unless it names a time zone, as in +02:00)."
)
Places = Annotated[
    list[str] | None, typer.Argument(metavar="PLACE", help="Only these: partition:offset, as `dlq list` shows it.")
]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only dead letters with this reason, such as unknown_schema; may be repeated."),
]
Schemas = Annotated[
    list[str] | None,
    typer.Option(
        "--schema",
        help="Only dead letters with this schema: a registry id (17, id:17), crc64:<16 hex digits>, json, or none; "
        "may be repeated.",
    ),
]
Since = Annotated[str | None, typer.Option("--since", help=f"Only dead letters rejected from then on: {WHEN}")]
Until = Annotated[
    str | None, typer.Option("--until", help="Only dead letters rejected before then, given as for --since.")
]
EventSince = Annotated[
    str | None,
    typer.Option("--event-since", help="Only dead letters of events from then on by their own time, as for --since."),
]
EventUntil = Annotated[
    str | None,
    typer.Option("--event-until", help="Only dead letters of events before then by their own time, as for --since."),
]
Partitions = Annotated[
    list[int] | None,
    typer.Option(
        "--partition", min=0, help="Only dead letters in this partition of the dead-letter topic; may be repeated."
    ),
]


@dlq_cli.command("list")
def list_(
    places: Places = None,
    reason: Reasons = None,
    schema: Schemas = None,
    since: Since = None,
    until: Until = None,
    event_since: EventSince = None,
    event_until: EventUntil = None,
    partition: Partitions = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that were not replayed.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Show at most this many, the newest; 0: all.")] = 50,
    as_json: AsJsonLines = False,
    config: Config = None,
) -> None:
    """List dead letters, newest last, and count all that match, by reason and by schema.

    The contents of the records are not shown.
    """
    from streamproc.dlq.command import list_letters
    from streamproc.dlq.listing import LetterListing

    choice = _choice(
        places=places,
        reasons=reason,
        schemas=schema,
        since=since,
        until=until,
        event_since=event_since,
        event_until=event_until,
        partitions=partition,
    )
    listing = LetterListing(limit, open_only=open_only)
    _on_dead_letters(
        settings_of(config),
        "list",
        lambda kafka, topics: list_letters(kafka, topics, choice, listing, consoles, as_json=as_json),
    )


@dlq_cli.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="partition:offset, as `dlq list` shows it.")],
    payload: Annotated[bool, typer.Option("--payload", help="Also the first 1,024 bytes of the value.")] = False,
    whole: Annotated[bool, typer.Option("--all", help="Also the value, all of it; implies --payload.")] = False,
    results: Annotated[
        Path | None, typer.Option("--out", help="Write the value as it is to a new file, for its owner only.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead: times in milliseconds, bytes in base64.")
    ] = False,
    config: Config = None,
) -> None:
    """Show one dead letter: why, where from, key and headers; the value only if asked for."""
    from streamproc.dlq import choice
    from streamproc.dlq.command import Payload, show_letter

    with wrong_usage(choice.WrongFilter):
        at = choice.place(place)
    shown = Payload(payload or whole, whole, results)
    _on_dead_letters(
        settings_of(config),
        "show",
        lambda kafka, topics: show_letter(kafka, topics, at, shown, consoles, as_json=as_json),
    )


@dlq_cli.command()
def replay(
    places: Places = None,
    reason: Reasons = None,
    schema: Schemas = None,
    since: Since = None,
    until: Until = None,
    event_since: EventSince = None,
    event_until: EventUntil = None,
    partition: Partitions = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and write nothing.")] = False,
    max_attempts: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Leave out records that were replayed this often; 3 times by default."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Send the records of dead letters back to the events topic.

    Each dead letter is sent at most once, however often the command is repeated. Value, key, headers and timestamp stay
    as they came; the header streamproc.replay.attempt counts the attempts.

    It can be interrupted at any time: the current transaction is completed, and the same command continues from there.
    If two replays run at once, the later one takes over and the earlier one fails. Exit code: 130 if interrupted, 1 if
    it failed, 0 if everything was replayed or left out for the reasons given.
    """
    from streamproc.dlq.command import replay_letters
    from streamproc.dlq.limits import MAX_ATTEMPTS, limits_of

    choice = _choice(
        places=places,
        reasons=reason,
        schemas=schema,
        since=since,
        until=until,
        event_since=event_since,
        event_until=event_until,
        partitions=partition,
    )
    settings = settings_of(config)
    limits = limits_of(settings, max_attempts or MAX_ATTEMPTS)
    code = _on_dead_letters(
        settings,
        "replay --dry-run" if dry_run else "replay",
        lambda kafka, topics: replay_letters(kafka, topics, choice, limits, consoles, dry_run=dry_run, as_json=as_json),
    )
    if code:
        raise typer.Exit(code)


def _choice(
    *,
    places: list[str] | None,
    reasons: list[str] | None,
    schemas: list[str] | None,
    since: str | None,
    until: str | None,
    event_since: str | None,
    event_until: str | None,
    partitions: list[int] | None,
) -> "Choice":
    from streamproc.dlq import choice as filters
    from streamproc.errors import KNOWN_REASONS

    now_ms = int(time.time() * 1_000)
    with wrong_usage(filters.WrongFilter):
        choice = filters.Choice(
            reasons=filters.reasons(reasons or ()),
            schemas=filters.schemas(schemas or ()),
            since_ms=filters.moment("--since", since, now_ms),
            until_ms=filters.moment("--until", until, now_ms),
            event_since_ms=filters.moment("--event-since", event_since, now_ms),
            event_until_ms=filters.moment("--event-until", event_until, now_ms),
            partitions=frozenset(partitions or ()),
            places=filters.places(places or ()),
        ).checked()
    if unknown := sorted(choice.reasons - KNOWN_REASONS):
        # No error: an older or newer version may have written it.
        note = (
            f"unknown reason {', '.join(unknown)}; nothing will match unless another release wrote it. "
            f"Known: {', '.join(sorted(KNOWN_REASONS))}"
        )
        print_line(err, note)
    return choice


def _on_dead_letters(settings: "Settings", command: str, work: "Callable[[Kafka, TopicSettings], Awaitable[T]]") -> T:
    from streamproc.app import with_dead_letters
    from streamproc.dlq.choice import WrongFilter

    say_errors_only()  # aiokafka's warnings would only tear the bar apart.
    with wrong_usage(WrongFilter):
        return run_async(with_dead_letters(settings, f"dlq {command}", work))
