"""The client against a real registry, and what a real client wrote there read back."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.request import Request, urlopen

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamproc.codec.framing import confluent, header_of, label
from streamproc.codec.schemas import Schema as AvroSchema
from streamproc.codec.schemas import load
from streamproc.codec.vet import vetted
from streamproc.errors import ConfigError, RecordRejected, RegistryUnavailable
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.learner import Learner
from streamproc.registry.outputs import output_frames
from streamproc.registry.requests import MEDIA_TYPE
from tests.support.apicurio import Apicurio
from tests.support.runobjects import run_object

RECORD = {"type": "record", "name": "x.Run", "fields": [{"name": "id", "type": "string"}]}
Unique = Callable[[str], str]


@pytest.fixture
async def client(registry_url: str) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(RegistrySettings(url=registry_url, timeout_s=60)) as it:
        yield it


def serialized(registry_url: str, topic: str, schema: Schema, value: dict[str, Any], **conf: Any) -> bytes:
    """Have confluent-kafka register a schema and frame a value."""
    # Named here, because its own look-up of the strategy asks for an API that only Confluent's registry has.
    conf = {"subject.name.strategy": topic_subject_name_strategy, **conf}
    serialize = AvroSerializer(SchemaRegistryClient({"url": registry_url}), schema, conf=conf)
    return serialize(value, SerializationContext(topic, MessageField.VALUE))


async def learned(client: RegistryClient, *headers: bytes) -> dict[bytes, Any]:
    """What the registry says: documents, or reasons why not."""
    found: dict[bytes, Any] = {}

    async def add(header: bytes, document: dict[str, Any], _: str) -> None:
        found[header] = document

    learner = Learner(client, add, found.__setitem__)
    for header in headers:
        await learner.learn([header])
    return found


async def test_what_another_client_framed_is_read_back(
    client: RegistryClient, registry_url: str, unique: Unique
) -> None:
    ours, value = load("run_object_v2_1"), run_object()
    topic = unique("run-events")
    framed_value = serialized(registry_url, topic, Schema(json.dumps(ours.document), "AVRO"), value)
    header = header_of(framed_value)
    assert label(header).startswith("id:")
    document = (await learned(client, header))[header]
    assert vetted(document)
    schema = AvroSchema(document)
    assert schema.fingerprint == ours.fingerprint
    payload = framed_value[len(header) :]
    assert payload == ours.frame(value)[len(ours.header) :]
    assert _decoded(schema, payload) == _decoded(ours, payload)


async def test_so_is_what_it_framed_by_a_schema_with_references(
    client: RegistryClient, registry_url: str, unique: Unique
) -> None:
    """The RunObject, with the records of its fields registered on their own."""
    ours, value, topic = load("run_object_v2_1"), run_object(), unique("run-events")
    registry = SchemaRegistryClient({"url": registry_url})
    main, parts = _taken_apart(ours.document)
    references = []
    for name, part in parts.items():
        subject = unique(name)
        registry.register_schema(subject, Schema(json.dumps(part), "AVRO"))
        references.append(SchemaReference(name, subject, 1))
    framed_value = serialized(registry_url, topic, Schema(json.dumps(main), "AVRO", references), value)
    header = header_of(framed_value)
    document = (await learned(client, header))[header]
    assert len(parts) > 1
    assert AvroSchema(document).fingerprint == ours.fingerprint
    payload = framed_value[len(header) :]
    assert _decoded(AvroSchema(document), payload) == _decoded(ours, payload)


@pytest.mark.parametrize("schema_id", [2_000_000_000, 2**31 - 1, 2**31, 2**32 - 1])
async def test_an_id_that_nobody_registered_is_unknown(client: RegistryClient, schema_id: int) -> None:
    """Also one that no registry can have: asked for it, Apicurio's "not found" has the error code 0."""
    header = confluent(schema_id)
    refused = (await learned(client, header))[header]
    assert isinstance(refused, RecordRejected)
    assert refused.reason == "unknown_schema"


async def test_a_schema_is_found_under_its_subject_and_version(client: RegistryClient, unique: Unique) -> None:
    subject = unique("odd/sub ject+ü%") + "-value"
    schema_id = await client.register(subject, json.dumps(RECORD))
    assert await client.register(subject, json.dumps(RECORD)) == schema_id
    assert await client.lookup(subject, json.dumps(RECORD)) == schema_id
    assert await client.lookup(subject, json.dumps(RECORD, indent=4)) == schema_id
    assert await client.lookup(subject, json.dumps({**RECORD, "name": "y.Other"})) is None
    assert await client.lookup(unique("nobody"), json.dumps(RECORD)) is None
    assert (subject, 1) in await client.versions_of(schema_id)
    for version in (1, "latest"):
        found = await client.subject_version(subject, version)
        assert json.loads(found.text) == RECORD
    assert await client.subject_version(subject, 2) is None
    assert await client.subject_version(unique("nobody"), 1) is None


