"""What the settings say about a replay: how often, how large, and whose schemas are known."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from streamproc.codec.framing import JSON, label
from streamproc.errors import ConfigError
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings

MAX_ATTEMPTS = 3


class ReplayLimits(NamedTuple):
    """Replays of a record at most, kafka.max_record_bytes, and whether a schema's label is known."""

    attempts: int
    record_bytes: int
    knows: Callable[[str], bool]


def limits_of(settings: Settings, attempts: int = MAX_ATTEMPTS) -> ReplayLimits:
    """Return the limits under these settings."""
    return ReplayLimits(attempts, settings.kafka.max_record_bytes, _known_to(settings))


def _known_to(settings: Settings) -> Callable[[str], bool]:
    """Return whether records of a schema can be read under these settings, as far as is known without a registry."""

    @cache
    def labels() -> frozenset[str] | None:
        """Not before somebody asks: schemas are compiled for it."""
        try:
            known = {schema.label for schema in book_of(settings.life_cycle)}
        except ConfigError:  # The files of schemas need not be where letters are sent back from.
            return None
        return frozenset(known | ({label(JSON)} if settings.input.takes_json else set()))

    def knows(schema: str) -> bool:
        known = labels()
        return known is None or schema in known or (schema.startswith("id:") and bool(settings.registry.url))

    return knows
