"""`streamproc tail`, `send` and `runs`: parses, calls, reports; decides nothing else."""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from streamproc.cli.shell import (
    AsJson,
    AsJsonLines,
    Config,
    WrongUsage,
    consoles,
    err,
    out,
    run_async,
    say_errors_only,
    settings_of,
    wrong_usage,
)
from streamproc.escaping import escaped
from streamproc.exitcodes import ExitCode
from streamproc.printing import counted, print_json, print_line, print_wide

if TYPE_CHECKING:
    from streamproc.settings.service import Settings

What = Literal["transitions", "verdicts", "state", "alerts", "metrics", "instances", "dead-letters"]
STDIN = Path("-")
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="JSON objects, one a line; -: from standard input.", allow_dash=True)
]
AvroVersion = Literal["v1", "v1_5", "v2", "v2_1"]


runs_cli = typer.Typer(no_args_is_help=True, help="Look at runs: which there are, and why one is where it is.")

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Ask the console at this URL instead of the topics (or set STREAMPROC_CONSOLE__URL; the token is "
        "STREAMPROC_CONSOLE__TOKEN).",
    ),
]


@runs_cli.command("list")
def list_(
    status: Annotated[list[str] | None, typer.Option("--status", help="Only in this status; may be repeated.")] = None,
    assistant: Annotated[str | None, typer.Option("--assistant", help="Only of this assistant.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only on this model.")] = None,
    older: Annotated[
        str | None,
        typer.Option(
            "--older",
            help="At least this long in their status: an age such as 10m, 2h or 3d, or a time such as "
            "2026-01-31T12:00.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Show at most this many; 0: all.")] = 50,
    as_json: AsJsonLines = False,
    url: Url = None,
    config: Config = None,
) -> None:
    """List runs by their latest states, those first that have been in their status longest."""
    from streamproc.dlq.choice import WrongFilter, moment
    from streamproc.records.command import list_all
    from streamproc.records.runlines import table
    from streamproc.records.runstates import Wanted

    settings, now_ms = asking(settings_of(config), url), int(time.time() * 1000)
    with wrong_usage(WrongFilter):
        since_ms = moment("--older", older, now_ms)
    wanted = Wanted(frozenset(status or ()), assistant, model, since_ms, limit or None)
    say_errors_only()
    listing = run_async(list_all(settings, wanted, now_ms))
    if as_json:
        for state in listing.states:
            print_json(out, state)
        return
    if listing.states:
        print_wide(out, table(listing.states, now_ms))
    for note in listing.notes:
        print_line(err, escaped(note))
    shown = f"the first {len(listing.states):,} are shown" if listing.has_more else ""
    total = "" if listing.total is None else counted(listing.total, "run")
    print_line(err, ", ".join(part for part in (total, shown) if part) or counted(len(listing.states), "run"))


@runs_cli.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the run, as `streamproc runs list` shows it.")],
    as_json: AsJson = False,
    url: Url = None,
    config: Config = None,
) -> None:
    """Show a run: its state, since when, how long it may stay, and what happened to it: refusals and alerts, too."""
    from streamproc.records.command import show_one
    from streamproc.records.runlines import story_lines

    settings = asking(settings_of(config), url)
    say_errors_only()
    story, history = run_async(show_one(settings, run_id))
    if as_json:
        state = {"run_id": run_id, "forgotten": True} if story.state is None else story.state
        print_json(out, {**state, "history": history})
        return
    for text in story_lines(run_id, story, int(time.time() * 1000)):
        print_line(out, text)


def asking(settings: "Settings", url: str | None) -> "Settings":
    """Return the settings with the console that an option names; raises WrongUsage."""
    if url is None:
        return settings
    from streamproc.web.config import bases

    try:
        [base] = bases((url,), "a path")
    except ValueError as error:
        raise WrongUsage(f"--url: {error}") from None
    return settings.model_copy(update={"console": settings.console.model_copy(update={"url": base})})


def tail(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="Which topic.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: times in milliseconds, bytes in base64.")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also the records that the topic has already; else only new ones.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Only of this run; metrics and instances have no run id.")
    ] = None,
    no_follow: Annotated[
        bool,
        typer.Option(
            "--no-follow", help="End at the present end of the topic, else at Ctrl-C; implies --from-beginning."
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Show the records of a topic, decoded, as they are committed: whatever the framing, and without a registry."""
    from streamproc.app import with_topics
    from streamproc.records.tailing import Tail
    from streamproc.records.tailing import tail as show

    wanted = Tail(what, run, from_beginning, follow=not no_follow, as_json=as_json)
    say_errors_only()
    run_async(
        with_topics(
            settings_of(config),
            f"tail {what}",
            lambda kafka, topics: show(kafka, topics, wanted, consoles),
        )
    )


def send(
    file: File = STDIN,
    avro: Annotated[
        AvroVersion | None, typer.Option("--avro", help="Write them as RunObjects of this version; else as they are.")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Send run objects to the input topic, each as the service would read it; one that it would reject is not sent.

    Each is keyed by its run's id. Without keys the events of one run would go to several partitions, and would be
    several runs there. Exit code 1 if a line was not sent.
    """
    from streamproc.records.command import send_lines

    settings = settings_of(config)
    say_errors_only()
    with ExitStack() as stack:
        counts = run_async(send_lines(settings, _opened(file, stack), avro, _say))
    topic = settings.topic_names.events
    if as_json:
        document = {"topic": topic, "sent": counts.sent, "left": counts.left, "interrupted": counts.interrupted}
        print_json(out, document)
    else:
        more = f"; {counted(counts.left, 'line')} not sent" if counts.left else ""
        more += "; interrupted" if counts.interrupted else ""
        print_line(err, f"sent {counted(counts.sent, 'event')} to {topic}{more}")
    if counts.interrupted:
        os._exit(ExitCode.INTERRUPTED)  # Python would wait for who reads from the terminal.
    if counts.left:
        raise typer.Exit(ExitCode.FAILED)


def _say(text: str) -> None:
    print_line(err, escaped(text))


def _opened(file: Path, stack: ExitStack) -> BinaryIO:
    if file == STDIN:
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
