"""Brokers that start in half the CPU time: their classes come loaded and linked from an AOT cache (Java 25 or newer).

Some fifty brokers are started in a run of all tests. The cache is made once for a machine, from a broker that did a
little work; Java leaves it unread where it is another Java's or other jars'.
"""

import asyncio
import re
import signal
import warnings
from pathlib import Path
from unittest.mock import patch

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local import node
from streamproc.local.kafka import LocalKafka
from streamproc.local.packages import KAFKA_VERSION, find_java
from tests.support.caching import cached

SINCE = 25
"""The first Java that makes such a cache in one go."""
FILE = "kafka.aot"
DEADLINE_S = 240
TOPIC = "warm-up"
RECORDS = 200


def quicken() -> None:
    """Let the brokers that this process starts from now on use the cache; made here where it is missing.

    Where it cannot be made, they start as they always do.
    """
    java = find_java()
    version = _version(java) if java else ""
    if java is None or int(version.partition(".")[0] or 0) < SINCE:
        return
    try:
        directory = cached(f"kafka-{KAFKA_VERSION}-aot-{version}", _fill)
    except (BrokerUnavailable, ConfigError, KafkaError, OSError) as error:
        warnings.warn(f"Brokers start slowly, their AOT cache cannot be made: {error}", stacklevel=2)
        return
    node._JVM = (*node._JVM, f"-XX:AOTCache={directory / FILE}", "-Xlog:aot=error")


def _version(java: Path) -> str:
    """Return which Java it is, as it says beside its programs; nothing where it does not."""
    release = java.resolve().parents[1] / "release"
    found = re.search(r'^JAVA_VERSION="([\d.]+)', release.read_text(), re.MULTILINE) if release.exists() else None
    return found[1] if found else ""


def _fill(scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    asyncio.run(_train(made / FILE))
    return made


async def _train(target: Path) -> None:
    """Write the cache: what a broker had loaded when it ended."""
    kafka = LocalKafka()
    try:
        await kafka.start()
        await kafka.kill()
        # Not from the start on: what formats the storage is another program, and would write a cache as well.
        with patch.object(node, "_JVM", (*node._JVM, f"-XX:AOTCacheOutput={target}")):
            await kafka.start_again()
        async with asyncio.timeout(DEADLINE_S):
            await _work(kafka.bootstrap_servers)
            await _ended(kafka)
    except TimeoutError as error:
        raise BrokerUnavailable(f"The broker that is to write it is not done after {DEADLINE_S} s.") from error
    finally:
        await kafka.stop()
    target.stat()  # Where it wrote nothing, there is nothing to keep.


async def _ended(kafka: LocalKafka) -> None:
    """Have the only broker end in good order."""
    [broker] = kafka.nodes
    if (exited := broker._guarded.exit) is not None:
        await broker._guarded.signal(signal.SIGTERM)
        await exited


async def _work(bootstrap_servers: str) -> None:
    """Do a little of all that tests do: topics, transactions, a group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 2, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, transactional_id=TOPIC)
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=bootstrap_servers, group_id=TOPIC, auto_offset_reset="earliest"
    )
    async with producer, consumer:
        async with producer.transaction():
            for number in range(RECORDS):
                await producer.send(TOPIC, b"%d" % number)
        for _ in range(RECORDS):
            await consumer.getone()
        await consumer.commit()
