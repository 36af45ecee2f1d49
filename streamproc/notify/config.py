"""The settings of the push: which receivers there are, and how to reach them. None by default."""

import json
import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_serializer, field_validator, model_validator
from pydantic_settings import NoDecode

from streamproc.runtime.config import Section

IDENTITY = ("alertname", "severity", "kind", "alert_id", "run_id", "assistant", "model", "application")
"""The labels of a pushed alert; those of the settings come on top."""
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
MAX_LABEL_CHARS = 256


def _listed(value: Any) -> Any:
    """Take what an environment variable can say: a JSON array, or values separated by commas."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("give URLs separated by commas, or a JSON array of them") from None


def origin(url: str) -> str:
    """Return scheme, host and port: what may be shown of any URL. A path or a query may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _checked(url: str) -> str:
    """Refuse what is no plain HTTP URL; raises ValueError, without showing it."""
    if not _is_http(url):
        raise ValueError("a URL must be like http://host:9093 or https://host/path")
    if "@" in urlsplit(url).netloc:
        raise ValueError("no user or password in a URL: give username and password, or bearer_token")
    return url


def _is_http(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or set(url) & set(" #"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is no number, an IPv6 address without its bracket.
        return False


class Endpoint(Section):
    """How to send to a receiver, of either kind."""

    timeout_s: float = Field(10.0, gt=0, le=120, description="For one request as a whole.")
    username: str | None = Field(None, pattern=r"^[^:\x00-\x1f]+$")
    password: SecretStr | None = None
    bearer_token: SecretStr | None = None
    ca_file: str | None = Field(None, description="Certificates to trust, instead of the system's.")

    @field_validator("bearer_token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("a token is made of printable ASCII without blanks; is there a line break at its end?")
        return token

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: give both or none")
        if self.username is not None and self.bearer_token is not None:
            raise ValueError("give username and password, or bearer_token, not both")
        return self


class AlertmanagerSettings(Endpoint):
    """Alertmanagers, each of which is told everything. Without `urls` nothing is pushed."""

    urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()
    resend_s: float = Field(60.0, ge=1, le=3_600, description="How often it is told what still fires.")
    max_alerts: int = Field(10_000, ge=100, le=1_000_000, description="Held in memory; beyond that the oldest go.")
    max_batch: int = Field(64, ge=1, le=10_000, description="Alerts in one request.")
    labels: dict[str, str] = Field({}, description="More labels for every alert, such as a cluster or a job.")
    generator_url: str | None = Field(None, description="Where an alert's link leads, such as a dashboard.")
    runbooks_url: str | None = Field(None, description="In front of /<alertname>.md in the annotation runbook_url.")

    @field_validator("urls")
    @classmethod
    def _urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if "?" in _checked(url):
                raise ValueError("give an Alertmanager's URL without a query: /api/v2/alerts is put behind it")
        return tuple(dict.fromkeys(url.rstrip("/") for url in urls))

    @field_validator("generator_url", "runbooks_url")
    @classmethod
    def _links(cls, url: str | None) -> str | None:
        return None if url is None else _checked(url)

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


class WebhookSettings(Endpoint):
    """One receiver that gets each alert, signed where there is a `secret`. Without `url` nothing is pushed."""

    url: SecretStr | None = None
    secret: SecretStr | None = Field(None, min_length=16)
    concurrency: int = Field(4, ge=1, le=64, description="Requests under way at a time.")
    max_waiting: int = Field(1_000, ge=1, le=100_000, description="Held in memory; the rest waits in the topic.")
    give_up_s: float = Field(86_400.0, ge=60, description="How long one alert is tried before it is let go.")

    @field_validator("url")
    @classmethod
    def _url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _checked(url.get_secret_value())
        return url

    @field_serializer("url")
    def _show_url(self, url: SecretStr | None) -> str | None:
        return None if url is None else f"{origin(url.get_secret_value())}/**********"

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.url is None and self.secret is not None:
            raise ValueError("a secret without url signs nothing: set url")
        return self
