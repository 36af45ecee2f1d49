"""Dead letters: which there are, what is in one, and sending them back."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.pages.asking import page_of, turning, whole
from streamproc.console.pages.links import Links
from streamproc.console.pages.rendering import PageRenderer, caller, reads
from streamproc.console.reads import LetterFilter


async def letters(request: Request, renderer: PageRenderer) -> Response:
    """Show groups and the list."""
    asked = request.query_params
    wanted = LetterFilter(
        reason=asked.get("reason") or None,
        schema=asked.get("schema") or None,
        topic=asked.get("topic") or None,
        partition=whole(asked.get("partition")),
        open_only=asked.get("open") == "1",
    )
    found = await reads(request).letters(wanted, page_of(asked, renderer.options.rows))
    links = Links(request.scope.get("root_path", ""))
    return renderer.page(
        request,
        "letters",
        as_of=found.as_of,
        found=found,
        wanted=wanted,
        is_filtered=wanted != LetterFilter(),
        reasons=sorted({group.reason for group in found.groups} | ({wanted.reason} if wanted.reason else set())),
        replayed=json.dumps(_asked(wanted)),
        turning=turning(links, "dead-letters", asked, found.next),
    )


async def letter(request: Request, renderer: PageRenderer) -> Response:
    """Show one."""
    place = whole(request.path_params["partition"]) or 0, whole(request.path_params["offset"]) or 0
    found = await reads(request).letter(*place, payload=caller(request).sees_payloads)
    one = {**_asked(LetterFilter()), "places": [place]}
    return renderer.page(
        request, "letter", as_of=found.as_of, found=found, letter=found.letter, replayed=json.dumps(one)
    )


def _asked(wanted: LetterFilter) -> dict[str, Any]:
    """Return what the API is asked to send back."""
    return {**wanted._asdict(), "places": []}
