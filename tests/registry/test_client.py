"""The client: what counts as an answer, and what happens to everything else."""

import asyncio
import time
from base64 import b64decode
from contextlib import AsyncExitStack
from email.utils import formatdate
from gzip import compress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from streamproc.errors import ConfigError, RecordRejected, RegistryUnavailable
from streamproc.local.kafka import free_port
from streamproc.registry.client import MAX_RETRY_AFTER_S, RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.requests import MAX_BODY_BYTES, MEDIA_TYPE
from tests.support.certificates import Authority
from tests.support.receiver import Got, never, status
from tests.support.registry import Stub, answer, lacking, reference, stub

SECRET = "hunter2-is-a-secret"
TEXT = '{"type": "string"}'


class Counts:
    def __init__(self) -> None:
        self.results: list[str] = []

    def requested(self, result: str) -> None:
        self.results.append(str(result))


def client(*urls: str, **more: Any) -> RegistryClient:
    extra = {name: more.pop(name) for name in ("observer", "clock") if name in more}
    return RegistryClient(RegistrySettings(url=list(urls), **{"timeout_s": 60, **more}), **extra)


# Answers


async def test_a_schema_comes_with_its_type_and_references(registry: Stub) -> None:
    registry.put(17, TEXT, [reference("a", 3)], schemaType="AVRO", maxId=20, guid="new")
    async with client(registry.url) as it:
        found = await it.schema_by_id(17)
    assert (found.text, found.kind) == (TEXT, "AVRO")
    assert [(part.subject, part.version) for part in found.references] == [("a", 3)]
    (got,) = registry.got
    assert (got.method, got.raw_path, got.body) == ("GET", "/schemas/ids/17", b"")
    assert got.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("more", [{}, {"schemaType": None, "references": None}])
async def test_an_absent_type_is_avro(registry: Stub, more: dict[str, Any]) -> None:
    registry.known["/schemas/ids/17"] = answer({"schema": TEXT, **more})
    async with client(registry.url) as it:
        found = await it.schema_by_id(17)
    assert (found.kind, found.references) == ("AVRO", ())


async def test_a_path_in_front_is_kept(registry: Stub) -> None:
    registry.known["/apis/ccompat/v7/schemas/ids/17"] = answer({"schema": TEXT})
    async with client(f"{registry.url}/apis/ccompat/v7/") as it:
        assert await it.schema_by_id(17)


async def test_versions_of_an_id(registry: Stub) -> None:
    registry.put_places(17, ("a", 1), ("b", 2))
    async with client(registry.url) as it:
        assert await it.versions_of(17) == [("a", 1), ("b", 2)]
        assert await it.versions_of(18) == []


@pytest.mark.parametrize("subject", ["a/b c+d?#%ü&=", "..a", ":.x:y", "%2e%2e"])
async def test_a_subject_is_encoded(registry: Stub, subject: str) -> None:
    async with client(registry.url) as it:
        await it.subject_version(subject, "latest")
    (got,) = registry.got
    assert got.path == f"/subjects/{subject}/versions/latest"
    assert got.raw_path.count("/") == 4


@pytest.mark.parametrize("subject", ["", ".", "..", "ab\udcff"])
async def test_a_subject_that_no_url_can_name_is_not_there(registry: Stub, subject: str) -> None:
    async with client(registry.url) as it:
        assert await it.subject_version(subject, 1) is None
    assert registry.got == []


async def test_registering_returns_the_id(registry: Stub) -> None:
    registry.known["/subjects/s-value/versions"] = answer({"id": 17})
    async with client(registry.url) as it:
        assert await it.register("s-value", TEXT) == 17
    (got,) = registry.got
    assert (got.method, got.content, got.headers["Content-Type"]) == ("POST", {"schema": TEXT}, MEDIA_TYPE)


async def test_a_look_up_finds_a_schema_in_another_spelling(registry: Stub) -> None:
    def normalized(got: Got) -> web.StreamResponse:
        found = answer({"id": 17, "subject": "s", "version": 1, "schema": "{}"})
        return (found if got.raw_path.endswith("?normalize=true") else lacking())(got)

    registry.known["/subjects/s-value"] = normalized
    async with client(registry.url) as it:
        assert await it.lookup("s-value", TEXT) == 17
        assert await it.lookup("other-value", TEXT) is None


