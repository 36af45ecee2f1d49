"""Which schemas the settings know, as far as that can be told without a registry."""

import pytest

from streamproc.codec.schemas import load
from streamproc.dlq.limits import MAX_ATTEMPTS, limits_of
from streamproc.settings.profiles import ProfileSettings
from streamproc.settings.service import InputSettings, KafkaSettings, RegistrySettings, Settings

SHIPPED = load("run_object_v2_1").label
STRANGE = "crc64:0123456789abcdef"


@pytest.mark.parametrize(
    ("settings", "known", "unknown"),
    [
        (Settings(), [SHIPPED, "json"], [STRANGE, "id:17", "none"]),
        (Settings(input=InputSettings(json=False)), [SHIPPED], ["json"]),
        (Settings(registry=RegistrySettings(url="http://registry.example")), ["id:17"], [STRANGE, "none"]),
    ],
    ids=["as shipped", "no JSON", "a registry"],
)
def test_known_is_what_ships_and_what_a_registry_may_have(settings, known, unknown):
    knows = limits_of(settings).knows
    assert [schema for schema in known if not knows(schema)] == []
    assert [schema for schema in unknown if knows(schema)] == []


def test_nothing_is_said_to_be_unknown_where_the_files_of_schemas_are_not():
    """Letters may be sent back from another machine than the service's."""
    profile = ProfileSettings(extends="assistants", schemas=("absent.avsc",))
    assert limits_of(Settings(profile="own", profiles={"own": profile})).knows(STRANGE)


def test_sizes_and_attempts_are_those_of_the_settings():
    limits = limits_of(Settings(kafka=KafkaSettings(max_record_bytes=54_321)))
    assert (limits.attempts, limits.record_bytes) == (MAX_ATTEMPTS, 54_321)
    assert limits_of(Settings(), 7).attempts == 7
