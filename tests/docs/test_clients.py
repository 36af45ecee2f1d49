"""What docs/sending.md says of keys: clients with these settings put a key into the same partition."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from tests.support import clients

PARTITIONS = 3
"""No power of two: hashes that agree but for the sign do not differ otherwise."""
KEYS = [f"run_{'x' * (number % 5)}{number}" for number in range(40)]
RUN_S = 120
JAVA = """
import static org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey;
public class Place {
  public static void main(String[] keys) {
    for (String key : keys) System.out.println(partitionForKey(key.getBytes(), %d));
  }
}
"""
NODE = """
import { compatibilityPartitioner } from '@platformatic/kafka'
for (const key of process.argv.slice(2)) console.log(compatibilityPartitioner({}, Buffer.from(key)) %% %d)
"""


def _places() -> Mapping[str, int]:
    """Return what Python's client does, and so RunProducer: the keys with their partitions."""
    every = list(range(PARTITIONS))
    return {key: DefaultPartitioner()(key.encode(), every, every) for key in KEYS}


def _printed(*command: str | Path, stdin: str | None = None) -> list[int]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_java_places_keys_as_python_does(tmp_path: Path) -> None:
    """By the function that its producer calls."""
    if (jars := clients.jars()) is None:
        pytest.skip("no java, or `python -m tests.support.clients` was not run")
    (tmp_path / "Place.java").write_text(JAVA % PARTITIONS)
    assert _printed("java", "-cp", f"{jars}/*", tmp_path / "Place.java", *KEYS) == [*_places().values()]


def test_node_places_keys_as_python_does(tmp_path: Path) -> None:
    """By the partitioner that the page sets, not by the default."""
    node, modules = clients.node(), clients.modules()
    if node is None or modules is None:
        pytest.skip("no node, or `python -m tests.support.clients` was not run")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "place.mjs").write_text(NODE % PARTITIONS)
    assert _printed(node / "node", tmp_path / "place.mjs", *KEYS) == [*_places().values()]


@pytest.mark.kafka
async def test_kcat_places_keys_as_python_does(kafka_bootstrap: str) -> None:
    """With `partitioner=murmur2_random`, as every client on librdkafka."""
    if (directory := clients.kcat()) is None:
        pytest.skip("no kcat, and `python -m tests.support.clients` was not run")
    topic = f"keys-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    lines = "".join(f"{key}:{json.dumps(key)}\n" for key in KEYS)
    settings = ("-X", "partitioner=murmur2_random")
    _printed(directory / "kcat", "-P", "-b", kafka_bootstrap, "-t", topic, "-K:", *settings, stdin=lines)
    found = {}
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest") as consumer:
        while len(found) < len(KEYS):
            record = await consumer.getone()
            found[record.key.decode()] = record.partition
    assert found == _places()