@pytest.mark.parametrize("code", [40401, 40402, 40403])
async def test_only_a_registrys_own_not_found_is_one(registry: Stub, code: int) -> None:
    registry.behave = lacking(code)
    async with client(registry.url) as it:
        assert await it.schema_by_id(17) is None


# What is no answer


@pytest.mark.parametrize(
    ("behave", "word"),
    [
        (answer(b"not here", 404), "check the path"),
        (answer({"error_code": 404}, 404), "check the path"),
        (answer({"error_code": "40403"}, 404), "check the path"),
        (answer({"error_code": 40499}, 404), "check the path"),
        (answer({"message": "no route"}, 404), "check the path"),
        (answer(b" " * (MAX_BODY_BYTES + 1), 404), "check the path"),
        *((status(code), f"status {code}") for code in (400, 405, 408, 409, 422, 425, 429, 500, 502, 503, 504)),
        (answer({"error_code": 40403}, 410), "status 410"),
        (status(401), "BEARER_TOKEN"),
        (status(403), "allows"),
        *((status(code, location="/elsewhere"), "redirect") for code in (301, 302, 303, 307, 308)),
        (status(304), "redirect"),
        (answer(b"<html>log in</html>", content_type="text/html"), "leads to a registry"),
        (answer(b""), "leads to a registry"),
        (answer(b"", 204), "leads to a registry"),
        (answer([]), "leads to a registry"),
        (answer({"schema": {"type": "string"}}), "leads to a registry"),
        (answer({"schema": None}), "leads to a registry"),
        (answer(b"[" * 100_000), "leads to a registry"),
        (answer(compress(b'{"schema": "{}"}'), content_encoding="gzip"), "content-encoding gzip"),
        (answer(compress(b'{"error_code": 40403}'), 404, content_encoding="gzip"), "content-encoding gzip"),
        (answer(b" " * (MAX_BODY_BYTES + 1), content_type="text/html"), "leads to a registry"),
        (never, "no answer within"),
    ],
)
async def test_whatever_else_comes_means_unavailable(registry: Stub, behave: Any, word: str) -> None:
    """Nothing valid may be dead-lettered for it."""
    registry.behave = behave
    timeout_s = 1 if behave is never else 60
    async with client(f"{registry.url}/{SECRET}", bearer_token=SECRET, timeout_s=timeout_s) as it:
        with pytest.raises(RegistryUnavailable, match=word) as error:
            await it.schema_by_id(17)
    assert SECRET not in str(error.value)
    assert registry.url in str(error.value)
    assert len(registry.got) == 1


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"schemaType": 1}, "schemaType"),
        ({"references": {}}, "references"),
        ({"references": [{"subject": "a"}]}, "references.0.version"),
        *(({"references": [{**reference("a"), "version": it}]}, "version") for it in ("1", True, 0, -1, 1.5, None)),
        ({"schema": "\ud800"}, "Invalid JSON"),
    ],
)
async def test_a_flaw_beside_a_schema_is_the_schemas_and_no_outage(
    registry: Stub, more: dict[str, Any], word: str
) -> None:
    """Asked again it would be as flawed: the partition would wait for ever."""
    registry.behave = answer({"schema": TEXT, **more})
    async with client(registry.url) as it:
        with pytest.raises(RecordRejected, match=rf"id 17 .*{word}") as error:
            await it.schema_by_id(17)
    assert error.value.reason == "unfit_schema"
    assert str(error.value).isprintable()


async def test_what_nothing_reads_may_be_whatever_it_is(registry: Stub) -> None:
    registry.behave = answer({"schema": TEXT, "references": [{"subject": "a", "version": 1}], "id": "x", "version": -1})
    async with client(registry.url) as it:
        assert await it.schema_by_id(17)


async def test_a_flawed_answer_to_a_look_up_refuses_no_schema(registry: Stub) -> None:
    """At the start there is no record that could be rejected."""
    registry.behave = answer({"id": "17", "schema": TEXT})
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable):
            await it.lookup("s-value", TEXT)
    registry.behave = answer(b" " * (MAX_BODY_BYTES + 1))
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable):
            await it.lookup("s-value", TEXT)


