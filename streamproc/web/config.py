"""Settings of HTTP servers and endpoints: addresses and log-ins."""

import json
import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from streamproc.section import Section


def listed(value: Any) -> Any:
    """Parse a list in an environment variable: a JSON array, or values separated by commas."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("give URLs separated by commas, or a JSON array of them") from None


Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)]
"""One or several URLs; to be checked by `bases` or `checked`."""


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, which are safe to show. The path or the query may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def checked(url: str) -> str:
    """Return a plain HTTP URL; raises ValueError, without showing it, for any other text."""
    if not _is_http(url):
        raise ValueError("a URL must be like http://host:9093 or https://host/path")
    if "@" in urlsplit(url).netloc:
        raise ValueError("no user or password in a URL: give username and password, or bearer_token")
    return url


def bases(urls: tuple[str, ...], behind: str) -> tuple[str, ...]:
    """Check base URLs, to which a path like `behind` is appended; return each once.

    Raises ValueError, without showing them.
    """
    for url in urls:
        if "?" in checked(url):
            raise ValueError(f"give a URL without a query: {behind} is put behind it")
    return tuple(dict.fromkeys(url.rstrip("/") for url in urls))


def sendable(token: SecretStr) -> SecretStr:
    """Return a token that fits into a header; raises ValueError, without showing it, for any other."""
    if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
        raise ValueError("a token is made of printable ASCII without blanks; is there a line break at its end?")
    return token


def _is_http(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or set(url) & set(" #"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is no number, an IPv6 address without its bracket.
        return False


class HttpSettings(Section):
    """Where /metrics and the probes listen. Port 0: any free one."""

    host: str = Field("127.0.0.1", description="The address to listen at.")
    port: int = Field(8080, ge=0, le=65_535, description="The port to listen at; 0: any free one.")
    tls_cert_file: str | None = Field(None, description="Speak TLS, with this certificate; read again when it changes.")
    tls_key_file: str | None = Field(None, description="Its key, without a passphrase; absent: it is in tls_cert_file.")
    metrics_token: SecretStr | None = Field(None, description="Asked for by /metrics; probes are answered without.")

    @field_validator("metrics_token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        return None if token is None else sendable(token)

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> Self:
        if self.tls_key_file is not None and self.tls_cert_file is None:
            raise ValueError("a tls_key_file belongs to a certificate: give tls_cert_file, too")
        return self


class EndpointSettings(Section):
    """How to talk to a server, of whatever kind."""

    timeout_s: float = Field(10.0, gt=0, le=120, description="How long one request may take as a whole.")
    username: str | None = Field(None, pattern=r"^[^:\x00-\x1f]+$", description="Who logs in there; with password.")
    password: SecretStr | None = Field(None, description="The password of username.")
    bearer_token: SecretStr | None = Field(None, description="A token, in place of username and password.")
    ca_file: str | None = Field(None, description="Certificates to trust, instead of the system's.")
    cert_file: str | None = Field(None, description="Our own certificate, for servers that ask for one.")
    key_file: str | None = Field(None, description="Its key, without a passphrase; absent: it is in cert_file.")

    @field_validator("bearer_token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        return None if token is None else sendable(token)

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: give both or none")
        if self.username is not None and self.bearer_token is not None:
            raise ValueError("give username and password, or bearer_token, not both")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("a key_file belongs to a certificate: give cert_file, too")
        return self
