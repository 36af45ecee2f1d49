"""A writer on the fake Kafka. tests/contract/test_writer.py holds it to the real one."""

from streamproc.codec.message import Message
from streamproc.errors import ConfigError
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.topics import absent
from tests.support.fake_kafka import FakeKafka


class FakeWriter:
    """Writes to one topic; `kafka.fault` is asked at the point "write"."""

    def __init__(self, kafka: FakeKafka, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self.is_closed = False

    async def write(self, message: Message) -> None:
        """Add a message."""
        self._kafka.fault("write")
        logs = self._kafka.logs.get(self._topic)
        if logs is None:
            raise ConfigError(absent(self._topic))
        logs[partition_of(message[0] or b"", len(logs))].append(message, "committed")

    async def close(self) -> None:
        """Take note."""
        self.is_closed = True