@pytest.mark.parametrize("wrong", ["17", True, -1, 1.0, None, 2**31, [17]])
async def test_an_id_is_an_integer_that_fits_into_the_framing(registry: Stub, wrong: Any) -> None:
    registry.behave = answer({"id": wrong})
    async with client(registry.url) as it:
        for ask in (it.register, it.lookup):
            with pytest.raises(RegistryUnavailable, match="leads to a registry"):
                await ask("s-value", TEXT)


@pytest.mark.parametrize("wrong", [{"subject": "a", "version": "1"}, {"subject": 1, "version": 1}, "a"])
async def test_places_are_subjects_and_numbers(registry: Stub, wrong: Any) -> None:
    registry.behave = answer([wrong])
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable):
            await it.versions_of(17)


async def test_a_schema_that_is_too_large_is_unfit(registry: Stub) -> None:
    """Asked again it would be as large: the partition would wait for ever."""
    registry.put(17, " " * MAX_BODY_BYTES)
    async with client(registry.url) as it:
        with pytest.raises(RecordRejected, match=r"id 17 .*1,048,576") as error:
            await it.schema_by_id(17)
    assert error.value.reason == "unfit_schema"


async def test_an_answer_that_does_not_end_is_none(registry: Stub) -> None:
    async def endless():
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    registry.behave = lambda _: web.Response(body=endless())
    async with client(registry.url, timeout_s=0.2) as it:
        with pytest.raises(RegistryUnavailable, match="no answer within"):
            await it.schema_by_id(17)


async def test_nobody_there_is_named_by_host_only() -> None:
    async with client(f"http://127.0.0.1:{free_port()}/{SECRET}") as it:
        with pytest.raises(RegistryUnavailable, match="Connection refused") as error:
            await it.schema_by_id(17)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("code", [409, 422])
async def test_a_schema_that_the_registry_refuses_is_somebodys_to_change(registry: Stub, code: int) -> None:
    registry.behave = answer({"error_code": code, "message": SECRET}, code)
    async with client(registry.url) as it:
        with pytest.raises(ConfigError, match=rf"s-value \(HTTP status {code}\).*OUTPUTS=off") as error:
            await it.register("s-value", TEXT)
    assert SECRET not in str(error.value)


async def test_control_characters_of_a_subject_are_escaped(registry: Stub) -> None:
    registry.behave = status(500)
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.subject_version("a\n\x1b[31mb", 1)
    assert "\\n" in str(error.value)
    assert str(error.value).isprintable()


# Logging in


async def test_both_ways_to_log_in(registry: Stub) -> None:
    registry.put(17, TEXT)
    for settings in ({"bearer_token": SECRET}, {"username": "u", "password": SECRET}):
        async with client(registry.url, **settings) as it:
            await it.schema_by_id(17)
    token, basic = (got.headers["Authorization"] for got in registry.got)
    assert token == f"Bearer {SECRET}"
    assert b64decode(basic.removeprefix("Basic ")).decode() == f"u:{SECRET}"


async def test_tls_with_certificates_of_our_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("client")
    async with stub(authority.server(asks=True)) as registry:
        registry.put(17, TEXT)
        async with client(registry.url) as it:
            with pytest.raises(RegistryUnavailable, match="CA_FILE"):
                await it.schema_by_id(17)
        both = {"cert_file": ours.cert_file, "key_file": ours.key_file}
        async with client(registry.url, ca_file=authority.ca_file, **both) as it:
            assert await it.schema_by_id(17)


# Several URLs


@pytest.fixture
async def three():
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(stub()) for _ in range(3)]


async def test_the_one_that_answered_last_is_asked_first(three: list[Stub]) -> None:
    first, second, _ = three
    first.behave = status(503)
    second.put(17, TEXT)
    async with client(*(each.url for each in three)) as it:
        for _ in range(2):
            assert await it.schema_by_id(17)
    assert [len(each.got) for each in three] == [1, 2, 0]


async def test_a_not_found_counts_only_when_all_say_so(three: list[Stub]) -> None:
    """A follower may lag behind the one that is away: nothing valid is ever dead-lettered for it."""
    first, second, third = three
    second.behave = status(500)
    async with client(*(each.url for each in three)) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
        assert all(f"{each.url} says there is none" in str(error.value) for each in (first, third))
        assert f"{second.url}: HTTP status 500" in str(error.value)
        second.behave = None
        assert await it.schema_by_id(17) is None
        third.put(17, TEXT)
        assert await it.schema_by_id(17)
        assert await it.schema_by_id(17)
    assert [len(each.got) for each in three] == [3, 3, 4]


