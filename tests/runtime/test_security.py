"""Settings of Kafka's security that the protocol would not use are an error: nothing goes in clear by accident."""

from typing import Any

import pytest
from pydantic import ValidationError

from streamproc.runtime.config import KafkaSettings

SASL = {"sasl_username": "worker", "sasl_password": "not-to-be-shown"}
TLS = {"ssl_cafile": "ca.pem"}


def flaw(**settings: Any) -> str:
    """Return what is said of settings."""
    with pytest.raises(ValidationError) as caught:
        KafkaSettings(**settings)
    [error] = caught.value.errors(include_input=False)
    assert "not-to-be-shown" not in error["msg"]
    return error["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("protocol", "settings", "unused", "wanted"),
    [
        ("PLAINTEXT", SASL, "sasl_password, sasl_username", "SASL_SSL, or to SASL_PLAINTEXT for no encryption"),
        (
            "PLAINTEXT",
            {"sasl_mechanism": "SCRAM-SHA-512"},
            "sasl_mechanism",
            "SASL_SSL, or to SASL_PLAINTEXT for no encryption",
        ),
        ("PLAINTEXT", TLS, "ssl_cafile", "SSL"),
        ("PLAINTEXT", {**SASL, **TLS}, "sasl_password, sasl_username, ssl_cafile", "SASL_SSL"),
        ("PLAINTEXT", {"ssl_check_hostname": False}, "ssl_check_hostname", "SSL"),
        ("SASL_PLAINTEXT", {**SASL, **TLS}, "ssl_cafile", "SASL_SSL"),
        ("SSL", SASL, "sasl_password, sasl_username", "SASL_SSL"),
    ],
)
def test_what_the_protocol_does_not_use_is_named_with_the_one_that_does(
    protocol: str, settings: dict[str, Any], unused: str, wanted: str
) -> None:
    said = flaw(security_protocol=protocol, **settings)
    assert said.startswith(f"security_protocol is {protocol}, which does not use {unused}: ")
    assert f"set STREAMPROC_KAFKA__SECURITY_PROTOCOL to {wanted}, or leave" in said


def test_the_protocol_by_default_is_no_excuse() -> None:
    assert flaw(**SASL).startswith("security_protocol is PLAINTEXT, which does not use sasl_password, sasl_username: ")


def test_whoever_sets_nothing_by_name_has_set_nothing() -> None:
    """As a chart or a compose file does that passes on every variable, empty or not."""
    KafkaSettings(sasl_username="", sasl_password="", ssl_cafile="", ssl_password=None, ssl_check_hostname=True)


@pytest.mark.parametrize("lacking", [{}, {"sasl_username": "worker"}, {**SASL, "sasl_password": ""}])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_log_in_takes_a_name_and_a_password(protocol: str, lacking: dict[str, Any]) -> None:
    said = flaw(security_protocol=protocol, **lacking)
    assert said == f"security_protocol {protocol} needs sasl_username and sasl_password"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ssl_keyfile": "key.pem"}, "a key belongs to a certificate"),
        ({"ssl_key_pem": "not-to-be-shown"}, "a key belongs to a certificate"),
        ({"ssl_password": "not-to-be-shown"}, "ssl_password opens a key"),
        ({"ssl_cafile": "a", "ssl_ca_pem": "b"}, "both ssl_cafile and ssl_ca_pem are given"),
        ({"ssl_certfile": "a", "ssl_certificate_pem": "b"}, "both ssl_certfile and ssl_certificate_pem are given"),
        (
            {"ssl_certfile": "a", "ssl_keyfile": "a", "ssl_key_pem": "not-to-be-shown"},
            "both ssl_keyfile and ssl_key_pem are given",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(settings: dict[str, Any], words: str) -> None:
    assert flaw(security_protocol="SSL", **settings).startswith(words)


def test_a_certificate_in_a_file_may_have_its_key_in_a_setting() -> None:
    KafkaSettings(security_protocol="SSL", ssl_certfile="client.pem", ssl_key_pem="key", ssl_password="open")


def test_every_setting_says_what_it_is_for() -> None:
    security = {name: field for name, field in KafkaSettings.model_fields.items() if name.startswith(("s", "b"))}
    assert [name for name, field in security.items() if not field.description and "timeout" not in name] == []
