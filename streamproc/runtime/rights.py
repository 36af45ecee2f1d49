"""Rights in Kafka: what a user may do with a topic, a group, a transactional id; and the commands that grant it.

Pure: who needs which is in `rightsbook`, what the broker says of them in `aio/authorized.py`.
"""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from shlex import quote
from typing import NamedTuple

PRINCIPAL = "$PRINCIPAL"
"""In place of the user whom nobody has named: the broker's own name for a login is told to nobody but its log."""


class Resource(StrEnum):
    """What a right is about, as `kafka-acls` has it in its options."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Operation(StrEnum):
    """What may be done; READ and WRITE include DESCRIBE."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


class Right(NamedTuple):
    """One right. `prefixed`: on all whose names begin so; `asked`: one of these names, by which it is asked for."""

    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False
    asked: str = ""

    def __str__(self) -> str:
        what = self.resource.replace("-", " ")
        return f"{self.operation} on {f'{what}s that begin with' if self.prefixed else what} {self.name}"


def granting(rights: Iterable[Right], principal: str = PRINCIPAL) -> list[str]:
    """Return the commands that give a user these rights: one for all resources of a kind with the same operations."""
    operations: dict[Right, set[Operation]] = {}
    for right in rights:
        any_of_it = Right(Operation.DESCRIBE, right.resource, right.name, right.prefixed)
        operations.setdefault(any_of_it, set()).add(right.operation)
    alike: dict[tuple[Resource, bool, tuple[Operation, ...]], list[Right]] = {}
    for it, granted in operations.items():
        alike.setdefault((it.resource, it.prefixed, tuple(sorted(granted))), []).append(it)
    return [_command(them[0], each[2], [it.name for it in them], principal) for each, them in alike.items()]


def lacked(rights: Collection[Right], principal: str = PRINCIPAL) -> str:
    """Return in words which rights are lacking, and how to grant them."""
    commands = granting(rights, principal)
    if len(rights) == 1:
        return f"the user lacks the right {next(iter(rights))}. To grant it: {commands[0]}"
    named, how = (("\n  - ".join(map(str, rights))), "\n  ".join(commands))
    return f"the user lacks these rights in Kafka:\n  - {named}\nTo grant them:\n  {how}"


def _command(like: Right, operations: Sequence[Operation], names: Sequence[str], principal: str) -> str:
    who = f'"{principal}"' if principal == PRINCIPAL else quote(principal)
    words = ["kafka-acls.sh --bootstrap-server $B --add --allow-principal", who]
    words += [f"--operation {operation}" for operation in operations]
    words += ["--resource-pattern-type prefixed"] if like.prefixed else []
    return " ".join([*words, *(f"--{like.resource} {quote(name)}" for name in names)])
