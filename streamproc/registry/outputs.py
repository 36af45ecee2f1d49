"""Finds the ids of the output schemas in the registry: it registers them, or only looks them up."""

import json
from collections.abc import Mapping

from streamproc.codec.framing import confluent
from streamproc.codec.names import shown
from streamproc.codec.schemas import load
from streamproc.errors import ConfigError
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import Outputs


async def output_frames(client: RegistryClient, subjects: Mapping[str, str], outputs: Outputs) -> dict[str, bytes]:
    """Return the framing header of each output schema, by its name; `outputs` is not `off`.

    `subjects`: topics, by the names of the bundled schemas of their values. Raises ConfigError where a schema is
    refused, or is not registered and must not be (`check`); RegistryUnavailable.
    """
    return {name: await _frame(client, name, f"{topic}-value", outputs) for name, topic in subjects.items()}


async def _frame(client: RegistryClient, name: str, subject: str, outputs: Outputs) -> bytes:
    text = json.dumps(load(name).document)
    # Looked up first: so a user with read access only is enough, and another spelling makes no new version.
    schema_id = await client.lookup(subject, text)
    if schema_id is None and outputs == "check":
        raise ConfigError(
            f"the schema {name} is not registered in subject {shown(subject)}: register it, "
            "or set STREAMPROC_REGISTRY__OUTPUTS=register"
        )
    return confluent(await client.register(subject, text) if schema_id is None else schema_id)
