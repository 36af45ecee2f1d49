"""Who gives tokens: RS256 JWTs that a broker checks by the keys in a file, and an endpoint that hands them out."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.receiver import Got, Receiver, receiver

ISSUER, AUDIENCE, USER = "https://issuer.example", "kafka", "worker"
CLIENT, SECRET = "client", "not-to-be-shown"
KEY_ID = "one"


class Issuer:
    """Signs tokens; `jwks_file` has its public key."""

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(65_537, 2_048)
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
        key |= {name: _coded(_bytes(number)) for name, number in (("n", numbers.n), ("e", numbers.e))}
        self.jwks_file = directory / "jwks.json"
        self.jwks_file.write_text(json.dumps({"keys": [key]}))

    def token(self, life_s: float = 300, audience: str = AUDIENCE) -> str:
        """Return a new token."""
        now = time.time()
        claims = {"iss": ISSUER, "sub": USER, "aud": audience, "iat": int(now), "exp": int(now + life_s)}
        signed = ".".join(_coded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": KEY_ID}, claims))
        return f"{signed}.{_coded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class Endpoint:
    """A token endpoint for one client. `life_s` and `audience` of its tokens may change; `given` are those so far.

    `told_s`: how long they are said to live, where that is not the truth.
    """

    def __init__(self, issuer: Issuer, server: Receiver) -> None:
        self.server = server
        self.life_s, self.audience = 300, AUDIENCE
        self.told_s: int | None = None
        self.given: list[str] = []
        self._issuer = issuer
        server.behave = self.answer

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.server.url}/token"

    def answer(self, got: Got) -> web.Response:
        """Give a token to whoever logs in, by a header or in the form."""
        form = parse_qs(got.body.decode())
        login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        by_header = got.headers.get("Authorization") == f"Basic {login}"
        if not (by_header or (form.get("client_id"), form.get("client_secret")) == ([CLIENT], [SECRET])):
            return web.json_response({"error": "invalid_client", "error_description": "<payload>"}, status=401)
        if form["grant_type"] != ["client_credentials"]:
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        self.given.append(self._issuer.token(self.life_s, self.audience))
        told_s = self.life_s if self.told_s is None else self.told_s
        return web.json_response({"access_token": self.given[-1], "token_type": "Bearer", "expires_in": told_s})


@asynccontextmanager
async def token_endpoint(issuer: Issuer, port: int = 0) -> AsyncIterator[Endpoint]:
    """Serve one for the length of the block."""
    async with receiver(port) as server:
        yield Endpoint(issuer, server)


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
