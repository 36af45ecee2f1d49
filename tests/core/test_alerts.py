"""Kinds of alerts: one enum with all that belongs to a kind."""

import pytest

from streamproc.core.alerts import AlertKind, Severity, kinds_of


def test_each_status_that_may_last_has_a_kind_of_its_own() -> None:
    """Every other kind is there once."""
    others = [kind.value for kind in AlertKind if kind is not AlertKind.STUCK]
    assert [*kinds_of(("queued", "WAITS"))] == ["stuck_queued", "stuck_WAITS", *others]


@pytest.mark.parametrize(
    ("said", "kind"),
    [("overdue", AlertKind.OVERDUE), ("stuck_WAITS", AlertKind.STUCK), ("of_another_release", None), ("OVERDUE", None)],
)
def test_a_kind_is_known_by_what_a_record_says(said: str, kind: AlertKind | None) -> None:
    """A consumer may be older than the service."""
    assert AlertKind.named(said) is kind


@pytest.mark.parametrize("kind", AlertKind)
def test_a_kind_says_what_people_need(kind: AlertKind) -> None:
    """A name to route by, severities, and in a sentence each when it fires and when it resolves."""
    assert kind.alert_name.startswith("Streamproc")
    assert {*kind.severities} <= {*Severity}
    assert kind.severities
    assert kind.fires.endswith(".")
    assert kind.resolves.endswith(".")
    assert (f"{kind}", kind == kind.value, hash(kind)) == (kind.value, True, hash(kind.value))
