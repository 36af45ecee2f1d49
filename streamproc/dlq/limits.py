"""Limits of a replay from the settings: attempts, size of records, known schemas."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from streamproc.codec.framing import JSON, label
from streamproc.errors import ConfigError
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings

MAX_ATTEMPTS = 3


class ReplayLimits(NamedTuple):
    """The most replays of a record, kafka.max_record_bytes, and a test whether a schema's label is known."""

    attempts: int
    record_bytes: int
    knows: Callable[[str], bool]


def limits_of(settings: Settings, attempts: int = MAX_ATTEMPTS) -> ReplayLimits:
    """Return the limits under these settings."""
    return ReplayLimits(attempts, settings.kafka.max_record_bytes, _known_schemas(settings))


def _known_schemas(settings: Settings) -> Callable[[str], bool]:
    """Return a function that tells whether a schema, by its label, can be read; it does not ask a registry."""

    @cache
    def labels() -> frozenset[str] | None:
        """Compute the labels on first use: that compiles the schemas."""
        try:
            known_labels = {schema.label for schema in book_of(settings.life_cycle)}
        except ConfigError:  # The machine that runs this command may lack the schema files.
            return None
        return frozenset(known_labels | ({label(JSON)} if settings.input.takes_json else set()))

    def knows(schema: str) -> bool:
        known_labels = labels()
        return (
            known_labels is None or schema in known_labels or (schema.startswith("id:") and bool(settings.registry.url))
        )

    return knows
