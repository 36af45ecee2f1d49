"""The settings of /metrics: which models and assistants get label values of their own."""

from typing import Annotated

from pydantic import Field

from streamproc.runtime.config import Section

Name = Annotated[str, Field(min_length=1, max_length=256)]
# Rendering takes 0.4 ms a model and does not let go of the event loop, hence the bounds.
AllowList = Annotated[tuple[Name, ...], Field(max_length=100)]
Limit = Annotated[int, Field(ge=0, le=100)]


class MetricsSettings(Section):
    """Label values of `model` and `assistant`: those of an allow-list, or else the first ones; the rest is `other`."""

    models: AllowList = Field((), description="Models with series of their own; empty: the first max_models.")
    max_models: Limit = 20
    assistants: AllowList = Field((), description="As models, of the metrics by assistant.")
    max_assistants: Limit = 20