async def test_one_that_says_no_is_asked_before_one_that_is_away(three: list[Stub]) -> None:
    first, second, _ = three
    first.behave = status(500)
    async with client(first.url, second.url) as it:
        with pytest.raises(RegistryUnavailable):
            await it.schema_by_id(17)
        second.put(17, TEXT)
        assert await it.schema_by_id(17)
    assert len(first.got) == 1


async def test_a_look_up_in_another_spelling_needs_only_one_that_answers(three: list[Stub]) -> None:
    """A start waits for a dead replica only where nobody else knows the schema."""
    first, second, _ = three
    first.behave = status(500)

    def normalized(got: Got) -> web.StreamResponse:
        return (answer({"id": 17}) if got.raw_path.endswith("?normalize=true") else lacking())(got)

    second.known["/subjects/s-value"] = normalized
    async with client(first.url, second.url) as it:
        assert await it.lookup("s-value", TEXT) == 17
        with pytest.raises(RegistryUnavailable, match="says there is none"):
            await it.lookup("other-value", TEXT)


async def test_all_that_fail_are_named(three: list[Stub]) -> None:
    codes = {each.url: code for each, code in zip(three, (500, 401, 302), strict=True)}
    for each in three:
        each.behave = status(codes[each.url])
    async with client(*(each.url for each in three)) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
    assert all(f"{url}: HTTP status {code}" in str(error.value) for url, code in codes.items())


# Retry-After


async def test_a_url_that_asks_to_be_left_alone_is_for_so_long(registry: Stub) -> None:
    now = [100.0]
    registry.behave = status(429, retry_after="7")
    async with client(registry.url, clock=lambda: now[0]) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
        assert error.value.retry_after_s == 7
        now[0] += 4
        with pytest.raises(RegistryUnavailable, match="left alone for another 3 s") as error:
            await it.schema_by_id(17)
        assert error.value.retry_after_s == pytest.approx(3)
        assert len(registry.got) == 1
        now[0] += 3
        registry.behave = None
        registry.put(17, TEXT)
        assert await it.schema_by_id(17)


async def test_a_date_is_understood(registry: Stub) -> None:
    registry.behave = status(429, retry_after=formatdate(time.time() + 30, usegmt=True))
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
    assert 25 < error.value.retry_after_s <= 30


async def test_who_asks_for_a_name_closes_the_registry_for_nobody(registry: Stub) -> None:
    """It is for people only; the schemas are not."""
    registry.put(17, TEXT)
    registry.known["/schemas/ids/17/versions"] = status(429, retry_after="7")
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable):
            await it.versions_of(17)
        assert await it.schema_by_id(17)


async def test_nobody_is_left_alone_for_ever(registry: Stub) -> None:
    registry.behave = status(503, retry_after="999999")
    async with client(registry.url) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
    assert error.value.retry_after_s == MAX_RETRY_AFTER_S


async def test_the_others_are_asked_in_the_meantime(three: list[Stub]) -> None:
    first, second, _ = three
    first.behave = status(503, retry_after="60")
    second.put(17, TEXT)
    async with client(first.url, second.url) as it:
        assert await it.schema_by_id(17)
    second.behave = status(503)
    async with client(first.url, second.url) as it:
        with pytest.raises(RegistryUnavailable) as error:
            await it.schema_by_id(17)
    assert error.value.retry_after_s is None  # The second may be asked again at once.


# Observed


async def test_each_request_is_counted_by_what_became_of_it(registry: Stub) -> None:
    counts = Counts()
    registry.put(17, TEXT)
    async with client(registry.url, observer=counts) as it:
        await it.schema_by_id(17)
        await it.schema_by_id(18)
        registry.behave = status(500)
        with pytest.raises(RegistryUnavailable):
            await it.schema_by_id(17)
        registry.behave = answer({"error_code": 409}, 409)
        with pytest.raises(ConfigError):
            await it.register("s", TEXT)
    assert counts.results == ["found", "not_found", "failed", "failed"]
