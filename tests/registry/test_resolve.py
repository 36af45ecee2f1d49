"""A schema id becomes one document, or a reason why not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamproc.errors import ConfigError, RecordRejected, RegistryUnavailable
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.requests import MAX_BODY_BYTES
from streamproc.registry.resolve import MAX_DEPTH, MAX_REFERENCES, MAX_TEXT_BYTES, Resolved, documents_of, resolve
from tests.support.receiver import never, status
from tests.support.registry import Stub, answer, reference

RUN = {"type": "record", "name": "x.Run", "fields": [{"name": "usage", "type": "x.Usage"}]}
USAGE = {"type": "record", "name": "x.Usage", "fields": [{"name": "total", "type": "long"}]}
PLAIN = {"type": "record", "name": "Run", "fields": []}


@pytest.fixture
async def client(registry: Stub) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(RegistrySettings(url=registry.url, timeout_s=60)) as it:
        yield it


async def refused(client: RegistryClient, reason: str = "unfit_schema") -> str:
    with pytest.raises(RecordRejected) as error:
        await resolve(client, 17)
    assert error.value.reason == reason
    assert "id 17" in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


async def test_a_schema_without_references_is_taken_as_it_is(registry: Stub, client: RegistryClient) -> None:
    registry.put(17, PLAIN)
    registry.put_places(17, ("run-events-value", 3))
    assert await resolve(client, 17) == Resolved(PLAIN, "id 17 (run-events-value version 3)")


async def test_references_are_put_in(registry: Stub, client: RegistryClient) -> None:
    registry.put(17, RUN, [reference("usage/1", 2)])
    registry.put_version("usage/1", USAGE, version=2)
    document, _ = await resolve(client, 17)
    usage = document["fields"][0]["type"]
    assert (usage["namespace"], usage["name"], usage["fields"]) == ("x", "Usage", USAGE["fields"])


async def test_a_reference_that_several_need_is_fetched_once(registry: Stub, client: RegistryClient) -> None:
    top = {**PLAIN, "fields": [{"name": name, "type": f"x.{name}"} for name in "AB"]}
    registry.put(17, top, [reference("a"), reference("b")])
    for name in "ab":
        middle = {"type": "record", "name": f"x.{name.upper()}", "fields": [{"name": "u", "type": "x.Usage"}]}
        registry.put_version(name, middle, [reference("usage")])
    registry.put_version("usage", USAGE)
    document, _ = await resolve(client, 17)
    assert document["fields"][1]["type"]["fields"][0]["type"] == "x.Usage"
    assert len([path for path in registry.paths if "/usage/" in path]) == 1


async def test_an_unknown_id_says_how_to_get_its_records_back(registry: Stub, client: RegistryClient) -> None:
    message = await refused(client, "unknown_schema")
    assert "`streamproc dlq replay --reason unknown_schema`" in message


@pytest.mark.parametrize("behave", [status(500), answer([]), None])
async def test_where_it_is_known_is_for_people_only(registry: Stub, client: RegistryClient, behave: Any) -> None:
    registry.put(17, PLAIN)
    if behave is not None:
        registry.known["/schemas/ids/17/versions"] = behave
    assert (await resolve(client, 17)).where == "id 17"


async def test_a_name_that_does_not_come_is_not_waited_for(
    registry: Stub, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody behind it would wait, too: eight are asked for at a time."""
    monkeypatch.setattr("streamproc.registry.resolve.NAMING_S", 0.1)
    registry.put(17, PLAIN)
    registry.known["/schemas/ids/17/versions"] = never
    async with asyncio.timeout(30):
        assert await resolve(client, 17) == Resolved(PLAIN, "id 17")


async def test_one_of_many_places_is_named(registry: Stub, client: RegistryClient) -> None:
    registry.put(17, PLAIN)
    registry.put_places(17, ("a\nb", 1), ("c", 2), ("d", 9))
    assert (await resolve(client, 17)).where == "id 17 (a\\nb version 1 and 2 more)"


