"""Reads the body of a request, up to a limit."""

from starlette.requests import Request


async def body_of(request: Request, most_bytes: int) -> bytes | None:
    """Return the body, or None where it exceeds `most_bytes`; the rest of it is not read then."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            return None
    return body
