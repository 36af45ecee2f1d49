"""The settings of the push: its receivers, none by default, and how to reach them."""

import re
from typing import Self

from pydantic import Field, SecretStr, field_serializer, field_validator, model_validator

from streamproc.web.config import EndpointSettings, Urls, bases, checked, origin

IDENTITY = ("alertname", "severity", "kind", "alert_id", "run_id", "assistant", "model", "application")
"""The labels of a pushed alert; those of the settings come on top."""
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
MAX_LABEL_CHARS = 256


class AlertmanagerSettings(EndpointSettings):
    """Alertmanagers, each of which is told everything. Without `urls` nothing is pushed."""

    urls: Urls = Field((), description="Every replica of the Alertmanager, not a load balancer before them.")
    resend_s: float = Field(60.0, ge=1, le=3_600, description="How often it is told what still fires.")
    max_alerts: int = Field(
        10_000, ge=100, le=1_000_000, description="Firing alerts held in memory; beyond that the oldest go."
    )
    max_batch: int = Field(64, ge=1, le=10_000, description="Alerts in one request.")
    labels: dict[str, str] = Field({}, description="More labels for every alert, such as a cluster or a job.")
    generator_url: str | None = Field(None, description="Where every alert's link leads, in place of its run's page.")
    runbooks_url: str | None = Field(
        None, description="What stands in front of `/<alertname>.md` in the annotation runbook_url."
    )

    @field_validator("urls")
    @classmethod
    def _urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return bases(urls, "/api/v2/alerts")

    @field_validator("generator_url", "runbooks_url")
    @classmethod
    def _links(cls, url: str | None) -> str | None:
        return None if url is None else checked(url)

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name, value in labels.items():
            if not _LABEL_NAME.fullmatch(name):
                raise ValueError("a label's name is made of letters, digits and _, and does not begin with a digit")
            if name in IDENTITY:
                raise ValueError(f"every alert has these labels already: {', '.join(IDENTITY)}")
            if not 0 < len(value) <= MAX_LABEL_CHARS:
                raise ValueError(f"a label's value has 1 to {MAX_LABEL_CHARS} characters")
        return labels


class WebhookSettings(EndpointSettings):
    """One receiver that gets each alert, signed where there is a `secret`. Without `url` nothing is pushed."""

    url: SecretStr | None = Field(None, description="Where each alert is posted; shown nowhere but for its host.")
    secret: SecretStr | None = Field(None, min_length=16, description="Signs each request; 16 characters at least.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests under way at a time.")
    max_waiting: int = Field(1_000, ge=1, le=100_000, description="Alerts held in memory; the rest waits in the topic.")
    give_up_s: float = Field(86_400.0, ge=60, description="How long one alert is tried before it is let go.")

    @field_validator("url")
    @classmethod
    def _url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            checked(url.get_secret_value())
        return url

    @field_serializer("url")
    def _show_url(self, url: SecretStr | None) -> str | None:
        return None if url is None else f"{origin(url.get_secret_value())}/**********"

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.url is None and self.secret is not None:
            raise ValueError("a secret without url signs nothing: set url")
        return self
