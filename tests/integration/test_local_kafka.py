"""The local broker: it is a real Kafka, it comes back with its data, and it leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local.kafka import LocalKafka, local_kafka
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

TOPIC = "kept"

OWNER = """
import asyncio, json
from streamproc.local.kafka import local_kafka

async def own():
    async with local_kafka() as kafka:
        print(json.dumps({"pid": kafka.pid, "directory": str(kafka.directory)}), flush=True)
        await asyncio.sleep(3600)

asyncio.run(own())
"""


async def test_answers_in_transactions_and_leaves_nothing():
    said: list[str] = []
    async with local_kafka(said.append) as kafka:
        pid, directory = kafka.pid, kafka.directory
        assert os.getsid(pid) != os.getsid(0)  # Ctrl-C in the terminal is for the owner alone
        await write(kafka, b"one")
        assert await read(kafka) == [b"one"]
    assert said[-1] == "Starting Apache Kafka 4.1.0"
    assert not is_alive(pid)
    assert not directory.exists()


async def test_killed_owner_leaves_nothing():
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE)
    left = json.loads(await owner.stdout.readline())
    assert is_alive(left["pid"])
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    await eventually(lambda: not is_alive(left["pid"]) and not Path(left["directory"]).exists())


async def test_killed_broker_comes_back_with_port_and_data():
    async with local_kafka() as kafka:
        await write(kafka, b"before")
        address, pid = kafka.bootstrap_servers, kafka.pid
        await kafka.kill()
        assert not is_alive(pid)
        await kafka.start_again()
        assert kafka.bootstrap_servers == address
        assert await read(kafka) == [b"before"]


async def test_data_directory_outlives_the_broker(tmp_path):
    async with local_kafka(data_dir=tmp_path / "data") as kafka:
        await write(kafka, b"kept")
    async with local_kafka(data_dir=tmp_path / "data") as kafka:
        assert await read(kafka) == [b"kept"]


async def test_broker_that_cannot_start_says_why_and_leaves_nothing():
    """Somebody takes the port between its choice and its use."""
    kafka = LocalKafka()
    host, port = kafka.bootstrap_servers.split(":")
    async with await asyncio.start_server(lambda _reader, _writer: None, host, int(port)):
        with pytest.raises(BrokerUnavailable, match=r"(?s)ended with code 1.*Address already in use"):
            await kafka.start()
    assert not kafka.directory.exists()
    assert not is_alive(kafka.pid)


async def test_taken_port_is_refused_before_anything_starts(unused_tcp_port):
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", unused_tcp_port):
        with pytest.raises(ConfigError, match=f"Port {unused_tcp_port} .* is in use"):
            LocalKafka(port=unused_tcp_port)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def write(kafka: LocalKafka, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=TOPIC) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(TOPIC, value)


async def read(kafka: LocalKafka) -> list[bytes]:
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, isolation_level="read_committed"
    ) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning()
        records = await consumer.getmany(timeout_ms=90_000)
        return [record.value for record in records.get(partition, [])]
