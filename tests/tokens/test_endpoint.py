"""The token endpoint: what it is sent, and what is made of its answers."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from streamproc.errors import ConfigError
from streamproc.runtime.security import OAuthSettings
from streamproc.runtime.tokens import TokenUnavailable
from streamproc.tokens.endpoint import TokenEndpoint
from streamproc.tokens.keeper import Token
from tests.support.certificates import Authority
from tests.support.receiver import Receiver, never, receiver, status

SECRET = "p&ss: wörd"
TOKEN = {"access_token": "the-token", "token_type": "Bearer", "expires_in": 300}


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as it:
        it.behave = lambda _: web.json_response(TOKEN)
        yield it


def endpoint(server: Receiver, **settings: object) -> TokenEndpoint:
    login = {"token_url": f"{server.url}/tok?tenant=secret", "client_id": "me:too", "client_secret": SECRET}
    return TokenEndpoint(OAuthSettings(**{**login, **settings}))


async def test_id_and_secret_go_in_a_header(server: Receiver) -> None:
    """Quoted (RFC 6749, 2.3.1): either may have a colon."""
    assert await endpoint(server, scope="a b", audience="kafka").fetch() == Token("the-token", 300)
    (got,) = server.got
    assert got.headers["Authorization"] == f"Basic {base64.b64encode(b'me%3Atoo:p%26ss%3A+w%C3%B6rd').decode()}"
    assert got.headers["Content-Type"] == "application/x-www-form-urlencoded"
    asked = {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["kafka"]}
    assert parse_qs(got.body.decode(), strict_parsing=True) == asked


async def test_or_in_the_form(server: Receiver) -> None:
    await endpoint(server, client_auth="post").fetch()
    (got,) = server.got
    assert "Authorization" not in got.headers
    form = {"grant_type": ["client_credentials"], "client_id": ["me:too"], "client_secret": [SECRET]}
    assert parse_qs(got.body.decode()) == form


@pytest.mark.parametrize(
    ("told", "life_s"),
    [({"expires_in": "60"}, 60), ({"expires_in": None}, None), ({}, 300), ({"expires_in": 9e9}, 86_400)],
)
async def test_how_long_it_lives(server: Receiver, told: dict[str, object], life_s: float | None) -> None:
    """As a number or, as some tell it, a text; where it is not told, five minutes; never more than a day."""
    server.behave = lambda _: web.json_response({"access_token": "t", **told})
    if life_s is None:
        with pytest.raises(TokenUnavailable):
            await endpoint(server).fetch()
    else:
        assert (await endpoint(server).fetch()).life_s == life_s


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (
            401,
            '{"error": "invalid_client", "error_description": "of-payload"}',
            "401, invalid_client: check STREAMPROC_",
        ),
        (400, '{"error": "invalid_scope"}', "400, invalid_scope: check STREAMPROC_KAFKA__OAUTH__SCOPE"),
        (400, '{"error": "unauthorized_client"}', "allow this client the grant client_credentials"),
        (401, "<html>of-payload</html>", "HTTP status 401: check STREAMPROC_KAFKA__OAUTH__CLIENT_ID"),
        (400, '{"error": "of-payload\\n"}', "HTTP status 400: check STREAMPROC_KAFKA__OAUTH__CLIENT_ID"),
    ],
)
async def test_a_refusal_names_the_setting(server: Receiver, code: int, body: str, words: str) -> None:
    server.behave = lambda _: web.Response(status=code, text=body)
    with pytest.raises(ConfigError) as caught:
        await endpoint(server).fetch()
    said = str(caught.value)
    assert words in said
    assert server.url in said
    assert not {word for word in (SECRET, "of-payload", "tenant") if word in said}


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (status(503), "HTTP status 503"),
        (status(429), "HTTP status 429"),
        (status(404), "404: check STREAMPROC_KAFKA__OAUTH__TOKEN_URL"),
        (status(302, location="/elsewhere"), "302, a redirect, is not followed"),
        (never, "no answer within 1 s"),
        (lambda _: web.Response(text="<html>"), "what it says is no token"),
        (lambda _: web.json_response({"access_token": "two words"}), "what it says is no token"),
        (lambda _: web.json_response({"access_token": "x" * 300_000}), "what it says is no token"),
    ],
)
async def test_all_else_may_pass(server: Receiver, behave: object, words: str) -> None:
    server.behave = behave
    with pytest.raises(TokenUnavailable) as caught:
        await endpoint(server, timeout_s=1 if behave is never else 10).fetch()
    assert words in str(caught.value)
    assert not {word for word in (SECRET, "tenant", "two words") if word in str(caught.value)}
    assert len(server.got) == 1


async def test_an_endpoint_may_ask_to_be_left_alone(server: Receiver) -> None:
    server.behave = status(429, retry_after="7")
    with pytest.raises(TokenUnavailable) as caught:
        await endpoint(server).fetch()
    assert caught.value.retry_after_s == 7


async def test_nobody_there_is_an_outage() -> None:
    async with receiver() as server:
        gone = endpoint(server)
    with pytest.raises(TokenUnavailable, match="Connection refused"):
        await gone.fetch()


async def test_its_authority_may_be_one_of_our_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with receiver(tls=authority.server()) as server:
        server.behave = lambda _: web.json_response(TOKEN)
        assert await endpoint(server, ca_file=authority.ca_file).fetch() == Token("the-token", 300)
        with pytest.raises(TokenUnavailable, match="Certificate"):
            await endpoint(server).fetch()
        with pytest.raises(ConfigError, match="OAUTH__CA_FILE"):
            await endpoint(server, ca_file=str(tmp_path / "none")).fetch()