@pytest.mark.parametrize(
    ("schema", "more", "word"),
    [
        ("{", {}, "no JSON"),
        ("9" * 5_000, {}, "no JSON"),
        ("[" * 100_000, {}, "too deeply"),
        ('"string"', {}, "no record"),
        ("[]", {}, "no record"),
        ('syntax = "proto3";', {"schemaType": "PROTOBUF\n"}, r"PROTOBUF\n, not AVRO"),
        (f'"{"x" * MAX_TEXT_BYTES}"', {}, "262,144"),
        (RUN, {"references": [reference("usage")]}, "usage version 1, which the registry does not have"),
        (RUN, {"references": [reference("..")]}, ".. version 1, which the registry does not have"),
    ],
)
async def test_an_unfit_schema_is_refused_by_name(
    registry: Stub, client: RegistryClient, schema: Any, more: dict[str, Any], word: str
) -> None:
    registry.put(17, schema, **more)
    registry.put_places(17, ("run-events-value", 3))
    message = await refused(client)
    assert word.replace("\n", "\\n") in message
    assert "id 17 (run-events-value version 3)" in message


@pytest.mark.parametrize(
    ("schema", "more", "word"),
    [
        ("{", {}, "usage version 1 is no JSON"),
        (USAGE, {"schemaType": "JSON"}, "usage version 1 is of type JSON"),
        (f'"{"x" * (MAX_TEXT_BYTES - 10)}"', {}, "with its references it is larger"),
        (" " * 2**20, {}, "usage version 1 is larger than"),
        (USAGE, {"references": [{**reference("a"), "version": -1}]}, "references.0.version"),
        ({**USAGE, "name": "x.Other"}, {}, "x.Usage, which neither"),
    ],
)
async def test_so_is_one_with_an_unfit_reference(
    registry: Stub, client: RegistryClient, schema: Any, more: dict[str, Any], word: str
) -> None:
    registry.put(17, RUN, [reference("usage")])
    registry.put_version("usage", schema, **more)
    assert word in await refused(client)


async def test_references_that_come_back_are_refused(registry: Stub, client: RegistryClient) -> None:
    registry.put(17, RUN, [reference("a")])
    registry.put_version("a", USAGE, [reference("b")])
    registry.put_version("b", {**USAGE, "name": "x.B"}, [reference("a")])
    assert "come back to a version 1" in await refused(client)


@pytest.mark.parametrize("shape", ["wide", "deep"])
async def test_references_are_bounded(registry: Stub, client: RegistryClient, shape: str) -> None:
    count = {"wide": MAX_REFERENCES, "deep": MAX_DEPTH}[shape]
    chain = [reference(f"s{number}") for number in range(count + 1)]
    registry.put(17, RUN, chain if shape == "wide" else chain[:1])
    for number in range(count + 1):
        schema = {**USAGE, "name": f"x.S{number}"}
        registry.put_version(f"s{number}", schema, chain[number + 1 : number + 2] if shape == "deep" else ())
    assert f"more than {MAX_REFERENCES} references" in await refused(client)


async def test_a_registry_that_goes_away_in_between_refuses_nothing(registry: Stub, client: RegistryClient) -> None:
    registry.put(17, RUN, [reference("usage")])
    registry.known["/subjects/usage/versions/1"] = status(503)
    with pytest.raises(RegistryUnavailable):
        await resolve(client, 17)


async def test_subjects_are_asked_for_whatever_becomes_of_those_before(registry: Stub, client: RegistryClient) -> None:
    """For `schema check`: a schema that cannot be read hides none of the others."""
    registry.put_version("large", " " * MAX_BODY_BYTES)
    registry.put_version("broken", "{")
    registry.put_version("good", PLAIN)
    found = await documents_of(client, ["large", "broken", "none", "good"], 1)
    assert found["good"] == PLAIN
    for subject, word, kind in (
        ("large", "larger than", RecordRejected),
        ("broken", "no JSON", RecordRejected),
        ("none", "knows no none version 1", ConfigError),
    ):
        assert isinstance(found[subject], kind)
        assert word in str(found[subject])
