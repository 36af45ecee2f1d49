"""Settings of the push: what may be said, in which ways, and what is never shown."""

import json

import pytest
from pydantic import ValidationError

from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.web.config import origin

SECRET = "hunter2-is-a-secret"


@pytest.mark.parametrize(
    "said",
    [
        ["http://a:9093", "http://b:9093/prefix"],
        "http://a:9093,http://b:9093/prefix",
        " http://a:9093/ , http://b:9093/prefix/, ",
        '["http://a:9093", "http://b:9093/prefix"]',
        "http://a:9093,http://b:9093/prefix,http://a:9093/",
    ],
)
def test_urls_come_as_a_list_as_json_or_separated_by_commas(said):
    assert AlertmanagerSettings(urls=said).urls == ("http://a:9093", "http://b:9093/prefix")


def test_nothing_is_pushed_by_default():
    assert AlertmanagerSettings().urls == AlertmanagerSettings(urls="").urls == ()
    assert WebhookSettings().url is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("a:9093", "http://host:9093"),
        ("ftp://a", "http://host:9093"),
        ("http://", "http://host:9093"),
        ("http://a:port", "http://host:9093"),
        ("http://a:0", "http://host:9093"),
        ("http://[::1", "http://host:9093"),
        ("http://a/\r\nx: y", "http://host:9093"),
        ("http://a/#part", "http://host:9093"),
        ("http://ä.example", "http://host:9093"),
        (f"http://user:{SECRET}@a", "no user or password"),
        (f"http://a/?token={SECRET}", "without a query"),
        ('["http://a"', "JSON array"),
    ],
)
def test_a_wrong_url_is_refused_without_showing_it(url, word):
    with pytest.raises(ValidationError, match=word) as refusal:
        AlertmanagerSettings(urls=url)
    assert SECRET not in str(refusal.value.errors(include_input=False, include_context=False))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"username": "u"}, "go together"),
        ({"password": SECRET}, "go together"),
        ({"username": "u", "password": SECRET, "bearer_token": SECRET}, "not both"),
        ({"bearer_token": f"{SECRET}\n"}, "line break"),
        ({"username": "a:b", "password": SECRET}, "pattern"),
        ({"labels": {"1": "x"}}, "letters, digits"),
        ({"labels": {"alertname": "x"}}, "already"),
        ({"labels": {"a": ""}}, "1 to 256"),
        ({"generator_url": "dashboard"}, "http"),
        ({"resend_s": 0}, "greater"),
        ({"url": "http://a"}, "not permitted"),
    ],
)
def test_wrong_settings_of_alertmanagers_say_what_is_wrong(settings, word):
    with pytest.raises(ValidationError, match=word):
        AlertmanagerSettings(urls=["http://a"], **settings)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"secret": SECRET}, "set url"), ({"url": "http://a", "secret": "short"}, "16"), ({"url": ""}, "http")],
)
def test_wrong_settings_of_a_webhook_say_what_is_wrong(settings, word):
    with pytest.raises(ValidationError, match=word):
        WebhookSettings(**settings)


def test_a_webhook_url_is_a_secret_but_for_its_host():
    """Chat services put the key into the path."""
    settings = WebhookSettings(url=f"https://chat.example/services/{SECRET}?t={SECRET}", secret=SECRET)
    assert SECRET not in repr(settings) + settings.model_dump_json()
    assert json.loads(settings.model_dump_json())["url"] == "https://chat.example/**********"
    assert origin("https://user@host:1/path") == "https://host:1"
