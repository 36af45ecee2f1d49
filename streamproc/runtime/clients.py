"""The ports done with aiokafka 0.14. The only module that imports it; what works around it says why.

Each partition has a reader and a producer of its own; the group's consumer reads nothing. So one slow partition holds up
no other, a rebalance takes no lock that a fetch holds, and fencing is by partition (hazards.md).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AdminTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from streamproc.codec.encode import Message
from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, Fetched, GroupListener, NewTopic, TopicInfo

BATCH_BYTES = 1_000_000
"""Of records in one produce request for one partition; brokers admit 1,048,588 by default."""
FETCH_BYTES = 4_194_304
FETCH_MAX_WAIT_MS = 500
CLOSE_TIMEOUT_S = 1.0
ADMIN_ATTEMPTS = 5
METADATA_MAX_AGE_MS = 10_000
MAX_HEARTBEAT_MS = 3_000


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options with which every aiokafka client connects."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password and settings.sasl_password.get_secret_value()
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            password = settings.ssl_password and settings.ssl_password.get_secret_value()
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password)
    except OSError as error:
        message = f"the TLS files of the kafka settings cannot be used ({error}): check ssl_cafile, ssl_certfile, ssl_keyfile"
        raise ConfigError(message) from error
    return context


class AioReader:
    """Reads one partition, without a group."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._partition = TopicPartition(topic, partition)
        self._settings = settings
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            max_partition_fetch_bytes=max(FETCH_BYTES, 2 * settings.max_record_bytes),
            **connection(settings),
        )

    async def start(self) -> None:
        """Connect."""
        await _started(self._consumer, self._settings)
        self._consumer.assign([self._partition])

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self._consumer.seek(self._partition, offset)

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand; see the port."""
        consumer, partition = self._consumer, self._partition
        polled_before = consumer.last_poll_timestamp(partition)
        try:
            found = await consumer.getmany(partition, timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except (OffsetOutOfRangeError, RecordTooLargeError) as error:
            raise ConfigError(await self._unreadable(error)) from error
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        records = found.get(partition, ())
        # Only an answer that came in during this very call shows that there was nothing to read.
        answered = consumer.last_poll_timestamp(partition) != polled_before
        return Fetched(records, caught_up=not records and answered and self.lag() == 0)

    async def position(self) -> int:
        """Return the offset that would be read next."""
        position: int = await self._consumer.position(self._partition)
        return position

    def lag(self) -> int:
        """Return how many offsets lie between what was read and the last stable offset."""
        end = self._consumer.last_stable_offset(self._partition)
        state = self._consumer._subscription.subscription.assignment.state_value(self._partition)  # noqa: SLF001
        return max(0, end - state.position) if end is not None and state.has_valid_position else 0

    async def close(self) -> None:
        """Give up the connection."""
        await _bounded(self._consumer.stop())

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        try:
            first = await self._consumer.beginning_offsets([self._partition])
            last = await self._consumer.end_offsets([self._partition])
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        return first[self._partition], last[self._partition]

    async def _unreadable(self, error: KafkaError) -> str:
        topic, partition = self._partition
        at = await self.position()
        if isinstance(error, RecordTooLargeError):
            return f"the record at {topic} partition {partition} offset {at} is larger than kafka.max_record_bytes: raise it"
        first, last = await self.bounds()
        return (
            f"offset {at} of {topic} partition {partition} is no longer there (it holds {first} to {last}): retention "
            "removed unread records, or the topic was recreated. Start with a new application_id and new output topics"
        )


class AioTransactions:
    """A transactional producer for one input partition; thrown away at its first failure."""

    def __init__(self, settings: KafkaSettings, group_id: str, source: TopicPartition) -> None:
        self._settings = settings
        self._group_id = group_id
        self._source = source
        compression = None if settings.compression == "none" else settings.compression
        self._producer = AIOKafkaProducer(
            transactional_id=f"{group_id}:{source.topic}:{source.partition}",
            transaction_timeout_ms=settings.transaction_timeout_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=4 * settings.max_record_bytes,
            compression_type=compression,
            **connection(settings),
        )

    async def fence(self) -> None:
        """Start: that fences the earlier producers of the transactional id."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await self._producer.start()
        except (KafkaError, TimeoutError) as error:
            raise TaskInvalid(f"the transactional producer of {self._source} did not start: {error!r}") from error

    async def commit(
        self, outputs: Mapping[str, Sequence[Message]], committed: Committed, may_commit: Callable[[], bool]
    ) -> None:
        """Write everything in one transaction; see the port."""
        try:
            # aiokafka would retry the end of a transaction for ever, and a late one could end the next (hazards.md).
            async with asyncio.timeout(self._settings.commit_deadline_s):
                await self._producer.begin_transaction()
                await self._send_all(outputs, committed)
                if not may_commit():
                    await self._producer.abort_transaction()
                    raise TaskInvalid(f"{self._source} was revoked before its commit")
                await self._producer.commit_transaction()
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise TaskInvalid(f"the transaction of {self._source} was not confirmed: {error!r}") from error

    async def close(self) -> None:
        """Give up the connections, transaction or not."""
        await _bounded(self._producer.stop())

    async def _send_all(self, outputs: Mapping[str, Sequence[Message]], committed: Committed) -> None:
        offsets = {self._source: OffsetAndMetadata(committed.offset, committed.metadata)}
        sends = [self._send(topic, messages) for topic, messages in outputs.items()]
        results = await asyncio.gather(
            *sends,
            self._producer.send_offsets_to_transaction(offsets, self._group_id),
            return_exceptions=True,
        )
        # A failed send leaves the transaction committable, without the lost record (hazards.md): look at each one.
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send(self, topic: str, messages: Sequence[Message]) -> None:
        futures = []
        for batch in self._batches(messages):
            futures.append(await self._producer.send_batch(batch, topic, partition=self._source.partition))
        await asyncio.gather(*futures)

    def _batches(self, messages: Sequence[Message]) -> Iterator[Any]:
        batch = self._producer.create_batch()
        for message in messages:
            key, value, timestamp, headers = message
            if batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp, headers=headers)
        yield batch


