"""Objects as the real services show them, event after event: one file in tests/fixtures for each shape."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streamproc.core.lifecycle import Profile
from streamproc.core.profiles import ASSISTANTS, LANGGRAPH, RESPONSES

DIRECTORY = Path(__file__).parents[1] / "fixtures"
PROFILE_OF: Mapping[str, Profile] = MappingProxyType(
    {
        "assistants_v1": ASSISTANTS,
        "assistants_v1_5": ASSISTANTS,
        "assistants_v2": ASSISTANTS,
        "assistants_v2_1": ASSISTANTS,
        "foundry": ASSISTANTS,
        "responses": RESPONSES,
        "langgraph": LANGGRAPH,
    }
)


def load(name: str) -> list[dict[str, Any]]:
    """Return the objects of a fixture, in the order in which they arrive."""
    found: list[dict[str, Any]] = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return found
