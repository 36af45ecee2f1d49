"""Where a producer's object has what the fold needs. Data: a profile names the paths, the codec reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TIMES = ("created_at", "started_at", "expires_at", "completed_at", "failed_at", "cancelled_at")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
NAMES = ("thread_id", "assistant_id", "model", "error_code")
"""Texts beside the id and the status."""
REQUIRED = ("id", "status")
TOOLS, METADATA = "required_tools", "metadata"
TARGETS = (*REQUIRED, *NAMES, *TIMES, *TOKENS, TOOLS, METADATA)
"""The values that may be read from an object; all but `REQUIRED` may be absent or null."""

LIST = "[]"
"""After a name in a path: each item of the list."""
PER_SECOND = MappingProxyType({"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000})


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The paths of one producer's object.

    `paths` maps targets to paths, such as `usage.prompt_tokens` or `calls[].name`, in the order in which they are
    tried; `statuses` maps the producer's spellings to the profile's statuses where they differ; `only`: unless it is
    empty, an event in another status is rejected; `time_unit` is that of times given as plain numbers.
    """

    paths: Mapping[str, tuple[str, ...]]
    statuses: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    only: frozenset[str] = frozenset()
    time_unit: str = "s"

    @property
    def per_second(self) -> int:
        """How many of `time_unit` are in a second."""
        return PER_SECOND[self.time_unit]


def same_names(*names: str, **paths: str) -> Mapping[str, tuple[str, ...]]:
    """Return paths: of targets whose name is their path, then of the others."""
    return MappingProxyType({**{name: (name,) for name in names}, **{name: (path,) for name, path in paths.items()}})
