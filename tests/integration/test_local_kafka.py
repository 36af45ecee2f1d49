"""The local brokers: they are a real Kafka, they come back with their data, and they leave nothing behind."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local.kafka import LocalKafka, local_kafka
from tests.support.cluster import Cluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

TOPIC = "kept"
ANSWER_MS = 5_000
"""A client that waited longer for the answer of a broker that is frozen would only make the test longer."""

OWNER = """
import asyncio, json, sys
from streamproc.local.kafka import local_kafka

async def own():
    async with local_kafka(brokers=int(sys.argv[1])) as kafka:
        if len(kafka.nodes) > 1:
            await kafka.freeze(1)
        print(json.dumps([(node.pid, str(node.directory)) for node in kafka.nodes]), flush=True)
        await asyncio.sleep(3600)

asyncio.run(own())
"""


async def test_answers_in_transactions_and_leaves_nothing():
    said: list[str] = []
    async with local_kafka(said.append) as kafka:
        (node,) = kafka.nodes
        pid, directory = node.pid, node.directory
        assert os.getsid(pid) != os.getsid(0)  # Ctrl-C in the terminal is for the owner alone
        await create(kafka)
        await write(kafka, b"one")
        await eventually(lambda: has(kafka, [b"one"]))
    assert said[-1] == "Starting Apache Kafka 4.1.0"
    assert not is_alive(pid)
    assert not directory.exists()


@pytest.mark.parametrize("brokers", [1, 3])
async def test_killed_owner_leaves_nothing(brokers):
    """Of several, the first one is frozen."""
    command = (sys.executable, "-c", OWNER, str(brokers))
    owner = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    left = json.loads(await owner.stdout.readline())
    assert [is_alive(pid) for pid, _ in left] == [True] * brokers
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    await eventually(lambda: not any(is_alive(pid) or Path(directory).exists() for pid, directory in left))


async def test_killed_broker_comes_back_with_port_and_data():
    async with local_kafka() as kafka:
        await create(kafka)
        await write(kafka, b"before")
        address, pid = kafka.bootstrap_servers, kafka.nodes[0].pid
        await kafka.kill()
        assert not is_alive(pid)
        await kafka.start_again()
        assert kafka.bootstrap_servers == address
        await eventually(lambda: has(kafka, [b"before"]))


async def test_data_directory_outlives_the_broker(tmp_path):
    async with local_kafka(data_dir=tmp_path / "data") as kafka:
        await create(kafka)
        await write(kafka, b"kept")
    async with local_kafka(data_dir=tmp_path / "data") as kafka:
        await eventually(lambda: has(kafka, [b"kept"]))
    with pytest.raises(ConfigError, match="has the data of 1 broker"):
        LocalKafka(brokers=3, data_dir=tmp_path / "data")


async def test_three_brokers_lose_nothing(tmp_path):
    """One frozen, each once without its disk, one killed, then all; in the end stopped with one frozen, and kept."""
    async with local_kafka(brokers=3, data_dir=tmp_path / "data") as kafka:
        cluster = Cluster(kafka.bootstrap_servers)
        await create(kafka)
        await write(kafka, b"one")
        copies = await cluster.copies()
        assert {place[0] for place in copies} == {TOPIC, "__transaction_state"}
        assert {len(each.replicas) for each in copies.values()} == {3}
        await kafka.freeze(1)
        await eventually(lambda: lacks(cluster, copies))
        await write(kafka, b"two")
        await kafka.thaw(1)
        await eventually(cluster.is_whole)
        for broker in (1, 2, 3):  # One of them leads the controllers.
            await kafka.lose_disk(broker)
            await eventually(cluster.is_whole)
        # What the others have is what those with new disks have, too.
        await kafka.kill(2)
        await write(kafka, b"three")
        await kafka.kill()
        await kafka.start_again()
        await eventually(lambda: has(kafka, [b"one", b"two", b"three"]))
        with pytest.raises(RuntimeError, match="broker 1 is running"):
            await kafka.start_again(1)
        await kafka.freeze(1)
        left = [(node.pid, node.directory) for node in kafka.nodes]
    assert not any(is_alive(pid) or directory.exists() for pid, directory in left)
    with pytest.raises(ConfigError, match="has the data of 3 broker"):
        LocalKafka(data_dir=tmp_path / "data")
    async with local_kafka(brokers=3, data_dir=tmp_path / "data") as kafka:
        await eventually(lambda: has(kafka, [b"one", b"two", b"three"]))


async def test_command_for_three_brokers_names_each_and_goes_on_without_one(tmp_path):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "80", "TMPDIR": str(tmp_path)}
    command = (sys.executable, "-m", "streamproc", "kafka", "--brokers", "3")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    try:
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(5)]
        brokers = [re.fullmatch(r"broker (\d): (\S+), process (\d+)", line).groups() for line in lines[:3]]
        assert [number for number, _, _ in brokers] == ["1", "2", "3"]
        servers = ",".join(address for _, address, _ in brokers)
        assert lines[3:] == [f"bootstrap servers: {servers}", f"export STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={servers}"]
        os.kill(int(brokers[1][2]), signal.SIGKILL)
        said = [(await process.stderr.readline()).decode().strip() for _ in range(2)]
        assert said == [
            "Starting Apache Kafka 4.1.0, 3 brokers",
            f"Broker 2 on {brokers[1][1]} has ended by itself; 2 left",
        ]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert list(tmp_path.iterdir()) == []


async def lacks(cluster, copies):
    return len(await cluster.lacking()) == len(copies)


async def test_broker_that_cannot_start_says_why_and_leaves_nothing():
    """Somebody takes the port between its choice and its use."""
    kafka = LocalKafka()
    host, port = kafka.bootstrap_servers.split(":")
    async with await asyncio.start_server(lambda _reader, _writer: None, host, int(port)):
        with pytest.raises(BrokerUnavailable, match=r"(?s)ended with code 1.*Address already in use"):
            await kafka.start()
    (node,) = kafka.nodes
    assert not node.directory.exists()
    assert not is_alive(node.pid)


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


def connection(kafka: LocalKafka) -> dict[str, Any]:
    return {"bootstrap_servers": kafka.bootstrap_servers, "request_timeout_ms": ANSWER_MS}


async def create(kafka: LocalKafka) -> None:
    """A topic with as many copies as there are by default."""
    topic = NewTopic(TOPIC, num_partitions=1, replication_factor=1)
    topic.replication_factor = -1  # The brokers' own default; the constructor refuses it.
    admin = AIOKafkaAdminClient(**connection(kafka))
    await admin.start()
    await admin.create_topics([topic])
    await admin.close()


async def write(kafka: LocalKafka, value: bytes) -> None:
    async with (
        AIOKafkaProducer(**connection(kafka), transactional_id=TOPIC) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(TOPIC, value)


async def has(kafka: LocalKafka, values: list[bytes]) -> bool:
    """Whether exactly this was committed.

    To be awaited: a producer has its answer before the markers are written; until then the last transaction is open.
    After a kill the coordinator may write them only when it is back, and a broker may not answer yet.
    """
    try:
        return await read(kafka) == values
    except KafkaError:
        return False


async def read(kafka: LocalKafka) -> list[bytes]:
    """Return all that was committed."""
    async with AIOKafkaConsumer(**connection(kafka), isolation_level="read_committed") as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning()
        records: list[bytes] = []
        (end,) = (await consumer.end_offsets([partition])).values()
        while await consumer.position(partition) < end:
            found = await consumer.getmany(timeout_ms=1_000)
            records += [record.value for record in found.get(partition, [])]
        return records
