"""The settings of the instances' reports."""

from pydantic import Field

from streamproc.credentials.section import Section


class InstanceSettings(Section):
    """What each instance says of itself in run-instances."""

    enabled: bool = Field(default=True, description="Whether it does.")
    interval_s: float = Field(5.0, ge=1, le=60, description="Three of them without a report: it is gone.")
