"""The settings of how clients show Kafka who they are, and of whom they trust; what of them fits together."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from streamproc.section import Section

PROTOCOL = "STREAMPROC_KAFKA__SECURITY_PROTOCOL"
SAME = ("ssl_cafile", "ssl_ca_pem"), ("ssl_certfile", "ssl_certificate_pem"), ("ssl_keyfile", "ssl_key_pem")
"""The file and the text of each: one of them at most."""
NOTHING = None, "", SecretStr(""), True
"""Said by whoever sets everything, needed or not: no path, no password, the host to be checked."""


class OAuthSettings(Section):
    """Where the tokens of OAUTHBEARER come from: a token endpoint (client credentials), or a file."""

    token_url: str | None = Field(None, description="The token endpoint, asked by client credentials.")
    client_id: str | None = Field(None, min_length=1, description="The client's id at the endpoint.")
    client_secret: SecretStr | None = Field(None, description="The client's secret at the endpoint.")
    client_auth: Literal["basic", "post"] = Field(
        "basic", description="Whether id and secret are sent in a header (`basic`) or in the form (`post`)."
    )
    scope: str | None = Field(None, description="Scopes to ask for, with blanks between them.")
    audience: str | None = Field(None, description="The audience, for endpoints that want one, such as Auth0's.")
    ca_file: str | None = Field(None, description="Certificates to trust at the endpoint, instead of the system's.")
    timeout_s: float = Field(10.0, gt=0, le=120, description="How long one request to the endpoint may take.")
    token_file: str | None = Field(
        None,
        description="In place of token_url: a file with a token, read before every log in; for workload identity.",
    )
    extensions: dict[
        Annotated[str, Field(pattern="^[A-Za-z]+$")], Annotated[str, Field(pattern=r"^[\x20-\x7e\t\r\n]*$")]
    ] = Field({}, description="SASL extensions, such as logicalCluster and identityPoolId of Confluent Cloud.")

    @field_validator("token_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s@#?/]+(/[^\s@#]*)?", url):
            raise ValueError("a URL must be like https://host/path, without user and password")
        return url

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.token_url and self.token_file:
            raise ValueError("give token_url with client_id and client_secret, or token_file, not both")
        of_url = ("client_id", "client_secret", "scope", "audience", "ca_file")
        given = [name for name in of_url if getattr(self, name) not in NOTHING]
        if given and not self.token_url:
            message = f"{', '.join(given)} belong to a token endpoint: give token_url, too"
            raise ValueError(message)
        missing = [name for name in ("client_id", "client_secret") if self.token_url and name not in given]
        if missing:
            message = f"token_url needs {' and '.join(missing)}, too"
            raise ValueError(message)
        return self


class SecuritySettings(Section):
    """Logging in to Kafka, and TLS. What the protocol would not use is an error: nothing goes in clear by accident."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="With SSL in it everything is encrypted, with SASL there is a log in."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] = Field(
        "PLAIN", description="How to log in; PLAIN sends the password itself."
    )
    sasl_username: str | None = Field(None, description="Who logs in.")
    sasl_password: SecretStr | None = Field(
        None, description="The user's password; its file is read again when it changes."
    )
    oauth: OAuthSettings = OAuthSettings()
    aws_region: str | None = Field(
        None,
        pattern="^[a-z0-9-]+$",
        description="The region, for AWS_MSK_IAM; unset: what the AWS SDK's own settings say.",
    )
    ssl_cafile: str | None = Field(
        None, description="PEM file of the authorities to trust, instead of the system's; read again when it changes."
    )
    ssl_ca_pem: str | None = Field(None, description="In place of ssl_cafile: what would be in that file.")
    ssl_certfile: str | None = Field(
        None,
        description="PEM file of our own certificate and its chain, for brokers that ask for one; read again, too.",
    )
    ssl_certificate_pem: SecretStr | None = Field(
        None, description="In place of ssl_certfile: what would be in that file, which may hold the key, too."
    )
    ssl_keyfile: str | None = Field(
        None, description="PEM file of its key; unset: it is with the certificate; read again, too."
    )
    ssl_key_pem: SecretStr | None = Field(None, description="In place of ssl_keyfile: what would be in that file.")
    ssl_password: SecretStr | None = Field(None, description="The key's passphrase, where it is encrypted.")
    ssl_check_hostname: bool = Field(
        default=True,
        description="Whether a broker's certificate must name its host; off, any of the same authority will do.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        flaws = [*self._unused(), *self._incomplete(), *self._twice(), *self._tokens()]
        if flaws:
            raise ValueError("; ".join(flaws))
        return self

    def _given(self, prefix: str) -> list[str]:
        """Return the settings with this prefix that say something."""
        names = sorted(name for name in self.model_fields_set if name.startswith(prefix))
        return [name for name in names if getattr(self, name) not in NOTHING]

    def _unused(self) -> Iterator[str]:
        """Say which settings the protocol would leave unused, and which protocol uses them."""
        protocol, sasl, tls = self.security_protocol, self._given("sasl_"), self._given("ssl_")
        unused = [*([] if "SASL" in protocol else sasl), *([] if "SSL" in protocol else tls)]
        if unused:
            wanted = "_".join(
                [*(["SASL"] if sasl or "SASL" in protocol else []), *(["SSL"] if tls or "SSL" in protocol else [])]
            )
            wanted = "SASL_SSL, or to SASL_PLAINTEXT for no encryption" if wanted == "SASL" else wanted
            yield (
                f"security_protocol is {protocol}, which does not use {', '.join(unused)}: set {PROTOCOL} to {wanted}, "
                f"or leave {'it' if len(unused) == 1 else 'them'} out"
            )

    def _incomplete(self) -> Iterator[str]:
        """Say what lacks its other half."""
        is_named = self.sasl_username and self._has("sasl_password")
        if "SASL" in self.security_protocol and not self.by_token and not is_named:
            yield f"security_protocol {self.security_protocol} needs sasl_username and sasl_password"
        certificate, key = self._any("ssl_certfile", "ssl_certificate_pem"), self._any("ssl_keyfile", "ssl_key_pem")
        if key and not certificate:
            yield "a key belongs to a certificate: set ssl_certfile or ssl_certificate_pem, too"
        if self._has("ssl_password") and not certificate:
            yield "ssl_password opens a key: set ssl_keyfile or ssl_key_pem, and the certificate"

    def _twice(self) -> Iterator[str]:
        for file, text in SAME:
            if self._has(file) and self._has(text):
                yield f"both {file} and {text} are given: leave one of them out"

    def _has(self, name: str) -> bool:
        return bool(getattr(self, name))  # A secret without a character in it is none, too.

    def _any(self, *names: str) -> bool:
        return any(map(self._has, names))

    def _tokens(self) -> Iterator[str]:
        """Say what does not fit logging in by a token."""
        wanted, given = (
            self.by_token and self.sasl_mechanism == "OAUTHBEARER",
            self.oauth.token_url or self.oauth.token_file,
        )
        if wanted and not given:
            yield "OAUTHBEARER needs oauth.token_url with client_id and client_secret, or oauth.token_file"
        if given and not wanted:
            yield (
                "oauth is for sasl_mechanism OAUTHBEARER with security_protocol SASL_SSL or SASL_PLAINTEXT: set both, "
                "or leave oauth out"
            )
        if self.by_token and (self.sasl_username is not None or self.sasl_password is not None):
            yield f"sasl_username and sasl_password are not for sasl_mechanism {self.sasl_mechanism}: leave them out"

    @property
    def by_token(self) -> bool:
        """Whether a token logs in."""
        return self.security_protocol.startswith("SASL") and self.sasl_mechanism in ("OAUTHBEARER", "AWS_MSK_IAM")
