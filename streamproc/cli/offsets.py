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
    """Show for each partition of both inputs where it stands, who committed that, and the consumer group."""
    from streamproc.offsets.command import show_offsets

    _on_offsets(settings_of(config), "show", lambda desk: show_offsets(desk, consoles, as_json=as_json))


@offsets_cli.command()
def skip(
    place: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="The first record to pass over.")],
    why: Annotated[str, typer.Option("--why", help="What the dead letter says: at most 1,000 characters.")],
    through: Annotated[int | None, typer.Option("--through", min=0, help="The last one; that one by default.")] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Pass over records that cannot be read, or must not be: they are lost, and a dead letter says so.

    Only the next ones in turn. A service that runs goes on behind them by itself, within a few seconds.
    """
    from streamproc.offsets import places
    from streamproc.offsets.command import skip_records

    with wrong_usage(places.WrongPlace):
        passage = places.passage(place, through, why)
    _on_offsets(settings_of(config), "skip", lambda desk: skip_records(desk, passage, consoles, as_json=as_json))


@offsets_cli.command()
def resume(
    partition: Annotated[
        str | None, typer.Argument(metavar="[TOPIC:PARTITION]", help="Only this; else all that stand still.")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Let partitions go on that stopped because too many records were rejected, without a restart.

    Watches for a few seconds which ones stand still: those that go on by themselves are left alone.
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
    """Go back (or on) in the events, of a service that is stopped: its states are dropped and rebuilt from there.

    A time finds the first record of each partition whose Kafka timestamp is that or later: records without a timestamp,
    or with a wrong one, are not found by it. Where none is found the partition goes to its end, and what is unread is
    passed over; --dry-run says how much.

    May be interrupted at any time; the service does not start until the same command was run to its end.
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
