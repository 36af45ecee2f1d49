"""Settings of the registry: what may be said, in which ways."""

import pytest
from pydantic import ValidationError

from streamproc.errors import ConfigError
from streamproc.registry.config import RegistrySettings
from streamproc.settings import load_settings

SECRET = "hunter2-is-a-secret"


def test_there_is_no_registry_by_default() -> None:
    settings = RegistrySettings()
    assert settings.url == ()
    assert (settings.outputs, settings.timeout_s, settings.max_schemas, settings.negative_ttl_s) == (
        "register",
        5,
        1_000,
        60,
    )


@pytest.mark.parametrize(
    "said",
    ["http://a:8081,https://b/apis/ccompat/v7", '["http://a:8081/", "https://b/apis/ccompat/v7"]'],
)
def test_one_or_several_urls_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("STREAMPROC_REGISTRY__URL", said)
    assert load_settings().registry.url == ("http://a:8081", "https://b/apis/ccompat/v7")


@pytest.mark.parametrize("url", [f"http://u:{SECRET}@a", f"http://a?k={SECRET}", f"ftp://{SECRET}"])
def test_a_wrong_url_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("STREAMPROC_REGISTRY__URL", url)
    with pytest.raises(ConfigError, match="STREAMPROC_REGISTRY__URL") as error:
        load_settings()
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "wrong", [{"outputs": "maybe"}, {"max_schemas": 0}, {"negative_ttl_s": 0}, {"timeout_s": 0}, {"urls": "http://a"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RegistrySettings(**wrong)
