"""The caller of a request and their rights, as the pages and the API use them."""

from typing import NamedTuple


class Caller(NamedTuple):
    """A caller who was admitted. `csrf`: the token that their actions must send; empty where they may do none."""

    name: str
    is_operator: bool
    sees_payloads: bool
    csrf: str


NOBODY = Caller(name="", is_operator=False, sees_payloads=False, csrf="")
"""The caller on the page that refuses access."""
