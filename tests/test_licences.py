"""Under which licences the libraries are: docs/licences.md says it, and none asks for more than its text."""

import re

import pytest

from tests.support.licences import PAGE, allowed, crates, is_met, packages, page

LISTED = dict(re.findall(r"^\| ([a-z][\w-]*) \| (.+) \|$", PAGE.read_text(), re.MULTILINE))


def test_the_page_lists_what_the_lock_installs():
    """Else the lock changed: python -m tests.support.licences."""
    assert packages().items() <= LISTED.items()


def test_the_page_is_as_it_is_made():
    rust = crates()
    if rust is None:
        pytest.skip("the crates are not here")
    assert PAGE.read_text() == page(packages(), rust)


def test_every_package_has_a_licence_that_is_allowed():
    assert {name: licence for name, licence in packages().items() if not is_met(licence, allowed())} == {}
    assert len(packages()) > 30
