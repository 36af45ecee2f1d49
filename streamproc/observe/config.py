"""The settings of /metrics: which models and assistants get label values of their own."""

from typing import Annotated

from pydantic import Field

from streamproc.section import Section

Name = Annotated[str, Field(min_length=1, max_length=256)]
# Rendering takes 0.5 to 0.9 ms a model.
MAX_NAMES = 50
AllowList = Annotated[tuple[Name, ...], Field(max_length=MAX_NAMES)]
Limit = Annotated[int, Field(ge=0, le=MAX_NAMES)]


class MetricsSettings(Section):
    """Label values of `model` and `assistant`: those of an allow-list, or else the busiest; the rest is `other`."""

    models: AllowList = Field((), description="Models with series of their own; empty: the busiest max_models.")
    max_models: Limit = Field(
        20, description="How many models, the busiest, have series of their own; of further ones the model is `other`."
    )
    assistants: AllowList = Field(
        (), description="Assistants with series of their own; empty: the busiest max_assistants."
    )
    max_assistants: Limit = Field(20, description="As max_models, of the metrics by assistant.")
    max_pairs: int = Field(
        100,
        ge=0,
        le=1_000,
        description="Pairs of model and assistant that tokens are counted by; of more, the assistant is `other`.",
    )
