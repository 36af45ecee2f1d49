"""Settings of the registry client, and of the framing of outputs, which may contain the registry's ids."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from streamproc.codec.framing import Framing
from streamproc.section import Section
from streamproc.web.config import EndpointSettings, Urls, bases

Outputs = Literal["register", "check", "off"]


class RegistrySettings(EndpointSettings):
    """A registry that speaks Confluent's API. Without `url` only the bundled schemas are known."""

    url: Urls = Field(
        (), description="One or several URLs of the same registry; with its path, if any, such as /apis/ccompat/v7."
    )
    timeout_s: float = Field(5.0, gt=0, le=120, description="How long one request may take as a whole.")
    outputs: Outputs = Field(
        "register", description="What to do with the schemas of the output topics: register, only check, or leave out."
    )
    max_schemas: int = Field(
        1_000, ge=10, le=100_000, description="Schemas held in memory; beyond that the least used goes."
    )
    negative_ttl_s: float = Field(
        60.0, ge=1, le=86_400, description="How long an id that is not known is not asked for again."
    )

    @field_validator("url")
    @classmethod
    def _url(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return bases(urls, "/schemas/ids/…")


class OutputSettings(Section):
    """The framing of records in the topics that others read."""

    framing: Literal["auto", Framing] = Field(
        "auto",
        description=(
            "`auto`: `confluent` where a registry is set and registry.outputs is not off, else `single_object`."
        ),
    )


def framing_in_force(outputs: OutputSettings, registry: RegistrySettings) -> Framing:
    """Return the framing of outputs."""
    if outputs.framing != "auto":
        return outputs.framing
    return "confluent" if registry.url and registry.outputs != "off" else "single_object"


def framing_flaws(outputs: OutputSettings, registry: RegistrySettings) -> Iterator[str]:
    """Yield the contradictions between the settings of outputs and those of the registry."""
    if outputs.framing == "confluent" and not registry.url:
        yield (
            "outputs.framing is confluent, for which a registry gives the ids: set STREAMPROC_REGISTRY__URL, or leave "
            "STREAMPROC_OUTPUTS__FRAMING at auto"
        )
    if outputs.framing == "confluent" and registry.outputs == "off":
        yield (
            "outputs.framing is confluent, but registry.outputs is off: set STREAMPROC_REGISTRY__OUTPUTS to "
            "register or check, or STREAMPROC_OUTPUTS__FRAMING to single_object"
        )
    if outputs.framing == "single_object" and "outputs" in registry.model_fields_set and registry.outputs != "off":
        yield (
            f"outputs.framing is single_object, but registry.outputs is {registry.outputs}: leave out "
            "STREAMPROC_REGISTRY__OUTPUTS, or set STREAMPROC_OUTPUTS__FRAMING to confluent"
        )
