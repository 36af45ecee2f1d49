"""`streamproc topics`: parses, calls, reports."""

from typing import Annotated

import typer

from streamproc.cli.shell import AsJson, Config, out, run_async, say_errors_only, settings_of
from streamproc.printing import counted, print_json, print_line

topics_cli = typer.Typer(no_args_is_help=True, help="Create or check the topics.")


@topics_cli.command()
def create(
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="Partitions of a new input topic; 4 by default. They can never be changed later."
        ),
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Replicas of each new topic; without it the broker's default applies. Use 3 in production.",
        ),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create the topics that are missing, each with the partitions, clean-up policy and retention it needs."""
    from streamproc import app

    settings = settings_of(config)
    say_errors_only()
    names = run_async(app.create(settings, partitions, replication_factor))
    if as_json:
        print_json(out, {"created": names})
        return
    for name in names:
        print_line(out, f"created {name}")
    if not names:
        print_line(out, "all topics exist: `streamproc topics check` tells whether they fit")


@topics_cli.command()
def check(
    rights: Annotated[
        bool, typer.Option("--rights/--no-rights", help="Also whether this user may do all that the service does.")
    ] = True,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Check that the topics exist and fit together, and that this user has the rights that the service needs."""
    from streamproc import app

    settings = settings_of(config)
    say_errors_only()
    count = run_async(app.check(settings, rights=rights))
    if as_json:
        print_json(out, {"partitions": count, "rights_checked": rights})
        return
    print_line(out, f"the topics fit together, with {counted(count, 'partition')}")
