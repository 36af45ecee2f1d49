"""The rights in Kafka that each command needs, under these settings. docs/rights.md is made from this list.

Each list is minimal: a test runs the command with these rights and no others, and then with each of them missing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from streamproc.runtime.config import TopicSettings
from streamproc.runtime.rights import Operation, Resource, Right
from streamproc.runtime.topics import receipts_topic

READ, WRITE, CREATE, DESCRIBE, CONFIGS = (
    Operation.READ,
    Operation.WRITE,
    Operation.CREATE,
    Operation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS,
)
INPUTS = "events", "measurements"
TABLES = "state", "windows"
OUTPUTS = "transitions", "verdicts", "metrics", "alerts", "dead_letters"
"""The topics that the service writes, but does not read."""
TOLD = "state", "transitions", "verdicts", "alerts", "metrics", "instances", "dead_letters"
"""The topics that `tail` shows, by role."""


class ResourceNames(NamedTuple):
    """The resources of the rights: an application's id and its topics by role, also the receipts of replays."""

    application_id: str
    topics: Mapping[str, str]

    def on(self, operations: Iterable[Operation], *roles: str) -> list[Right]:
        """Return rights on topics; none for a role without a topic under these settings."""
        return [
            Right(operation, Resource.TOPIC, self.topics[role])
            for role in roles
            if role in self.topics
            for operation in operations
        ]

    def group(self, operation: Operation, suffix: str = "") -> list[Right]:
        """Return a right on a consumer group of the application."""
        return [Right(operation, Resource.GROUP, self.application_id + suffix)]

    def ids(self, suffix: str = "") -> list[Right]:
        """Return the right to the transactional ids: one for each partition of the inputs, or of the dead letters."""
        return [Right(WRITE, Resource.TRANSACTIONAL_ID, f"{self.application_id}{suffix}:", prefixed=True)]


def names(application_id: str, topics: TopicSettings) -> ResourceNames:
    """Return the resources of an application. `topics`: with their prefix."""
    return ResourceNames(application_id, {**topics.by_role(), "receipts": receipts_topic(topics.dead_letters)})


def of_run(on: ResourceNames) -> list[Right]:
    """Return the rights without which the service cannot work."""
    return [
        *on.on((READ, CONFIGS), "events"),
        *on.on((READ, WRITE, CONFIGS), "state", "measurements", "windows"),
        *on.on((WRITE, CONFIGS), *OUTPUTS),
        *on.group(READ),
        *on.ids(),
    ]


def of_replay(on: ResourceNames) -> list[Right]:
    """Return the rights that `dlq replay`, and a console with actions, need."""
    return [
        *on.on((READ,), "dead_letters"),
        *on.on((READ, WRITE, CONFIGS), "events"),
        *on.on((CREATE, READ, WRITE, CONFIGS), "receipts"),
        *on.group(READ, ".dlq"),
        *on.ids(".dlq"),
    ]


def of_console(on: ResourceNames) -> list[Right]:
    """Return the rights to what a console reads."""
    return on.on((READ,), *TOLD, "receipts")


def of_topics(on: ResourceNames) -> list[Right]:
    """Return the rights to examine all topics, also those that the service can do without."""
    return on.on((DESCRIBE, CONFIGS), *(role for role in on.topics if role != "receipts"))


def of_reset(on: ResourceNames) -> list[Right]:
    """Return the rights that `offsets reset` needs: it checks the topics, then writes tombstones and positions."""
    return [
        *on.on((READ, CONFIGS), *INPUTS),
        *on.on((READ, WRITE, CONFIGS), *TABLES),
        *on.on((DESCRIBE, CONFIGS), *OUTPUTS),
        *on.group(READ),
        *on.ids(),
    ]


COMMANDS: Mapping[str, Callable[[ResourceNames], list[Right]]] = {
    "run": of_run,
    "run: reports on instances": lambda on: on.on((WRITE,), "instances"),
    "run: push to Alertmanager": lambda on: [*on.on((READ,), "alerts"), *on.group(READ, ".alertmanager")],
    "run: push to a webhook": lambda on: [*on.on((READ,), "alerts"), *on.group(READ, ".webhook")],
    "console": of_console,
    "console: with actions": lambda on: [*of_console(on), *of_replay(on)],
    "topics create": lambda on: [
        *of_topics(on),
        *on.on((CREATE,), *(role for role in on.topics if role != "receipts")),
    ],
    "topics check": lambda on: [*of_topics(on)],
    "dlq list": lambda on: on.on((READ,), "dead_letters", "receipts"),
    "dlq show": lambda on: on.on((READ,), "dead_letters", "receipts"),
    "dlq replay": of_replay,
    "dlq replay --dry-run": lambda on: [
        *on.on((READ,), "dead_letters", "receipts"),
        *on.on((READ, CONFIGS), "events"),
    ],
    "offsets show": lambda on: [*on.on((DESCRIBE,), *INPUTS), *on.group(DESCRIBE)],
    "offsets skip": lambda on: [
        *on.on((READ,), *INPUTS),
        *on.on((WRITE,), "dead_letters"),
        *on.group(READ),
        *on.ids(),
    ],
    "offsets resume": lambda on: [*on.on((READ,), *INPUTS), *on.group(READ), *on.ids()],
    "offsets reset": of_reset,
    "offsets reset --dry-run": lambda on: [
        *on.on((DESCRIBE, CONFIGS), *INPUTS, *OUTPUTS),
        *on.on((READ, CONFIGS), *TABLES),
        *on.group(DESCRIBE),
    ],
    "send": lambda on: on.on((WRITE,), "events"),
    "simulate": lambda on: on.on((WRITE,), "events"),
    **{
        f"tail {role.replace('_', '-')}": lambda on, role=role: on.on((READ,), role)  # type: ignore[misc]
        for role in TOLD
    },
    "runs list": lambda on: on.on((READ,), "state"),
    "runs show": lambda on: on.on((READ,), "state"),
    "runs show: with all that happened": lambda on: on.on((READ,), "state", "transitions", "verdicts", "alerts"),
}
"""Rights by command; after a colon, what an option or setting needs in addition."""


def rights_of(command: str, on: ResourceNames) -> list[Right]:
    """Return the rights of a command, in the order in which they are shown."""
    return list(dict.fromkeys(COMMANDS[command](on)))


def as_document(rights: Iterable[Right]) -> list[dict[str, object]]:
    """Return rights as JSON objects."""
    return [
        {
            "operation": right.operation.value,
            "resource": right.resource.value,
            "name": right.name,
            "pattern": "prefixed" if right.prefixed else "literal",
        }
        for right in rights
    ]
