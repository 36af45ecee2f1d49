"""The settings of the console."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from streamproc.section import Section
from streamproc.web.config import bases, sendable

RUN_ID = "{run_id}"
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]


class ConsoleSettings(Section):
    """The console's address, its read model, and who may do what."""

    host: str = Field(
        "127.0.0.1",
        description="The address to listen at; another than this machine's own asks for tokens, or a proxy.",
    )
    port: int = Field(8081, ge=0, le=65_535, description="The port to listen at; 0: any free one.")
    base_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="Where a proxy puts it, such as /runs.")
    public_url: str | None = Field(None, description="Where people reach it, base path included: alerts link there.")
    database: Path | None = Field(
        None,
        description="The read model's file, which is rebuilt if it is missing; unset: "
        "`streamproc/console-APPLICATION_ID.sqlite` in `$XDG_STATE_HOME`, else in `~/.local/state`.",
    )
    url: str | None = Field(None, description="The address of a console that `runs` asks instead of the topics.")
    token: SecretStr | None = Field(None, description="The token that `runs` shows to that console.")
    retention_s: int = Field(604_800, ge=60, description="How long histories, alerts, dead letters, metrics are kept.")
    max_runs: int = Field(
        1_000_000, ge=1_000, description="Most runs that are kept; of more, those that ended first are left out."
    )
    index_metadata: tuple[MetadataKey, ...] = Field((), max_length=8, description="Keys that runs can be found by.")
    links: dict[str, str] = Field({}, description="Templates with {run_id} by name, such as run.")
    tokens_file: Path | None = Field(None, description="Who may come in, one a line: see `streamproc console token`.")
    proxy_header: str | None = Field(None, description="The header in which a trusted proxy names the user.")
    proxy_networks: tuple[str, ...] = Field((), description="From where that header is believed, such as 10.0.0.0/8.")
    proxy_rights: tuple[Literal["operator", "payloads"], ...] = Field(
        (), description="What such users may do beside looking."
    )
    actions: bool = Field(default=False, description="Whether operators may send dead letters back.")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        return None if url is None else bases((url,), "a path")[0]

    @field_validator("token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        return None if token is None else sendable(token)

    @field_validator("public_url")
    @classmethod
    def _without_query(cls, url: str | None) -> str | None:
        return None if url is None else bases((url,), "/runs/…")[0]

    @field_validator("links")
    @classmethod
    def _with_run_id(cls, links: dict[str, str]) -> dict[str, str]:
        for name, template in links.items():
            if RUN_ID not in template or not template.startswith(("https://", "http://")):
                message = f"links.{name} must begin with https:// or http:// and hold {RUN_ID}"
                raise ValueError(message)
        return links
