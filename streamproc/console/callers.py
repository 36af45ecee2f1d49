"""Who asks: what the pages and the API go by."""

from typing import NamedTuple


class Caller(NamedTuple):
    """Somebody who was let in. `csrf`: what their actions have to send along; empty where they may do none."""

    name: str
    is_operator: bool
    sees_payloads: bool
    csrf: str


NOBODY = Caller(name="", is_operator=False, sees_payloads=False, csrf="")
"""Stands for who was not let in, on the page that says so."""
