"""Checks that topics are still those that the read model was read from, and not new ones of the same names."""

from collections.abc import Mapping, Sequence

from streamproc.console.intake import print_of
from streamproc.console.model.database import RebuildCause
from streamproc.console.model.entries import Checkpoint
from streamproc.runtime.ports import Gone, Kafka, TopicPartition, Unreadable

FETCH_S = 0.5


class Anew(Exception):
    """The read model does not match the topics and has to be built anew. The message says why, `cause` in one word."""

    def __init__(self, why: str, cause: RebuildCause = RebuildCause.OTHER_TOPIC) -> None:
        super().__init__(why)
        self.cause = cause


class Sameness:
    """Compares topics with those that were read, by their ids, in one request for all of them.

    Brokers before 2.8 give no ids: then the last record read from a partition is read again and compared.
    """

    def __init__(self, kafka: Kafka, topics: Sequence[str]) -> None:
        self._kafka = kafka
        self._topics = topics
        self._looks = 0

    async def check(
        self, ids: Mapping[str, str], marks: Mapping[TopicPartition, Checkpoint], *, is_whole: bool
    ) -> Mapping[str, str]:
        """Return the ids of topics that had none yet; raises Anew where a topic was made anew.

        `ids`, `marks`: of the topics when they were read. `is_whole`: check every partition of a topic without an id,
        else one partition of each such topic, in turn.
        """
        current_ids = await self._kafka.topic_ids(self._topics)
        if others := [topic for topic in current_ids.keys() & ids.keys() if current_ids[topic] != ids[topic]]:
            topic = min(others)
            raise Anew(f"{topic} was made anew: its id is {current_ids[topic]} now, and was {ids[topic]}")
        unsure: dict[str, list[TopicPartition]] = {}
        for place in sorted(marks):
            if place.topic not in current_ids or place.topic not in ids:
                unsure.setdefault(place.topic, []).append(place)
        self._looks += 1
        for places in unsure.values():
            for place in places if is_whole else [places[self._looks % len(places)]]:
                await self._refuse_other(place, marks[place])
        return {topic: topic_id for topic, topic_id in current_ids.items() if topic not in ids}

    async def _refuse_other(self, place: TopicPartition, mark: Checkpoint) -> None:
        """Read the last record again; raises Anew where another is in its place. A removed record proves nothing."""
        if mark.last is None:
            return
        first, last = await self._kafka.bounds(*place)
        if not first <= mark.last < last:
            return
        reader = await self._kafka.reader(*place)
        try:
            await reader.seek(mark.last)
            records = (await reader.fetch(1, FETCH_S)).records
        except (Gone, Unreadable):
            return
        finally:
            await reader.close()
        if records and records[0].offset == mark.last and print_of(records[0]) != mark.print:
            raise Anew(f"{place} was made anew")
