"""The stages of the pipeline: the one place where a topic gets what is done with it."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from streamproc.core.windowstate import WindowRules
from streamproc.runtime.fold import FoldSettings, FoldStage
from streamproc.runtime.stage import SizeLimits, Stage
from streamproc.runtime.windowing import WindowStage
from streamproc.store.store import Host

Stages = Callable[[int, SizeLimits, Host], Sequence[Stage[Any]]]
"""Makes the stages, given how many partitions there are and what topics admit: known once a worker has looked.

The third is told of what is stored.
"""


def stages(settings: FoldSettings, windows: WindowRules) -> Stages:
    """Return what makes the fold and the windows."""

    def made(partitions: int, limits: SizeLimits, host: Host) -> Sequence[Stage[Any]]:
        rules, profile = replace(windows, sources=partitions), settings.rules.profile.name
        return (
            FoldStage(settings, partitions, limits, host),
            WindowStage(rules, settings.topics, profile, settings.application_id, settings.frames, limits),
        )

    return made
