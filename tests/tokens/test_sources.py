"""Which tokens the settings ask for; those of a file and of AWS."""

import asyncio
import base64
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from streamproc.errors import ConfigError
from streamproc.runtime.aio.tokens import NoToken, Provider
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import Tokens, TokenUnavailable, can_log_in
from streamproc.tokens.file import TokenFile
from streamproc.tokens.keeper import TokenKeeper
from streamproc.tokens.msk import MskTokens
from streamproc.tokens.source import source_of

BY_URL = {"token_url": "https://issuer/token", "client_id": "me", "client_secret": "secret"}


def kafka(**settings: object) -> KafkaSettings:
    return KafkaSettings(**{"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", **settings})


def test_each_has_its_source() -> None:
    assert isinstance(source_of(kafka(oauth=BY_URL)), TokenKeeper)
    assert isinstance(source_of(kafka(oauth={"token_file": "x"})), TokenFile)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs oauth.token_url with client_id and client_secret, or oauth.token_file"),
        ({"oauth": {"token_url": "https://issuer/token"}}, "token_url needs client_id and client_secret, too"),
        ({"oauth": {"token_url": "https://issuer/token", "client_id": "me"}}, "token_url needs client_secret, too"),
        ({"oauth": {**BY_URL, "client_secret": ""}}, "token_url needs client_secret, too"),
        ({"oauth": {**BY_URL, "token_file": "x"}}, "or token_file, not both"),
        ({"oauth": {"token_file": "x", "scope": "y"}}, "scope belong to a token endpoint: give token_url, too"),
        ({"oauth": {**BY_URL, "token_url": "issuer/token"}}, "a URL must be like https://host/path"),
        ({"oauth": {**BY_URL, "token_url": "https://me:secret@issuer/token"}}, "without user and password"),
        ({"oauth": BY_URL, "security_protocol": "PLAINTEXT"}, "oauth is for sasl_mechanism OAUTHBEARER with"),
        (
            {"oauth": BY_URL, "sasl_mechanism": "PLAIN", "sasl_username": "a", "sasl_password": "b"},
            "oauth is for sasl_",
        ),
        ({"oauth": BY_URL, "sasl_username": "a"}, "are not for sasl_mechanism OAUTHBEARER: leave them out"),
        ({"sasl_mechanism": "AWS_MSK_IAM", "sasl_password": "b"}, "are not for sasl_mechanism AWS_MSK_IAM"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kafka(**settings)
    assert words in str(caught.value.errors()[0]["msg"])


def test_all_connections_have_the_same_source() -> None:
    tokens = Tokens()
    with pytest.raises(ConfigError):
        tokens.of(kafka(oauth=BY_URL))
    tokens.come_from(source_of)
    assert tokens.of(kafka(oauth=BY_URL)) is tokens.of(kafka(oauth=BY_URL))
    assert tokens.of(kafka(oauth=BY_URL)) is not tokens.of(kafka(oauth={"token_file": "x"}))


async def test_a_file_is_read_again(tmp_path: Path) -> None:
    """Before every log in; a line break at its end is none of the token."""
    file = tmp_path / "token"
    source = TokenFile(str(file))
    with pytest.raises(TokenUnavailable, match=r"TOKEN_FILE \(.*token\): there is no such file"):
        await source.token()
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        assert await source.token() == token


@pytest.mark.parametrize("content", ["two words", "wörd", "x" * 300_000])
async def test_what_is_no_token_is_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(TokenUnavailable) as caught:
        await TokenFile(str(file)).token()
    assert str(caught.value).endswith("has no token in it: printable ASCII without blanks")


async def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe would hold a thread until somebody writes."""
    file = tmp_path / "token"
    file.write_text(" \n")
    with pytest.raises(TokenUnavailable, match=r"TOKEN_FILE \(.*\): that file is empty$"):
        await TokenFile(str(file)).token()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(TokenUnavailable, match=r"TOKEN_FILE \(.*\): that is no regular file$"):
        await TokenFile(str(file)).token()


async def test_a_start_waits_for_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says for what; a stop does not wait for one."""
    file, said, stop = tmp_path / "token", [], asyncio.Event()
    tokens = Tokens()
    tokens.come_from(source_of)
    monkeypatch.setattr("streamproc.runtime.tokens.TOKENS", tokens)

    def blocked(why: str) -> None:
        said.append(why)
        file.write_text("there")

    settings = kafka(oauth={"token_file": str(file)})
    assert await can_log_in(settings, blocked, stop)
    assert [bool(why) for why in said] == [True, False]
    assert "TOKEN_FILE" in said[0]
    stop.set()
    assert not await can_log_in(settings, blocked, stop)
    assert await can_log_in(KafkaSettings(), blocked, asyncio.Event())


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with nothing of AWS's in it, and no machine that would be asked for a role."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return monkeypatch


async def test_a_token_for_amazon_msk_is_signed(aws: pytest.MonkeyPatch) -> None:
    """By AWS's own signer, with credentials that are none; whether Amazon takes it cannot be seen here."""
    aws.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    token = await source_of(kafka(sasl_mechanism="AWS_MSK_IAM", aws_region="eu-west-1")).token()
    url = urlsplit(base64.urlsafe_b64decode(token + "==").decode())
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert url.hostname == "kafka.eu-west-1.amazonaws.com"
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Credential"].startswith("AKIDEXAMPLE/")
    assert "eu-west-1/kafka-cluster/aws4_request" in query["X-Amz-Credential"]
    assert query["X-Amz-Signature"]


async def test_without_credentials_or_region_it_says_so(aws: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="set STREAMPROC_KAFKA__AWS_REGION"):
        MskTokens(None)
    aws.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(ConfigError, match="finds no credentials"):
        await MskTokens(None).token()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(ConfigError, match=r"pip install 'streamproc\[msk\]'"):
        source_of(kafka(sasl_mechanism="AWS_MSK_IAM", aws_region="eu-west-1"))


async def test_whoever_gives_no_token_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the attempt to connect is given up: else it would look like a broker that is silent."""

    class Hangs:
        async def token(self) -> str:
            return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("streamproc.runtime.aio.tokens.TOKEN_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.aio.tokens.TOKENS", tokens := Tokens())
    tokens.come_from(lambda _: Hangs())
    with pytest.raises(NoToken, match="whoever gives tokens has not answered"):
        await Provider(kafka(oauth=BY_URL)).token()
