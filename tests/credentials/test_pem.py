"""Certificates and keys: what cannot be used is named, each in its own sentence, and nobody is asked for anything."""

from pathlib import Path

import pytest

from streamproc.credentials import pem
from streamproc.credentials.pem import KeyPair, Pem, client_context
from streamproc.errors import ConfigError
from tests.support.certificates import Authority, Pair

UNLOCK = "set the passphrase"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def ours(authority: Authority) -> Pair:
    return authority.issue("client")


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def made(certificate: bytes, key: bytes | None, passphrase: str | None = None) -> None:
    """Make a context of it."""
    held = None if key is None else Pem("the key's setting", key)
    client_context(None, KeyPair(Pem("the certificate's setting", certificate), held, passphrase, UNLOCK))


def test_a_certificate_and_its_key_may_be_in_one(ours: Pair) -> None:
    made(read(ours.key_file) + read(ours.cert_file), None)
    made(read(ours.locked_key) + read(ours.cert_file), None, "passphrase")


def test_an_encrypted_key_is_opened(ours: Pair) -> None:
    made(read(ours.cert_file), read(ours.locked_key), "passphrase")


@pytest.mark.parametrize(
    ("passphrase", "words"),
    [
        (None, "^the key in the key's setting is encrypted: set the passphrase$"),
        ("", "^the passphrase does not open the key in the key's setting: set the passphrase$"),
        ("guessed", "^the passphrase does not open the key in the key's setting"),
        ("x" * 2_000, "^the passphrase does not open the key in the key's setting"),
    ],
)
def test_an_encrypted_key_asks_nobody(ours: Pair, passphrase: str | None, words: str) -> None:
    """OpenSSL would, on the terminal, and hold up everything until somebody answers."""
    with pytest.raises(ConfigError, match=words) as caught:
        made(read(ours.cert_file), read(ours.locked_key), passphrase)
    assert "guessed" not in str(caught.value)


def test_a_key_that_belongs_to_another_certificate_is_said_to(authority: Authority, ours: Pair) -> None:
    with pytest.raises(
        ConfigError, match="the key's setting does not fit the certificate in the certificate's setting"
    ):
        made(read(ours.cert_file), read(authority.issue("other").key_file))


def test_what_is_no_pem_is_named(ours: Pair) -> None:
    certificate, key = read(ours.cert_file), read(ours.key_file)
    with pytest.raises(ConfigError, match=r"^the certificate's setting holds no certificate in PEM"):
        made(b"\x30\x82", key)
    with pytest.raises(ConfigError, match=r"^the certificate's setting holds no certificate in PEM"):
        made(key, key)
    with pytest.raises(ConfigError, match=r"^the key's setting holds no private key in PEM"):
        made(certificate, certificate)
    with pytest.raises(ConfigError, match=r"^the certificate's setting holds no private key in PEM"):
        made(certificate, None)


def test_what_is_damaged_is_named(authority: Authority, ours: Pair) -> None:
    """As where it is half-written."""
    certificate, key = read(ours.cert_file), read(ours.key_file)
    with pytest.raises(ConfigError, match=r"^the certificate's setting: a certificate in it is damaged"):
        made(certificate[:200], key)
    with pytest.raises(ConfigError, match=r"^the key's setting: .*private key in it is damaged"):
        made(certificate, key[:120])
    whole = read(authority.ca_file)
    with pytest.raises(ConfigError, match=r"^ca: a certificate in it is damaged"):
        client_context(Pem("ca", whole + whole[:200]), None)
    with pytest.raises(ConfigError, match=r"^ca holds no certificate in PEM"):
        client_context(Pem("ca", key), None)


def test_only_the_authorities_of_the_setting_are_trusted(authority: Authority) -> None:
    """Whatever stands between them: many bundles have names there, in any alphabet."""
    context = client_context(Pem("ca", "# Főtanúsítvány\n".encode() + read(authority.ca_file)), None)
    assert [dict(pair[0] for pair in each["subject"])["commonName"] for each in context.get_ca_certs()] == ["authority"]
    assert context.check_hostname


def test_where_there_are_no_files_in_memory_it_is_one_for_a_moment(ours: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pem.sys, "platform", "darwin")
    made(read(ours.cert_file), read(ours.key_file))
