"""An alert's link leads to its run's page in the console, whatever the run is called."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamproc.notify.links import page_of
from streamproc.settings.console import ConsoleSettings

CONSOLE = "https://runs.example/base"


@pytest.mark.parametrize(
    ("run_id", "path"),
    [
        ("run_1", "runs/run_1"),
        ("a/b", "runs/a%2Fb"),
        ("a?b#c", "runs/a%3Fb%23c"),
        ("100%", "runs/100%25"),
        ("<script>'\"", "runs/%3Cscript%3E%27%22"),
        ("\u202eevil\r\nx: y", "runs/%E2%80%AEevil%0D%0Ax%3A%20y"),
        ("https://evil.example", "runs/https%3A%2F%2Fevil.example"),
        ("..", "runs/?id=.."),
        ("../..", "runs/..%2F.."),
        ("\ud800", "runs/%3F"),
        ("", "alerts"),
        (None, "alerts"),
    ],
)
def test_a_run_leads_to_its_page_and_no_run_to_the_alerts(run_id, path):
    assert page_of(CONSOLE, run_id) == f"{CONSOLE}/{path}"
    assert page_of(f"{CONSOLE}/", run_id) == f"{CONSOLE}/{path}"


@given(
    run_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in {".", ".."})
)
def test_no_run_id_leaves_its_place_in_the_url(run_id):
    """Rule: the id is one part of the path, and comes back as it was."""
    url = page_of(CONSOLE, run_id)
    parts = urlsplit(url)
    assert url.isascii()
    assert url.isprintable()
    assert (parts.netloc, parts.query, parts.fragment) == ("runs.example", "", "")
    before, runs, last = parts.path.rpartition("/runs/")
    assert (before, runs, unquote(last)) == ("/base", "/runs/", run_id)
    assert "/" not in last


@pytest.mark.parametrize("url", ["runs.example", "javascript:alert(1)", "https://a/?x=1", "https://user:pw@a"])
def test_a_public_url_that_is_no_base_is_refused(url):
    with pytest.raises(ValidationError):
        ConsoleSettings(public_url=url)


def test_a_public_url_is_taken_without_its_last_slash():
    assert ConsoleSettings(public_url=f"{CONSOLE}/").public_url == CONSOLE
