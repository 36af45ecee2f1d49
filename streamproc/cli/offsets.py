"""`streamproc offsets`: parses, calls, reports; decides nothing else."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamproc.cli.shell import (
    AsJson,
    Config,
    consoles,
    run_async,
    say_errors_only,
    settings_of,
    wrong_usage,
)

if TYPE_CHECKING:
    from streamproc.offsets.standing import Desk
    from streamproc.runtime.ports import Kafka
    from streamproc.settings.service import Settings

T = TypeVar("T")

offsets_cli = typer.Typer(no_args_is_help=True, help="Look at the committed offsets, and move them with their states.")


@offsets_cli.command()
def show(as_json: AsJson = False, config: Config = None) -> None:
    """Show the committed offset of each partition of both inputs, who committed it, and the consumer group.

    Columns: `committed` is the next offset to process, `first` the first offset that the topic has, `end` the next one
    to be written, `lag` the distance from `committed` to `end` (transaction markers included), `by` who committed.
    """
    from streamproc.offsets.command import show_offsets

    _on_offsets(settings_of(config), "show", lambda desk: show_offsets(desk, consoles, as_json=as_json))


@offsets_cli.command()
def skip(
    place: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="The first record to skip.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept in the dead letter: 1 to 1,000 characters.")],
    through: Annotated[
        int | None,
        typer.Option("--through", min=0, help="The last offset to skip; by default only the one given."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Skip records that cannot or must not be processed.

    They are never processed; a dead letter records their offsets and the reason. Only the next unread records of a
    partition can be skipped. A running service continues after them within a few seconds.
    """
    from streamproc.offsets import places
    from streamproc.offsets.command import skip_records

    with wrong_usage(places.WrongPlace):
        passage = places.passage(place, through, why)
    _on_offsets(settings_of(config), "skip", lambda desk: skip_records(desk, passage, consoles, as_json=as_json))


@offsets_cli.command()
def resume(
    partition: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC:PARTITION", help="The partition to resume; by default all that have stopped."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Resume partitions that stopped because too many records were rejected, without a restart.

    The limit is STREAMPROC_DEAD_LETTERS__STOP_PERCENT. The command watches for a few seconds which partitions have
    stopped: those that continue by themselves are left alone.

    """
    from streamproc.offsets import places
    from streamproc.offsets.command import resume_partitions

    with wrong_usage(places.WrongPlace):
        source = None if partition is None else places.partition(partition)
    _on_offsets(settings_of(config), "resume", lambda desk: resume_partitions(desk, source, consoles, as_json=as_json))


@offsets_cli.command()
def reset(
    to: Annotated[str, typer.Option("--to", help="earliest, an offset, or a time such as 2026-01-31T12:00:00Z.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Move a stopped service to another offset of the events topic: its states are dropped and rebuilt from there.

    A time finds the first record of each partition whose Kafka timestamp is that or later: records without a timestamp,
    or with a wrong one, are not found by it. A partition without such a record is moved to its end, and its unread
    records are skipped; --dry-run shows how many.

    It can be interrupted at any time. If it is interrupted, the service does not start until the same command has run
    to its end.
    """
    from streamproc.offsets import places
    from streamproc.offsets.command import reset_offsets

    with wrong_usage(places.WrongPlace):
        target = places.target(to)
    _on_offsets(
        settings_of(config),
        "reset --dry-run" if dry_run else "reset",
        lambda desk: reset_offsets(desk, target, consoles, dry_run=dry_run, as_json=as_json),
    )


def _on_offsets(settings: "Settings", command: str, work: "Callable[[Desk], Awaitable[int]]") -> None:
    from streamproc.app import with_offsets
    from streamproc.offsets.places import WrongPlace
    from streamproc.offsets.standing import Desk

    say_errors_only()
    name, topics, profile = settings.application_id, settings.topic_names.needed(), settings.life_cycle.name

    def at_desk(kafka: "Kafka") -> Awaitable[int]:
        return work(Desk(kafka, topics, name, profile, settings.kafka.max_record_bytes))

    with wrong_usage(WrongPlace):
        code = run_async(with_offsets(settings, f"offsets {command}", at_desk))
    if code:
        raise typer.Exit(code)
