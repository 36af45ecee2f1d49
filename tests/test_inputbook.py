"""Settings of the input's statuses: what the profile in force becomes, and what is refused."""

import pytest

from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.settings.input import InputSettings, in_force
from streamproc.settings.loading import load_settings

VARIABLE, UNKNOWN = "STREAMPROC_INPUT__STATUSES", "STREAMPROC_INPUT__UNKNOWN_STATUSES"


def test_nothing_is_mapped_or_rejected_by_default() -> None:
    assert load_settings().life_cycle == ASSISTANTS


def test_statuses_are_mapped_and_unknown_ones_rejected_under_the_profile_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, '{"Completed": "completed"}')
    monkeypatch.setenv(UNKNOWN, "reject")
    settings = load_settings()
    for profile in (settings.life_cycle, settings.rules().profile):
        assert profile.shape.statuses == {"Completed": "completed"}
        assert profile.shape.only == set(ASSISTANTS.statuses)
        assert (profile.name, profile.statuses) == (ASSISTANTS.name, ASSISTANTS.statuses)


def test_they_go_over_what_the_profile_maps() -> None:
    own = in_force(ASSISTANTS, InputSettings(statuses={"ok": "completed", "bad": "failed"}))
    again = in_force(own, InputSettings(statuses={"ok": "incomplete"}))
    assert again.shape.statuses == {"ok": "incomplete", "bad": "failed"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"done": "Completed"}', "'done' to 'Completed', which is no status of .*assistants; did you mean completed?"),
        ('{"done": "zzz"}', "no status of profile assistants; there is: queued, in_progress"),
        ('{"failed": "completed"}', "failed to completed, but failed is a status itself"),
        ('{"": "completed"}', "maps an empty text to completed"),
        ('["done"]', "input.statuses .*dictionary"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch, said: str, words: str) -> None:
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(ConfigError, match=words):
        load_settings()