class AioGroup(ConsumerRebalanceListener):  # type: ignore[misc]
    """Membership in the consumer group, with a consumer that reads nothing."""

    def __init__(self, settings: KafkaSettings, group_id: str, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._listener: GroupListener | None = None
        self._consumer = AIOKafkaConsumer(
            group_id=group_id,
            group_instance_id=settings.group_instance_id,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(MAX_HEARTBEAT_MS, settings.session_timeout_ms // 3),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            **connection(settings),
        )

    async def join(self, listener: GroupListener) -> None:
        """Start taking part."""
        self._listener = listener
        await _started(self._consumer, self._settings)
        self._consumer.subscribe([self._topic], listener=self)

    async def confirmed(self) -> bool:
        """Send a heartbeat now and tell whether the current generation is ours."""
        coordinator = self._consumer._coordinator  # noqa: SLF001  aiokafka shows a heartbeat's outcome nowhere else
        if coordinator._rejoin_needed_fut.done() or coordinator.generation < 0:  # noqa: SLF001
            return False
        try:
            acknowledged = bool(await coordinator._do_heartbeat())  # noqa: SLF001
        except KafkaError:
            return False
        return acknowledged and not coordinator._rejoin_needed_fut.done()  # noqa: SLF001

    async def poll(self) -> None:
        """Keep the membership alive: aiokafka leaves a group whose consumer does not ask for records."""
        try:
            await self._consumer.getmany(timeout_ms=0)
        except KafkaError as error:
            message = f"the consumer group cannot go on: {error}. Check the broker's log and the group's permissions"
            raise ConfigError(message) from error

    async def leave(self) -> None:
        """Leave the group."""
        await _bounded(self._consumer.stop())

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Pass on the callback."""
        if self._listener is not None:
            self._listener.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Pass on the callback; nothing is ever read here."""
        self._consumer.pause(*assigned)
        if self._listener is not None:
            self._listener.assigned(frozenset(partition for _, partition in assigned))


class AioKafka:
    """A cluster, by aiokafka."""

    def __init__(self, settings: KafkaSettings, group_id: str, events: str) -> None:
        self._settings = settings
        self._group_id = group_id
        self._events = events
        self._admin: AIOKafkaAdminClient | None = None

    def group(self) -> AioGroup:
        """Return a membership, not yet joined."""
        return AioGroup(self._settings, self._group_id, self._events)

    def transactions(self, partition: int) -> AioTransactions:
        """Return a producer, not yet started."""
        return AioTransactions(self._settings, self._group_id, TopicPartition(self._events, partition))

    async def reader(self, topic: str, partition: int) -> AioReader:
        """Return a started reader."""
        reader = AioReader(self._settings, topic, partition)
        await reader.start()
        return reader

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        reader = await self.reader(topic, partition)
        try:
            return await reader.bounds()
        finally:
            await reader.close()

    async def committed(self, partition: int) -> Committed | None:
        """Return the group's committed offset; the consumer's own call would drop the metadata."""
        source = TopicPartition(self._events, partition)
        found = await self._ask(
            lambda admin: admin.list_consumer_group_offsets(self._group_id, partitions=[source])
        )
        offset = found.get(source)
        return None if offset is None or offset.offset < 0 else Committed(offset.offset, offset.metadata)

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""
        return (await self._counts([topic])).get(topic, 0)

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe those of the topics that exist."""
        counts = await self._counts(names)
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
        found: dict[str, TopicInfo] = {}
        if resources:
            for response in await self._ask(lambda admin: admin.describe_configs(resources)):
                for _, _, _, name, entries in response.resources:
                    found[name] = TopicInfo(counts[name], {entry[0]: entry[1] for entry in entries})
        return found

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics with the broker's default replication factor."""
        new = [AdminTopic(name, partitions, 1, topic_configs=dict(config)) for name, partitions, config in topics]
        for topic in new:
            # The broker's own default; aiokafka's constructor refuses to say so.
            topic.replication_factor = -1
        response = await self._ask(lambda admin: admin.create_topics(new))
        for name, code, *_ in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                message = f"topic {name} could not be created: {error.__name__}. Create it by hand, or check permissions"
                raise ConfigError(message)

    async def close(self) -> None:
        """Give up the connections."""
        if self._admin is not None:
            await _bounded(self._admin.close())

    async def _counts(self, names: Sequence[str]) -> dict[str, int]:
        described = await self._ask(lambda admin: admin.describe_topics(list(names)))
        return {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}

    async def _ask(self, question: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        """Ask the admin client, again where it fails: it does not retry when a coordinator has moved."""
        for attempt in range(ADMIN_ATTEMPTS):
            try:
                return await question(await self._admin_client())
            except KafkaError as error:
                if attempt == ADMIN_ATTEMPTS - 1:
                    raise BrokerUnavailable(f"Kafka did not answer: {error!r}") from error
                await asyncio.sleep(0.1 * 2**attempt)
        raise AssertionError  # pragma: no cover  the loop returns or raises

    async def _admin_client(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = AIOKafkaAdminClient(**connection(self._settings))
            await _started(admin, self._settings)
            self._admin = admin
        return self._admin


async def _started(client: Any, settings: KafkaSettings) -> None:
    """Start a client; raises BrokerUnavailable with what to check."""
    try:
        async with asyncio.timeout(settings.request_timeout_ms / 1000):
            await client.start()
    except (KafkaError, TimeoutError, OSError) as error:
        with contextlib.suppress(Exception):
            await _bounded(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
        why = "no broker answers" if isinstance(error, KafkaConnectionError | TimeoutError | OSError) else repr(error)
        message = (
            f"cannot connect to Kafka at {settings.bootstrap_servers}: {why}. Check that it is running, "
            "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS and the security settings"
        )
        raise BrokerUnavailable(message) from error


async def _bounded(closing: Any) -> None:
    """Close a client in a bounded time: aiokafka's own closing hangs while the broker is away (aiokafka#1101)."""
    with contextlib.suppress(TimeoutError, KafkaError, AssertionError):
        await asyncio.wait_for(closing, CLOSE_TIMEOUT_S)


__all__ = ["AioKafka", "connection"]
assert aiokafka.__version__.startswith("0.14."), "clients.py relies on aiokafka 0.14's inside"  # noqa: S101
