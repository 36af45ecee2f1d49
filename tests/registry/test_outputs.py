"""The output schemas: registered, or only looked up."""

import json
from collections.abc import AsyncIterator

import pytest

from streamproc.codec.schemas import load
from streamproc.errors import ConfigError, RegistryUnavailable
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.outputs import output_frames
from tests.support.receiver import status
from tests.support.registry import Stub, answer

NAME = "run_object_v2_1"
SUBJECTS = {NAME: "run-transitions"}


@pytest.fixture
async def client(registry: Stub) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(RegistrySettings(url=registry.url, timeout_s=60)) as it:
        yield it


async def test_what_is_there_is_not_registered_again(registry: Stub, client: RegistryClient) -> None:
    """Who may only read need not be allowed to write."""
    registry.known["/subjects/run-transitions-value"] = answer({"id": 258})
    for outputs in ("register", "check"):
        assert await output_frames(client, SUBJECTS, outputs) == {NAME: b"\x00\x00\x00\x01\x02"}
    assert not any("/versions" in path for path in registry.paths)


async def test_what_is_missing_is_registered(registry: Stub, client: RegistryClient) -> None:
    registry.known["/subjects/run-transitions-value/versions"] = answer({"id": 7})
    assert await output_frames(client, SUBJECTS, "register") == {NAME: b"\x00\x00\x00\x00\x07"}
    assert json.loads(registry.got[-1].content["schema"]) == load(NAME).document


async def test_what_is_missing_and_may_not_be_registered_is_for_somebody_to_change(
    registry: Stub, client: RegistryClient
) -> None:
    with pytest.raises(ConfigError, match=rf"{NAME}.*run-transitions-value.*STREAMPROC_REGISTRY__OUTPUTS=register"):
        await output_frames(client, SUBJECTS, "check")
    assert not any("/versions" in path for path in registry.paths)


async def test_an_outage_is_none_of_the_schemas_faults(registry: Stub, client: RegistryClient) -> None:
    registry.behave = status(503)
    with pytest.raises(RegistryUnavailable):
        await output_frames(client, SUBJECTS, "check")
