"""Reads payloads of events again from the topics: the read model keeps none."""

from typing import Any, NamedTuple

from streamproc.codec.runstate import decode_runs
from streamproc.codec.sizes import named
from streamproc.console.answers.signals import LetterDetail
from streamproc.console.lookups import Lookups
from streamproc.console.objects import Objects
from streamproc.console.queries.runs import StoredRun
from streamproc.dlq.letter import Letter
from streamproc.dlq.letter import of as letter_of
from streamproc.dlq.showing import hex_dump
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.escaping import escaped_bytes
from streamproc.runtime.ports import TopicPartition

HEX_BYTES = 4_096
HEADER_CHARS = 1_000
NO_RIGHT = "to see payloads is a right of its own"


class PayloadReader(NamedTuple):
    """Reads payloads. Topic names include their prefix."""

    lookups: Lookups
    objects: Objects
    state_topic: str
    dead_letters: str

    async def of_run(self, stored: StoredRun) -> tuple[Any, str | None]:
        """Return the object of a run's last event and None, or None and why it is not available."""
        place = TopicPartition(self.state_topic, stored.run.source_partition)
        try:
            record = await self.lookups.at(place, stored.place)
            run = None if record is None else decode_runs([record])[0][1]
        except (BrokerUnavailable, ConfigError) as error:
            return None, str(error)
        if run is None:
            return None, "there is a newer state of it already: look again"
        return await self.objects.of_event(run)

    async def add_to(self, detail: LetterDetail) -> None:
        """Add the content of a dead letter to `detail`, or a note on why it is not available."""
        place = TopicPartition(self.dead_letters, detail.letter.partition)
        try:
            record = await self.lookups.at(place, detail.letter.offset)
        except BrokerUnavailable as error:
            detail.note = str(error)
            return
        letter = None if record is None else letter_of(record, place.partition)
        if not isinstance(letter, Letter):
            detail.note = "the record is no longer in its topic"
            return
        detail.object, detail.note = await self.objects.framed(letter.value)
        detail.hex = list(hex_dump(letter.value or b"", HEX_BYTES))
        detail.headers = [[_shown(named(name)), _shown(value or b"")] for name, value in letter.headers]


def _shown(value: bytes) -> str:
    return escaped_bytes(value, HEADER_CHARS)
