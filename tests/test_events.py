"""The public `streamproc.events`: what a producer in Python makes and sends."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from streamproc.codec.decode import decode
from streamproc.codec.framing import confluent
from streamproc.events import AvroEncoder, BrokerUnavailable, ConfigError, EventInvalid, RunProducer, encode_json
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from tests.support.books import bundled_book
from tests.support.runobjects import Arrived, run_object
from tests.support.service import Fleet, fleet

SECRET = "not-to-be-shown"
RUN = {"id": "run_1", "status": "queued", "assistant_id": "triage"}


def _decoded(value: bytes) -> tuple[str, str]:
    (event,) = decode([Arrived(0, value)], bundled_book()).events
    return event.run_id, event.status


@pytest.mark.parametrize("version", ["v1", "v1_5", "v2", "v2_1"])
def test_every_bundled_version_can_be_written(version: str) -> None:
    """In single-object encoding, as the service reads it."""
    assert _decoded(AvroEncoder(f"run_object_{version}")(run_object(id="run_7"))) == ("run_7", "queued")


def test_a_schema_id_makes_the_framing_of_a_registry() -> None:
    """Byte 0 and the id in front; the payload is the same."""
    plain, framed = AvroEncoder(), AvroEncoder(schema_id=17)
    assert framed(run_object()) == confluent(17) + plain(run_object()).removeprefix(plain.header)


def test_a_schema_of_ones_own_can_be_written() -> None:
    """Given as a document; what it lacks is left out."""
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]
    encode = AvroEncoder({"type": "record", "name": "Run", "fields": fields})
    assert encode(RUN).endswith(b"\x0arun_1\x0cqueued")
    assert encode.document["name"] == "Run"


@pytest.mark.parametrize(
    ("change", "culprit"),
    [({"created_at": SECRET}, "what stands in created_at is not of its type"), ({"id": None}, "what stands in id")],
)
def test_what_does_not_fit_is_told_by_its_field_and_without_its_value(change: dict[str, object], culprit: str) -> None:
    """EventInvalid names the field; values may be secrets."""
    with pytest.raises(EventInvalid, match=culprit) as raised:
        AvroEncoder()({**run_object(), **change})
    assert SECRET not in str(raised.value)


def test_what_is_missing_is_named() -> None:
    """A field that the schema wants and has no default for."""
    with pytest.raises(EventInvalid, match="does not fit the schema: status is missing"):
        AvroEncoder()({name: value for name, value in run_object().items() if name != "status"})


@pytest.mark.parametrize("value", [float("nan"), datetime(2024, 6, 1, tzinfo=UTC), SECRET.encode()])
def test_what_is_no_json_is_refused(value: object) -> None:
    """The service would take NaN for nothing, and cannot take the others."""
    with pytest.raises(EventInvalid, match="no JSON") as raised:
        encode_json({**RUN, "metadata": {"key": value}})
    assert SECRET not in str(raised.value)


def test_a_schema_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match="run_object_v9"):
        AvroEncoder("run_object_v9")


async def test_a_setting_that_is_wrong_is_told_without_its_value() -> None:
    with pytest.raises(ConfigError, match="security_protocol") as raised:
        RunProducer(security_protocol=SECRET)
    assert SECRET not in str(raised.value)


@pytest.mark.kafka
class TestOnKafka:
    """The producer, on a real broker."""

    @pytest.fixture
    async def topics(self, kafka_bootstrap: str, unique: Callable[[str], str], tmp_path):
        async with fleet(kafka_bootstrap, unique("events"), tmp_path) as it:
            yield it

    async def test_events_have_the_runs_id_as_key_and_the_time_of_the_change(self, topics: Fleet) -> None:
        """All events of a run are in one partition, in their order."""
        async with RunProducer(topics.topics.events, bootstrap_servers=topics.settings.bootstrap_servers) as runs:
            for status, at in (("queued", 1_717_200_000.5), ("in_progress", 1_717_200_001)):
                await runs.send({**RUN, "status": status}, at=at)
        kafka = AioKafka(KafkaSettings(bootstrap_servers=topics.settings.bootstrap_servers), "any")
        records = await topics.read(topics.topics.events, kafka.partition_of(b"run_1", topics.partitions))
        await kafka.close()
        found = [(record.key, json.loads(record.value or b"")["status"], record.timestamp) for record in records]
        assert found == [(b"run_1", "queued", 1_717_200_000_500), (b"run_1", "in_progress", 1_717_200_001_000)]

    async def test_a_run_without_an_id_is_refused_and_the_others_go_on(self, topics: Fleet) -> None:
        """`id_of` finds it elsewhere."""
        options = {"bootstrap_servers": topics.settings.bootstrap_servers, "id_of": lambda run: run["run"]["id"]}
        async with RunProducer(topics.topics.events, **options) as runs:
            for bad in ({}, {"run": None}, {"run": {"id": 7}}, {"run": {"id": ""}}):
                with pytest.raises(EventInvalid, match="id"):
                    await runs.send(bad)
            await runs.send({"run": {"id": "run_1"}})
        found = [await topics.read(topics.topics.events, number) for number in range(topics.partitions)]
        assert sum(map(len, found)) == 1

    async def test_a_broker_that_is_not_there_is_told(self) -> None:
        with pytest.raises(BrokerUnavailable, match="BOOTSTRAP_SERVERS"):
            async with RunProducer(bootstrap_servers="127.0.0.1:9"):
                pass
