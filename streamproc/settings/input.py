"""The settings of the input: its framings, and the mapping of its statuses; and the resulting profile."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from streamproc.core.lifecycle import Profile
from streamproc.section import Section
from streamproc.spelling import meant


class InputSettings(Section):
    """What run-events may hold."""

    takes_json: bool = Field(
        default=True,
        alias="json",
        description="Whether JSON objects are taken beside Avro; the native codec reads Avro faster.",
    )
    statuses: dict[str, str] = Field({}, description="What producers write, to statuses of the profile.")
    unknown_statuses: Literal["keep", "reject"] = Field(
        "keep",
        description="An event in a status unknown to the profile counts as active (`keep`), or is a dead letter.",
    )


def in_force(profile: Profile, settings: InputSettings) -> Profile:
    """Return the profile with the statuses as the settings map them."""
    statuses, only = {**profile.shape.statuses, **settings.statuses}, frozenset(profile.statuses)
    if settings.unknown_statuses == "keep":
        only = profile.shape.only
    return replace(profile, shape=replace(profile.shape, statuses=statuses, only=only))


def input_flaws(profile: Profile, settings: InputSettings) -> Iterator[str]:
    """Yield what is wrong with the settings for a profile."""
    for raw, status in sorted(settings.statuses.items()):
        if status not in profile.statuses:
            near = meant(status, profile.statuses)
            may = f"did you mean {near}?" if near else f"there is: {', '.join(profile.statuses)}"
            yield f"input.statuses maps {raw!r} to {status!r}, which is no status of profile {profile.name}; {may}"
        elif not raw:
            yield f"input.statuses maps an empty text to {status}: a run without a status is no run"
        elif raw in profile.statuses and raw != status:
            yield f"input.statuses maps {raw} to {status}, but {raw} is a status itself, which no run could then have"
