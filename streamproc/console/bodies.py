"""What a request brings, as far as it is of a size that is taken."""

from starlette.requests import Request


async def body_of(request: Request, most_bytes: int) -> bytes | None:
    """Return the body, None where it has more than so many bytes; of such a one no more is read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            return None
    return body
