"""Logging: structlog and the standard library's loggers through the same steps, to stderr.

Nothing in a log line can be mistaken for another line or steer a terminal: control characters come out escaped.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from rich.console import Console
from structlog.typing import EventDict, Processor, WrappedLogger

from streamproc.escaping import escaped, escaped_lines
from streamproc.observe.noise import Noise

Format = Literal["json", "console"]

MULTI_LINE = ("exception", "stack")
"""Text of several lines that the processors below make themselves; later lines are indented."""
AWS = "aws_msk_iam_sasl_signer", "boto3", "botocore", "urllib3"


def configure(level: str, fmt: Format) -> None:
    """Send every log line of `level` and above to stderr. May be called again."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    steps = _steps()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(steps, fmt))
    handler.addFilter(Noise(threshold))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    # aiokafka's DEBUG prints the SASL request, keys and values; its INFO repeats what the service says itself.
    logging.getLogger("aiokafka").setLevel(
        logging.INFO if threshold <= logging.DEBUG else max(threshold, logging.WARNING)
    )
    # A broker of Kafka 4 that still verifies a transaction's partition says NOT_ENOUGH_REPLICAS; aiokafka sends the
    # batch again, and warns each time (aiokafka#1172). A batch that is given up is an error, and fails the transaction.
    logging.getLogger("aiokafka.producer.sender").setLevel(
        logging.INFO if threshold <= logging.DEBUG else logging.ERROR
    )
    # The DEBUG of AWS's libraries prints what signs a token, and what a role's keys are.
    for name in AWS:
        logging.getLogger(name).setLevel(max(threshold, logging.INFO))


def escape_control_characters(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace what is not printable, in every value: a line break in a payload must not forge a line of its own."""
    return {
        escaped(key): escaped_lines(str(value), "\n    ") if key in MULTI_LINE else _plain(value)
        for key, value in event.items()
    }


def _steps() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Without the frames' local variables: they hold payloads.
        structlog.processors.format_exc_info,
    ]


def _formatter(steps: list[Processor], fmt: Format) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*steps, structlog.stdlib.ExtraAdder(allow=["repeated"])],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            escape_control_characters,
            _renderer(fmt),
        ],
    )


def _renderer(fmt: Format) -> Processor:
    if fmt == "json":
        return structlog.processors.JSONRenderer(sort_keys=False)
    return structlog.dev.ConsoleRenderer(
        colors=_is_coloured(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _is_coloured() -> bool:
    """Tell whether a console would be: a terminal that is not dumb, or FORCE_COLOR, and no NO_COLOR."""
    console = Console(stderr=True)
    return console.color_system is not None and not console.no_color


def _plain(value: Any) -> Any:
    """Return a value that holds nothing but escaped text, numbers, and lists and dicts of those."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {escaped(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return escaped(value if isinstance(value, str) else repr(value))
