"""`streamproc tail` and `send`: parses, calls, reports; decides nothing else."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from streamproc.escaping import escaped
from streamproc.observe.logs import configure as configure_logs
from streamproc.printing import print_line
from streamproc.shell import FAILURE, Config, WrongUsage, counted, err, out, run_async, settings_of

What = Literal["transitions", "verdicts", "state", "alerts", "metrics", "dead-letters"]
STDIN = Path("-")
File = Annotated[Path, typer.Argument(help="JSON objects, one a line; -: from standard input.", allow_dash=True)]
AvroVersion = Literal["v1", "v1_5", "v2", "v2_1"]


def tail(
    what: Annotated[What, typer.Argument(help="Which topic.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: times in milliseconds, bytes in base64.")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also what is there already; else only what comes from now on.")
    ] = False,
    run: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    no_follow: Annotated[
        bool,
        typer.Option("--no-follow", help="From the beginning to where the topic ends now; else until Ctrl-C."),
    ] = False,
    config: Config = None,
) -> None:
    """Show the records of a topic, decoded, as they are committed: whatever the framing, and without a registry."""
    from streamproc.app import with_topics
    from streamproc.records.tailing import Tail
    from streamproc.records.tailing import tail as show

    wanted = Tail(what, run, from_beginning, follow=not no_follow, as_json=as_json)
    configure_logs("ERROR", "console")
    run_async(with_topics(settings_of(config), lambda kafka, topics: show(kafka, topics, wanted, out)))


def send(
    file: File = STDIN,
    avro: Annotated[
        AvroVersion | None, typer.Option("--avro", help="Write them as RunObjects of this version; else as they are.")
    ] = None,
    config: Config = None,
) -> None:
    """Send run objects to the input topic, each as the service would read it; one that it would reject is not sent.

    Each is keyed by its run's id. Without keys the events of one run would go to several partitions, and would be
    several runs there. Exit code 1 where a line was left.
    """
    from streamproc.records.command import send_lines

    settings = settings_of(config)
    configure_logs("ERROR", "console")
    with ExitStack() as stack:
        sent, left = run_async(send_lines(settings, _opened(file, stack), avro, _say))
    more = f"; {counted(left, 'line')} left" if left else ""
    print_line(err, f"sent {counted(sent, 'event')} to {settings.topic_names.events}{more}")
    if left:
        raise typer.Exit(FAILURE)


def _say(text: str) -> None:
    print_line(err, escaped(text))


def _opened(file: Path, stack: ExitStack) -> BinaryIO:
    if file == STDIN:
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
