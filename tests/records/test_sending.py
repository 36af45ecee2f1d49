"""`streamproc send`: what the service would read of a line is what is sent, with the right key."""

import io
import json

import pytest

from streamproc.codec.decode import decode
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.records.command import encoder
from streamproc.records.sending import Counts, SendOptions, as_avro, as_json, lines_of, send
from streamproc.settings.service import Settings
from tests.support.books import bundled_book
from tests.support.runobjects import RUN_OBJECT_VERSIONS, Arrived, run_object


def load_v2_1() -> WriterSchema:
    return WriterSchema(load("run_object_v2_1").document, ASSISTANTS.shape)


class Producer:
    """Takes down what it is to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    async def send(self, key: bytes, value: bytes, timestamp_ms: int) -> None:
        self.sent.append((key, value))
        assert timestamp_ms > 1_700_000_000_000


async def sent(text: bytes, encode, most_bytes: int = 10_000):
    producer, said, counts = Producer(), [], Counts()
    await send(producer, lines_of(io.BytesIO(text), most_bytes), SendOptions(encode, said.append, most_bytes), counts)
    return producer.sent, said, (counts.sent, counts.left)


async def test_an_object_goes_as_it_is_under_its_runs_id():
    """rules.md 1: so that a run stays on one partition."""
    text = b' {"id": "run_1",  "status": "queued"} '
    found, said, counts = await sent(text + b"\n\n" + text.replace(b"_1", b"_2"), as_json(ASSISTANTS.shape))
    assert found == [(b"run_1", text.strip()), (b"run_2", text.strip().replace(b"_1", b"_2"))]
    assert (said, counts) == ([], (2, 0))


async def test_what_the_service_would_reject_is_not_sent():
    """With the number of its line, and the service's own reason; without what it holds."""
    good, envelope = b'{"id": "run_2", "status": "queued"}', b'{"data": {"id": "s3cr3t"}}'
    text = b"\n".join((b'{"id": "run_1"}', b"garbage s3cr3t", good, envelope))
    found, said, counts = await sent(text, as_json(ASSISTANTS.shape))
    assert [key for key, _ in found] == [b"run_2"]
    assert counts == (1, 3)
    assert [each.partition(":")[0] for each in said] == [f"line {number} is not sent" for number in (1, 2, 4)]
    assert "id = data.id" in said[2]
    assert "s3cr3t" not in "".join(said)


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
async def test_avro_is_what_the_service_reads(version):
    """Each version; what the schema does not have is left out."""
    schema = WriterSchema(load(f"run_object_{version}").document, ASSISTANTS.shape)
    found, said, _ = await sent(json.dumps(run_object(id="run_1", status="queued", extra=1)).encode(), as_avro(schema))
    [event] = decode([Arrived(0, value) for _, value in found], bundled_book()).events
    assert (event.run_id, event.status, event.schema) == ("run_1", "queued", schema.label)
    assert ([key for key, _ in found], said) == ([b"run_1"], [])


async def test_what_does_not_fit_a_schema_is_told_without_its_values():
    schema = WriterSchema(load("run_object_v2_1").document, ASSISTANTS.shape)
    found, said, _ = await sent(b'{"id": "run_1", "status": 7, "model": "s3cr3t"}\n[1]\n{"id"', as_avro(schema))
    assert found == []
    assert len(said) == 3
    assert "s3cr3t" not in "".join(said)


def test_where_the_service_takes_no_json_a_version_is_asked_for():
    with pytest.raises(ConfigError, match="choose a version with --avro"):
        encoder(Settings(input={"json": False}), None)


def test_a_profile_without_run_objects_is_told():
    with pytest.raises(ConfigError, match="profile langgraph reads no RunObjects"):
        encoder(Settings(profile="langgraph"), "v2")


async def test_a_line_that_is_too_long_is_left_and_the_next_one_goes():
    """Nothing of it is held in memory as a whole."""
    good = b'{"id": "run_2", "status": "queued"}'
    long = b'{"id": "run_1", "status": "queued", "x": "' + b"x" * 100_000 + b'"}'
    found, said, counts = await sent(b"\n".join((long, good)), as_json(ASSISTANTS.shape), 1_000)
    assert ([key for key, _ in found], counts) == ([b"run_2"], (1, 1))
    assert said == ["line 1 is not sent: it has more than 1,000 bytes: kafka.max_record_bytes is the limit"]


@pytest.mark.parametrize("encode", [as_json(ASSISTANTS.shape), as_avro(load_v2_1())])
async def test_what_is_nested_too_deep_is_left(encode):
    text = b'{"id": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    found, said, _ = await sent(text, encode, 100_000)
    assert found == []
    assert "nested deeper than 200" in said[0]
