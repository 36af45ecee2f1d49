"""HTTPS: whom we trust, and how we show who we are."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from streamproc.errors import ConfigError
from streamproc.web.config import EndpointSettings
from streamproc.web.session import HttpSession, Unanswered
from tests.support.certificates import Authority
from tests.support.receiver import receiver


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def get(url: str, **settings: object) -> int:
    async with HttpSession(EndpointSettings(**settings)) as session, session.request("GET", url, None, {}) as answer:
        return answer.status


async def test_an_authority_of_our_own_is_trusted(authority: Authority) -> None:
    async with receiver(tls=authority.server()) as server:
        assert await get(server.url, ca_file=authority.ca_file) == 200


async def test_nobody_unknown_is_trusted(authority: Authority) -> None:
    async with receiver(tls=authority.server()) as server:
        with pytest.raises(Unanswered, match=r"^ClientConnectorCertificateError$"):
            await get(server.url)
    assert server.got == []


async def test_a_server_that_asks_for_a_certificate_gets_it(authority: Authority) -> None:
    ours = authority.issue("client")
    async with receiver(tls=authority.server(asks=True)) as server:
        with pytest.raises(Unanswered):
            await get(server.url, ca_file=authority.ca_file)
        settings = {"ca_file": authority.ca_file, "cert_file": ours.cert_file, "key_file": ours.key_file}
        assert await get(server.url, **settings) == 200


def test_a_certificate_and_its_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    ours = authority.issue("client")
    both = tmp_path / "both.pem"
    both.write_text(Path(ours.cert_file).read_text() + Path(ours.key_file).read_text())
    HttpSession(EndpointSettings(cert_file=str(both)))


def test_a_key_with_a_passphrase_is_refused_instead_of_asked_for(authority: Authority) -> None:
    """OpenSSL would ask on the terminal."""
    ours = authority.issue("client")
    with pytest.raises(ConfigError, match=r"client\.locked.*unencrypted"):
        HttpSession(EndpointSettings(cert_file=ours.cert_file, key_file=ours.locked_key))


def test_certificates_that_cannot_be_used_are_named(authority: Authority) -> None:
    ours, other = authority.issue("client"), authority.issue("other")
    with pytest.raises(ConfigError, match=r"^cert_file \(/nowhere\.pem\): there is no such file$"):
        HttpSession(EndpointSettings(cert_file="/nowhere.pem"))
    with pytest.raises(
        ConfigError,
        match=r"the key in key_file \(.*other\.key\) does not fit the certificate in cert_file \(.*client\.pem\)",
    ):
        HttpSession(EndpointSettings(cert_file=ours.cert_file, key_file=other.key_file))


def test_a_key_without_a_certificate_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="give cert_file"):
        EndpointSettings(key_file="client.key")


async def test_what_logs_in_is_read_again_where_it_has_changed(authority: Authority, tmp_path: Path) -> None:
    """A token and an authority, by the same session; what cannot be used changes nothing."""
    token, elsewhere = tmp_path / "token", tmp_path / "new"
    token.write_text("first\n")
    elsewhere.mkdir()
    other = Authority(elsewhere)
    endpoint = EndpointSettings(ca_file=authority.ca_file, bearer_token_file=token)
    async with HttpSession(endpoint) as session:
        for signed_by, change, sent in (
            (authority, lambda: None, "first"),
            (authority, lambda: token.write_text("second"), "second"),
            (authority, lambda: token.write_text("no token"), "second"),
            (authority, lambda: token.write_text("third"), "third"),
            (other, lambda: Path(other.ca_file).replace(authority.ca_file), "third"),
        ):
            change()
            async with receiver(tls=signed_by.server()) as server, session.request("GET", server.url, None, {}):
                assert [each.headers["Authorization"] for each in server.got] == [f"Bearer {sent}"]
