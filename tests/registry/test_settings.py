"""Settings of the registry: what may be said, in which ways."""

import pytest
from pydantic import ValidationError

from streamproc.errors import ConfigError
from streamproc.registry.config import RegistrySettings
from streamproc.settings.loading import load_settings

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


URL = "http://registry:8081"


@pytest.mark.parametrize(
    ("registry", "outputs", "framing"),
    [
        ({}, {}, "single_object"),
        ({"OUTPUTS": "check"}, {}, "single_object"),
        ({"URL": URL}, {}, "confluent"),
        ({"URL": URL, "OUTPUTS": "off"}, {}, "single_object"),
        ({"URL": URL}, {"FRAMING": "single_object"}, "single_object"),
        ({"URL": URL, "OUTPUTS": "off"}, {"FRAMING": "single_object"}, "single_object"),
        ({"URL": URL, "OUTPUTS": "check"}, {"FRAMING": "confluent"}, "confluent"),
        ({}, {"FRAMING": "single_object"}, "single_object"),
    ],
)
def test_outputs_are_framed_as_was_asked_for_or_as_the_registry_allows(
    monkeypatch: pytest.MonkeyPatch, registry: dict[str, str], outputs: dict[str, str], framing: str
) -> None:
    for section, said in (("REGISTRY", registry), ("OUTPUTS", outputs)):
        for name, value in said.items():
            monkeypatch.setenv(f"STREAMPROC_{section}__{name}", value)
    assert load_settings().framing == framing


@pytest.mark.parametrize(
    ("url", "registered", "framing", "remedy"),
    [
        ("", None, "confluent", "set STREAMPROC_REGISTRY__URL"),
        (URL, "off", "confluent", "set STREAMPROC_REGISTRY__OUTPUTS to register or check"),
        (URL, "register", "single_object", "leave out STREAMPROC_REGISTRY__OUTPUTS"),
        (URL, "check", "single_object", "leave out STREAMPROC_REGISTRY__OUTPUTS"),
    ],
)
def test_a_framing_that_cannot_be_had_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, url: str, registered: str | None, framing: str, remedy: str
) -> None:
    if url:
        monkeypatch.setenv("STREAMPROC_REGISTRY__URL", url)
    if registered:
        monkeypatch.setenv("STREAMPROC_REGISTRY__OUTPUTS", registered)
    monkeypatch.setenv("STREAMPROC_OUTPUTS__FRAMING", framing)
    with pytest.raises(ConfigError, match=remedy):
        load_settings()
