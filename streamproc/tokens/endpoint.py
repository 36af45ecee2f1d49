"""A token endpoint, asked by client credentials (RFC 6749, 4.4)."""

from typing import Annotated
from urllib.parse import quote_plus, urlencode

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError

from streamproc.errors import ConfigError
from streamproc.runtime.security import OAuthSettings
from streamproc.runtime.tokens import TokenUnavailable
from streamproc.tokens.keeper import Token
from streamproc.web.config import EndpointSettings, origin, sendable
from streamproc.web.session import HttpSession, Response, Unanswered, Unsendable

SETTING = "STREAMPROC_KAFKA__OAUTH__"
MAX_BODY_BYTES = 262_144
ASSUMED_LIFE_S, LONGEST_LIFE_S = 300.0, 86_400.0
"""The life of a token where the endpoint does not state it, and the longest life that is believed."""
OK, REDIRECT, CLIENT_ERROR, REFUSALS = 200, 300, 400, frozenset((400, 401))
CREDENTIALS = f"check {SETTING}CLIENT_ID and {SETTING}CLIENT_SECRET, or set {SETTING}CLIENT_AUTH=post"
HINTS = {
    "invalid_client": CREDENTIALS,
    "unauthorized_client": "allow this client the grant client_credentials",
    "unsupported_grant_type": f"{SETTING}TOKEN_URL must give tokens for client_credentials",
    "invalid_scope": f"check {SETTING}SCOPE",
    "invalid_target": f"check {SETTING}AUDIENCE",
}


class TokenResponse(BaseModel):
    """The answer of an endpoint with a token."""

    access_token: Annotated[SecretStr, AfterValidator(sendable)]
    expires_in: Annotated[float, Field(gt=0, allow_inf_nan=False)] = ASSUMED_LIFE_S


class ErrorResponse(BaseModel):
    """The answer of an endpoint without a token. Its other fields are never shown."""

    error: str = Field("", pattern=r"^[a-z_]{1,40}$")


class TokenEndpoint:
    """A client of a token endpoint. It connects for each request: minutes pass between them."""

    def __init__(self, settings: OAuthSettings) -> None:
        """Raise ConfigError where ca_file cannot be used."""
        assert settings.token_url and settings.client_id and settings.client_secret  # noqa: PT018, S101  a rule of theirs
        self._url = settings.token_url
        form = {"grant_type": "client_credentials", "scope": settings.scope, "audience": settings.audience}
        endpoint = EndpointSettings(timeout_s=settings.timeout_s, ca_file=settings.ca_file)
        secret = settings.client_secret.get_secret_value()
        if settings.client_auth == "post":
            form |= {"client_id": settings.client_id, "client_secret": secret}
        else:
            # Quoted, as RFC 6749, 2.3.1, requires.
            login = {"username": quote_plus(settings.client_id), "password": SecretStr(quote_plus(secret))}
            endpoint = endpoint.model_copy(update=login)
        try:
            self._session = HttpSession(endpoint)
        except ConfigError as error:
            raise ConfigError(f"{SETTING}CA_FILE: {error}") from None
        self._body = urlencode({name: value for name, value in form.items() if value is not None}).encode()

    async def fetch(self) -> Token:
        """Ask for a token; raises TokenUnavailable and ConfigError."""
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        try:
            async with self._session, self._session.request("POST", self._url, self._body, headers) as answer:
                return self._read(answer, await answer.body(MAX_BODY_BYTES))
        except Unanswered as error:
            raise self._unavailable(f"{error}: check that it runs, {SETTING}TOKEN_URL and CA_FILE") from None
        except Unsendable:
            raise ConfigError(f"{SETTING}TOKEN_URL cannot be asked: it must be like https://host/path") from None

    def _read(self, answer: Response, body: bytes | None) -> Token:
        status = answer.status
        if status in REFUSALS:
            raise self._refused(status, body)
        if REDIRECT <= status < CLIENT_ERROR:
            raise self._unavailable(f"HTTP status {status}, a redirect, is not followed: set {SETTING}TOKEN_URL")
        if not OK <= status < REDIRECT:
            raise self._unavailable(f"HTTP status {status}: check {SETTING}TOKEN_URL", answer.retry_after_s)
        try:
            response = TokenResponse.model_validate_json(body or b"")
        except ValidationError:
            raise self._unavailable(f"what it says is no token: check {SETTING}TOKEN_URL") from None
        return Token(response.access_token.get_secret_value(), min(response.expires_in, LONGEST_LIFE_S))

    def _refused(self, status: int, body: bytes | None) -> ConfigError:
        try:
            error = ErrorResponse.model_validate_json(body or b"").error
        except ValidationError:
            error = ""
        status_text = f"HTTP status {status}{f', {error}' if error else ''}"
        return ConfigError(
            f"the token endpoint at {origin(self._url)} refuses: {status_text}: {HINTS.get(error, CREDENTIALS)}"
        )

    def _unavailable(self, why: str, retry_after_s: float | None = None) -> TokenUnavailable:
        return TokenUnavailable(f"the token endpoint at {origin(self._url)} gives no token: {why}", retry_after_s)
