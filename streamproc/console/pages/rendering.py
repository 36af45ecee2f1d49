"""A template and what it is told, as a response."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.answers.common import AsOf
from streamproc.console.callers import NOBODY, Caller
from streamproc.console.pages import badges, jsontree, written
from streamproc.console.pages.drawing import line
from streamproc.console.pages.links import Links
from streamproc.console.pages.options import PageOptions
from streamproc.console.reads import Reads

FRAGMENT = "fragment"


class PageRenderer:
    """Makes pages; one for the life of the process."""

    def __init__(self, options: PageOptions) -> None:
        self.options = options
        self._templates = Environment(
            loader=PackageLoader("streamproc.console.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=written.inert,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            title=options.title, version=options.version, line=line, badge=badges.badge, sign=badges.sign
        )
        self._templates.globals.update({name: getattr(written, name) for name in _WORDS})
        self._templates.globals["tree"] = jsontree.tree

    def now_ms(self) -> int:
        """Return the time."""
        return int(self.options.clock() * 1_000)

    def page(self, request: Request, template: str, *, as_of: AsOf | None, status: int = 200, **told: Any) -> Response:
        """Return a page, or the part that is asked for: `_part.html` beside the template, and a new foot."""
        part = request.query_params.get(FRAGMENT, "")
        names = [f"{template}/page.html"]
        if part.isalpha() and part.isascii():
            names = [f"{template}/_{part}.html", *names]
        now_ms = self.now_ms()
        context: Mapping[str, Any] = {
            **told,
            "as_of": as_of,
            "links": Links(request.scope.get("root_path", "")),
            "caller": caller(request),
            "here": template,
            "now_ms": now_ms,
            "at": lambda time_ms, exact=False: written.moment(time_ms, now_ms, exact=exact),
            "age_of": lambda time_ms: written.age(time_ms, now_ms),
            "left_of": lambda time_ms: written.left(time_ms, now_ms),
        }
        chosen = self._templates.select_template(names)
        text = chosen.render(context)
        if chosen.name != names[-1]:
            text += self._templates.get_template("foot.html").render(context)
        # A half of a surrogate pair is shown as an escape; in an attribute it is as it came, and no UTF-8.
        return Response(text.encode("utf-8", "replace"), status, media_type="text/html; charset=utf-8")


def reads(request: Request) -> Reads:
    """Return what answers."""
    found: Reads = request.app.state.reads
    return found


def caller(request: Request) -> Caller:
    """Return who asks; nobody where they were not let in."""
    found: Caller = getattr(request.state, "caller", NOBODY)
    return found


_WORDS = ("verbatim", "foreign", "middle", "number", "short", "percent", "size", "span", "limit")
