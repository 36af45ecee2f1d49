"""Style sheet, script and other static files: read once, tagged by content, so that browsers may cache them."""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


class Asset(NamedTuple):
    """A file; `tag` changes with its content."""

    content: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name."""
    return dict(_assets_in(files("streamproc.console.pages") / "static", ""))


def _assets_in(directory: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    pairs = []
    for entry in directory.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            pairs += _assets_in(entry, f"{name}/")
        elif media_type := KINDS.get(f".{entry.name.rpartition('.')[2]}"):
            content = entry.read_bytes()
            pairs.append((name, Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])))
    return pairs


async def serve(request: Request) -> Response:
    """Answer with a file: cached for ever where the URL has its tag, else to be revalidated."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return Response("there is no such file\n", 404, media_type="text/plain")
    headers = {
        "etag": f'"{asset.tag}"',
        "cache-control": FOR_EVER if request.query_params.get("v") == asset.tag else ASK_AGAIN,
    }
    if asset.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
