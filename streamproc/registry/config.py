"""The settings of the registry client: where it is, and what is done there. None by default."""

from typing import Literal

from pydantic import Field, field_validator

from streamproc.web.config import Endpoint, Urls, bases

Outputs = Literal["register", "check", "off"]


class RegistrySettings(Endpoint):
    """A registry that speaks Confluent's API. Without `url` only the bundled schemas are known."""

    url: Urls = Field((), description="One or several of the same registry; the path, if any, as in /apis/ccompat/v7.")
    timeout_s: float = Field(5.0, gt=0, le=120, description="For one request as a whole.")
    outputs: Outputs = Field(
        "register", description="Schemas of the output topics: register, only check, or leave out."
    )
    max_schemas: int = Field(1_000, ge=10, le=100_000, description="Held in memory; beyond that the least used goes.")
    negative_ttl_s: float = Field(
        60.0, ge=1, le=86_400, description="For how long an id that is not known is not asked."
    )

    @field_validator("url")
    @classmethod
    def _url(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return bases(urls, "/schemas/ids/…")
