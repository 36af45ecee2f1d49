"""The settings of the instances' reports."""

from pydantic import Field

from streamproc.section import Section


class InstanceSettings(Section):
    """What each instance says of itself in run-instances."""

    enabled: bool = Field(default=True, description="Whether each instance reports itself.")
    interval_s: float = Field(
        5.0,
        ge=1,
        le=60,
        description="Time between two reports; without one for three times that, an instance counts as gone.",
    )
