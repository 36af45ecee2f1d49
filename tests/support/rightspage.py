"""docs/rights.md, made of the rightsbook: `python -m tests.support.rightspage > docs/rights.md`."""

from collections.abc import Iterable

from streamproc.rightsbook import COMMANDS, names, rights_of
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.rights import Operation, Resource, Right, granting

HEAD = """# Rights in Kafka

The permissions (ACLs) that each command needs, made of `streamproc/rightsbook.py` by
`python -m tests.support.rightspage`. Names are the defaults: `streamproc rights` prints the same for the settings in
force, `streamproc rights run --principal User:streamproc` the commands of one alone, `--json` as data. A test runs
every command with exactly these rights, and takes away one after the other.

- `$B`: the bootstrap servers. `$PRINCIPAL`: the user as the broker has it, such as `User:streamproc` (SASL) or
  `User:CN=streamproc` (a client certificate; the broker's log names it when it denies something).
- Read and Write include Describe. An ACL on a prefix, on `*`, or a super user will do as well.
- Every command looks at its rights first, and names all that are missing with the `kafka-acls` commands. `run` does
  so at its start, and exits with 1; `topics check` does so for `run` (`--no-rights`: for itself alone). Whether a
  topic may be created shows when it is.
- A broker without an authorizer tells of no rights: nothing is complained about.
- Taken away while the service runs: it waits, is not ready, and goes on by itself once the permission is back: see the
  runbook (deploy/runbooks/Rights.md).
- Brokers before 2.8 want IdempotentWrite on the cluster besides, for `send` and `simulate`.
- `dlq replay` needs Create while there is no `run-events-dlq-replays` only, and Read on `run-events` for letters that
  are cut only. `offsets skip` and `resume` read the state (Read on `run-state`, `run-windows`) where nothing was
  committed yet.
- `kafka`, `replay`, `describe` and `schema check` ask no cluster; `demo` makes topics of its own, and needs all of it
  on names that begin with `demo-`. `runs list` and `show` need none with `--url`.
"""


def page() -> str:
    """Return the whole file."""
    on = names("streamproc", TopicSettings())
    parts = [HEAD]
    for command in COMMANDS:
        rights = rights_of(command, on)
        parts.append(f"## {command}\n\n{_table(rights)}\n\n```console\n{_commands(rights)}\n```\n")
    return "\n".join(parts)


def _table(rights: Iterable[Right]) -> str:
    operations: dict[tuple[Resource, str], list[Operation]] = {}
    for right in rights:
        name = f"`{right.name}`" + (" and all that begin so" if right.prefixed else "")
        operations.setdefault((right.resource, name), []).append(right.operation)
    rows = [f"| {kind.replace('-', ' ')} | {name} | {', '.join(does)} |" for (kind, name), does in operations.items()]
    return "\n".join(["| on | name | |", "|---|---|---|", *rows])


def _commands(rights: Iterable[Right]) -> str:
    return "\n".join(f"$ {line}" for line in granting(rights))


if __name__ == "__main__":
    print(page(), end="")