async def test_a_wrong_path_is_not_taken_for_an_unknown_id(registry_url: str) -> None:
    """Apicurio's answer has an error code there, too: 404."""
    wrong = registry_url.replace("/ccompat/", "/nowhere/")
    async with RegistryClient(RegistrySettings(url=wrong, timeout_s=60)) as client:
        with pytest.raises(RegistryUnavailable, match="check the path"):
            await client.schema_by_id(1)


async def test_output_schemas_are_registered_once(client: RegistryClient, unique: Unique) -> None:
    subjects = {name: unique(name) for name in ("run_transition", "run_object_v2_1")}
    with pytest.raises(ConfigError, match="OUTPUTS=register"):
        await output_frames(client, subjects, "check")
    frames = await output_frames(client, subjects, "register")
    assert await output_frames(client, subjects, "register") == await output_frames(client, subjects, "check") == frames
    documents = await learned(client, *frames.values())
    assert {name: documents[frame] for name, frame in frames.items()} == {name: load(name).document for name in frames}
    for topic in subjects.values():
        assert await client.subject_version(f"{topic}-value", 2) is None


async def test_an_incompatible_output_schema_is_refused(
    client: RegistryClient, registry_url: str, unique: Unique
) -> None:
    topic = unique("run-transitions")
    await client.register(f"{topic}-value", json.dumps({**RECORD, "name": "other.Record"}))
    body = json.dumps({"compatibility": "FULL"}).encode()
    urlopen(Request(f"{registry_url}/config/{topic}-value", body, {"content-type": MEDIA_TYPE}, method="PUT")).close()
    with pytest.raises(ConfigError, match=rf"{topic}-value \(HTTP status 409\)"):
        await output_frames(client, {"run_transition": topic}, "register")


async def test_a_registry_that_hangs_or_is_gone_is_unavailable_until_it_is_back(
    real_registry: Apicurio, unique: Unique
) -> None:
    """Last: what was registered is gone with it."""
    client, hasty = (
        RegistryClient(RegistrySettings(url=real_registry.url, timeout_s=timeout_s)) for timeout_s in (60, 0.5)
    )
    async with client, hasty:
        schema_id = await client.register(unique("s"), json.dumps(RECORD))
        real_registry.pause()
        try:
            with pytest.raises(RegistryUnavailable, match="no answer within"):
                await hasty.schema_by_id(schema_id)
        finally:
            real_registry.resume()
        async with asyncio.timeout(90):
            while True:
                try:
                    assert await client.schema_by_id(schema_id)
                    break
                except RegistryUnavailable:
                    continue
        real_registry.stop()
        try:
            with pytest.raises(RegistryUnavailable, match=r"refused|Disconnected|reset"):
                await client.schema_by_id(schema_id)
        finally:
            real_registry.start()
    async with RegistryClient(RegistrySettings(url=real_registry.url, timeout_s=60)) as client:
        assert await client.schema_by_id(schema_id) is None


def _decoded(schema: AvroSchema, payload: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(payload), schema.parsed, None)


def _taken_apart(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a schema with the records among its fields' types as names, and those records by full name."""
    parts: dict[str, Any] = {}
    space = document["namespace"]

    def name(node: Any) -> Any:
        if isinstance(node, list):
            return [name(branch) for branch in node]
        if isinstance(node, dict) and node["type"] == "record":
            full = f"{space}.{node['name']}"
            parts[full] = {**node, "namespace": space}
            return full
        return node

    fields = [{**field, "type": name(field["type"])} for field in document["fields"]]
    return {**document, "fields": fields}, parts


def test_schema_check_asks_for_a_subject(registry_url: str, unique: Callable[[str], str]) -> None:
    """As CI would, before a producer is deployed."""
    registry, good, bad = SchemaRegistryClient({"url": registry_url}), unique("good"), unique("bad")
    registry.register_schema(good, Schema(json.dumps(load("run_object_v2_1").document), "AVRO"))
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "boolean"}]
    registry.register_schema(bad, Schema(json.dumps({"type": "record", "name": "Bad", "fields": fields}), "AVRO"))
    for subject, version, code, words in (
        (good, "latest", 0, "can be used"),
        (good, "1", 0, "can be used"),
        (good, "9", 2, "knows no"),
        (bad, "latest", 1, "status is boolean: it must be string"),
        (unique("none"), "latest", 2, "knows no"),
    ):
        command = [sys.executable, "-m", "streamproc", "schema", "check", subject, "--version", version]
        registry_settings = {"STREAMPROC_REGISTRY__URL": registry_url, "STREAMPROC_REGISTRY__TIMEOUT_S": "60"}
        environment = {**os.environ, **registry_settings, "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        assert words in done.stdout
