"""Renders a template with its context as a response."""

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
        """Return the time in Unix milliseconds."""
        return int(self.options.clock() * 1_000)

    def page(
        self, request: Request, template: str, *, as_of: AsOf | None, status: int = 200, **values: Any
    ) -> Response:
        """Return a page; or, where the query has a fragment, `_fragment.html` beside the template, and the foot."""
        part = request.query_params.get(FRAGMENT, "")
        names = [f"{template}/page.html"]
        if part.isalpha() and part.isascii():
            names = [f"{template}/_{part}.html", *names]
        now_ms = self.now_ms()
        context: Mapping[str, Any] = {
            **values,
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
        # Half a surrogate pair is escaped in text, but not in attributes, where it cannot be encoded: replace it.
        return Response(text.encode("utf-8", "replace"), status, media_type="text/html; charset=utf-8")


def reads(request: Request) -> Reads:
    """Return the application's read model."""
    model: Reads = request.app.state.reads
    return model


def caller(request: Request) -> Caller:
    """Return the request's caller; NOBODY where access was refused."""
    named: Caller = getattr(request.state, "caller", NOBODY)
    return named


_WORDS = ("verbatim", "foreign", "middle", "number", "short", "percent", "size", "span", "limit")
