"""`streamproc rights`: parses, calls, reports; decides nothing else."""

from typing import Annotated

import typer

from streamproc.cli.shell import Config, WrongUsage, out, settings_of
from streamproc.printing import print_json, print_line
from streamproc.runtime.rights import PRINCIPAL, granting


def rights(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help='Only of these, such as run or "dlq replay"; else of each.'),
    ] = None,
    principal: Annotated[
        str, typer.Option("--principal", help="Whom to grant them to, such as User:streamproc.")
    ] = PRINCIPAL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: each command's rights.")] = False,
    config: Config = None,
) -> None:
    """Print the Kafka ACLs that each command needs, as `kafka-acls.sh` commands. Does not connect to a broker.

    $B stands for the bootstrap servers, $PRINCIPAL for the user, as in the runbooks.
    """
    from streamproc.rightsbook import COMMANDS, as_document, names, rights_of

    settings = settings_of(config)
    on = names(settings.application_id, settings.topic_names)
    if unknown := [each for each in command or () if each not in COMMANDS]:
        raise WrongUsage(f"no such command: {unknown[0]}. Known: {', '.join(COMMANDS)}")
    wanted = command or list(COMMANDS)
    if as_json:
        print_json(out, {each: as_document(rights_of(each, on)) for each in wanted})
        return
    for number, each in enumerate(wanted):
        if number:
            print_line(out, "")
        print_line(out, f"# {each}")
        for line in granting(rights_of(each, on), principal):
            print_line(out, line)
