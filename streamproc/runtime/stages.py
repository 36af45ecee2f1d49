"""The stages of the pipeline: the one place that assigns each input topic its processing."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from streamproc.core.windowstate import WindowRules
from streamproc.runtime.fold import FoldSettings, FoldStage
from streamproc.runtime.stage import SizeLimits, Stage
from streamproc.runtime.windowing import WindowStage
from streamproc.store.store import Host

Stages = Callable[[int, SizeLimits, Host], Sequence[Stage[Any]]]
"""Makes the stages, given the partition count and the size limits of the topics: a worker has to look these up first.

The third argument hears about the store.
"""


def stages(settings: FoldSettings, windows: WindowRules) -> Stages:
    """Return the factory of the fold and window stages."""

    def made(partitions: int, limits: SizeLimits, host: Host) -> Sequence[Stage[Any]]:
        rules, profile = replace(windows, sources=partitions), settings.rules.profile.name
        return (
            FoldStage(settings, partitions, limits, host),
            WindowStage(rules, settings.topics, profile, settings.application_id, settings.frames, limits),
        )

    return made
