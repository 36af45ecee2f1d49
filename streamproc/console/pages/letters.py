"""The pages of dead letters: the list, one letter, and the button that sends them back."""

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
    query = request.query_params
    wanted = LetterFilter(
        reason=query.get("reason") or None,
        schema=query.get("schema") or None,
        topic=query.get("topic") or None,
        partition=whole(query.get("partition")),
        open_only=query.get("open") == "1",
    )
    answer = await reads(request).letters(wanted, page_of(query, renderer.options.rows))
    links = Links(request.scope.get("root_path", ""))
    return renderer.page(
        request,
        "letters",
        as_of=answer.as_of,
        answer=answer,
        wanted=wanted,
        is_filtered=wanted != LetterFilter(),
        reasons=sorted({group.reason for group in answer.groups} | ({wanted.reason} if wanted.reason else set())),
        replayed=json.dumps(_replay_request(wanted)),
        turning=turning(links, "dead-letters", query, answer.next),
    )


async def letter(request: Request, renderer: PageRenderer) -> Response:
    """Show one."""
    place = whole(request.path_params["partition"]) or 0, whole(request.path_params["offset"]) or 0
    detail = await reads(request).letter(*place, payload=caller(request).sees_payloads)
    request_body = {**_replay_request(LetterFilter()), "places": [place]}
    return renderer.page(
        request, "letter", as_of=detail.as_of, detail=detail, letter=detail.letter, replayed=json.dumps(request_body)
    )


def _replay_request(wanted: LetterFilter) -> dict[str, Any]:
    """Return the API's request to send letters back."""
    return {**wanted._asdict(), "places": []}
