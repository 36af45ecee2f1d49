"""Where a run is in the console, whatever it is called: for all that link there."""

from collections.abc import Mapping
from urllib.parse import quote

STEPS_IN_A_PATH = (".", "..")
"""Ids that no path can hold: browsers and clients resolve them, however they are written."""


def in_path(run_id: str) -> str:
    """Return a run's id as one part of a path."""
    return quote(run_id, safe="", errors="replace")


def page_of(run_id: str) -> tuple[str, Mapping[str, str]]:
    """Return the path of a run's page, below what all pages are below, and its query."""
    return ("runs/", {"id": run_id}) if run_id in STEPS_IN_A_PATH else (f"runs/{in_path(run_id)}", {})
