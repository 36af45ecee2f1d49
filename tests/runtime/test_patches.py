"""aiokafka is patched where the table says so, nowhere else, and only where it is what the table takes it for."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import aiokafka.codec
import pytest
from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.record.memory_records import MemoryRecords

from streamproc.errors import ConfigError
from streamproc.runtime.aio import patches
from streamproc.runtime.aio.batches import CODECS, Batches
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.requests import sent
from streamproc.runtime.config import KafkaSettings
from tests.support.source import parsed

AIO = Path(patches.__file__).parent


def test_all_of_the_table_is_in_force_and_twice_is_once() -> None:
    """Each client of the process is made through it."""
    patches.install()
    patches.install()
    for patch in patches.table():
        holder, name = patches._target(patch)
        assert (holder[name] if isinstance(holder, dict) else getattr(holder, name)) is patch.ours
    assert errors.for_code(82).__name__ == "FencedInstanceIdError"


def test_what_is_not_what_it_was_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has looked whether the replacement fits; what, and what to do, is said."""

    async def send(_self: object, _request: object) -> None:
        """Be a newer one."""

    monkeypatch.setattr(AIOKafkaConnection, "send", send)
    with pytest.raises(ConfigError, match=r"aiokafka.conn.AIOKafkaConnection.send, because .*aiokafka#1038.*locked"):
        patches.install()
    assert AIOKafkaConnection.send is send
    with pytest.raises(ConfigError, match=r"requirements/runtime.lock"):
        AioKafka(KafkaSettings(), "group")


def test_a_code_that_aiokafka_has_got_meanwhile_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own class may say more."""
    monkeypatch.setitem(errors.kafka_errors, 82, errors.UnknownError)
    with pytest.raises(ConfigError, match=r"kafka_errors\[82\]"):
        patches.install()


def test_aiokafka_may_be_without_its_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the ones in Python are patched."""

    def without(name: str) -> object:
        if "_crecords" in name:
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr(patches, "import_module", without)
    patches.install()


def test_nothing_else_of_the_package_replaces_anything() -> None:
    """No attribute of a module or class of aiokafka's is set outside of the table."""
    found = []
    for path in sorted(AIO.glob("*.py")):
        imported: set[str] = set()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiokafka"):
                imported |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
                found.append(path.name)
            targets = node.targets if isinstance(node, ast.Assign) else []
            found += [
                path.name
                for each in targets
                if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in imported
            ]
    assert found == ["patches.py"]


@pytest.mark.parametrize("codec", ["lz4", "zstd", "gzip", "snappy"])
def test_what_is_compressed_can_be_read_by_anybody(codec: str) -> None:
    """By aiokafka's own functions, as by the broker and by other clients."""
    patches.install()
    value = b"a value that says the same again and again " * 50
    batches = Batches(codec, (1, 0))
    (data,) = batches.of(("t", 0), [(b"key", value, 1_000, [])] * 100)
    assert len(data) < 20_000
    batch = MemoryRecords(bytes(data)).next_batch()
    assert batch.compression_type == CODECS[codec]
    assert [record.value for record in batch] == [value] * 100


def test_lz4_is_as_its_own_decoder_takes_it() -> None:
    """At whichever level."""
    patches.install()
    for size in (0, 1, 100_000):
        data = bytes(range(256)) * size
        encoded = import_module("aiokafka.record._crecords.default_records").lz4_encode(data)
        assert aiokafka.codec.lz4_decode(encoded) == data


async def test_requests_are_counted_by_name(kafka_bootstrap: str, unique: Callable[[str], str]) -> None:
    """Whichever client sends them."""
    before = sent.copy()
    kafka = AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), unique("group"))
    assert await kafka.partition_count("no-such-topic") == 0
    await kafka.membership()
    await kafka.close()
    new = sent - before
    assert {"ApiVersions", "Metadata", "FindCoordinator", "DescribeGroups"} <= new.keys()
    assert patches.import_module("streamproc.runtime.aio.requests").OTHER not in new
