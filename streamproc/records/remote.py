"""Reads runs from a console's API instead of the topics."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from pydantic import SecretStr

from streamproc.errors import ConfigError, ConsoleUnavailable
from streamproc.records.runstates import Story, Wanted
from streamproc.runpage import STEPS_IN_A_PATH, in_path
from streamproc.web.config import EndpointSettings, origin
from streamproc.web.session import HttpSession, Response, Unanswered, Unsendable

MAX_BYTES = 64 * 2**20
MAX_DETAIL_CHARS = 1_000
PAGE = 200
LONGEST_S = 999_999_999
TOKEN = "STREAMPROC_CONSOLE__TOKEN"  # noqa: S105  the name of a setting
LIST: Mapping[str, type] = {"items": list, "next": object, "as_of": dict}
DETAIL: Mapping[str, type] = {"run": object, "as_of": dict}
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GONE)


class RunListing(NamedTuple):
    """The first runs of a list. `total`: the count of all, None if unknown. `notes`: what is missing, in words."""

    states: list[dict[str, Any]]
    total: int | None
    has_more: bool
    notes: Sequence[str] = ()


class RemoteConsole(HttpSession):
    """Asks the console at `url`, between entering and leaving it.

    Every method raises ConsoleUnavailable where a retry may help, else ConfigError.
    """

    def __init__(self, url: str, token: SecretStr | None) -> None:
        super().__init__(EndpointSettings(bearer_token=token))
        self._api = f"{url}/api/v1"
        self._shown = origin(url)

    async def runs(self, wanted: Wanted, now_ms: int) -> RunListing:
        """Return the first runs that pass the filter, ordered by how long they have been in their status."""
        pages = await self._pages("/runs", _query(wanted, now_ms), wanted.limit)
        total = pages.last.get("total")
        return RunListing(pages.items, total, pages.last["next"] is not None or pages.is_cut, _notes(pages.last))

    async def story(self, run_id: str) -> tuple[Story, list[dict[str, Any]]]:
        """Return a run's story, and its history as the API gives it."""
        if run_id in STEPS_IN_A_PATH:
            raise ConfigError(f"{run_id} is no id that a URL can hold: leave out --url and STREAMPROC_CONSOLE__URL")
        path = f"/runs/{in_path(run_id)}"
        detail = await self._get(path, [], DETAIL)
        pages = await self._pages(f"{path}/history", [], None)
        run = detail.get("run")
        history = [_document(step, run_id, run or {}) for step in pages.items]
        return Story(run, history, list(_notes(pages.last))), pages.items

    async def _pages(self, path: str, query: Sequence[tuple[str, str]], limit: int | None) -> "_ItemPages":
        items: list[dict[str, Any]] = []
        cursor: list[tuple[str, str]] = []
        while True:
            size = PAGE if limit is None else min(PAGE, limit - len(items))
            page = await self._get(path, [*query, ("limit", str(size)), *cursor], LIST)
            items += page["items"]
            if page["next"] is None or (limit is not None and len(items) >= limit):
                return _ItemPages(items[:limit], page, is_cut=limit is not None and len(items) > limit)
            cursor = [("cursor", page["next"])]

    async def _get(self, path: str, query: Sequence[tuple[str, str]], form: Mapping[str, type]) -> dict[str, Any]:
        url = f"{self._api}{path}{'?' if query else ''}{urlencode(query)}"
        try:
            async with self.request("GET", url, None, {"accept": "application/json"}) as answer:
                content = _json(await answer.body(MAX_BYTES)) if answer.is_json else None
                if answer.status == HTTPStatus.OK and content is not None and _has(content, form):
                    return content
                raise self._refused(answer, content)
        except Unanswered as error:
            raise ConsoleUnavailable(
                f"the console at {self._shown} does not answer ({error}): is `streamproc console` running there? "
                "Without --url and STREAMPROC_CONSOLE__URL the topics are read"
            ) from None
        except Unsendable:
            raise ConfigError(
                f"{self._shown} cannot be asked: STREAMPROC_CONSOLE__URL must be a console's URL"
            ) from None

    def _refused(self, answer: Response, content: Mapping[str, Any] | None) -> Exception:
        console, detail = f"the console at {self._shown}", str((content or {}).get("detail", ""))[:MAX_DETAIL_CHARS]
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return ConfigError(
                f"{console} wants a token, or another one than this: set {TOKEN}; on its side "
                "`streamproc console token NAME` makes one"
            )
        if not detail:
            return ConfigError(
                f"what answers at {self._shown} is no console (status {answer.status}): STREAMPROC_CONSOLE__URL must "
                "be what its pages are below, base path and all"
            )
        if answer.status in BUSY:
            wait = f" in {answer.retry_after_s:.0f} s" if answer.retry_after_s else ""
            return ConsoleUnavailable(f"{console} says: {detail}. Ask again{wait}")
        return ConfigError(f"{console} says: {detail}")


class _ItemPages(NamedTuple):
    """The items of several pages. `last`: the last page; `is_cut`: there were more items than requested."""

    items: list[dict[str, Any]]
    last: dict[str, Any]
    is_cut: bool


def _query(wanted: Wanted, now_ms: int) -> list[tuple[str, str]]:
    parameters = [("sort", "since"), *(("status", status) for status in sorted(wanted.statuses))]
    parameters += [
        (name, value) for name, value in (("assistant", wanted.assistant), ("model", wanted.model)) if value is not None
    ]
    if wanted.since_ms is not None:
        seconds = -(-max(0, now_ms - wanted.since_ms) // 1_000)
        parameters.append(("older", f"{min(seconds, LONGEST_S)}s"))
    return parameters


def _notes(answer: Mapping[str, Any]) -> Sequence[str]:
    as_of = answer["as_of"]
    behind = [f"the console is {as_of['behind_s']:,.0f} s behind the topics"] if as_of["behind_s"] else []
    return [*behind, *map(str, as_of.get("notes", ()))]


def _document(step: Mapping[str, Any], run_id: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a step back to the record that it was made from, as far as its line needs it."""
    run_fields = {"run_id": run_id, "assistant_id": run.get("assistant_id"), "model": run.get("model")}
    if step["what"] == "alert":
        return {**step, "what": "alerts", "decided_at": step["at"], "summary": step["message"]}
    if step["verdict"] == "applied":
        return {**step, **run_fields, "what": "transitions", "occurred_at": step["at"]}
    if step["verdict"] == "rejected":
        return {**step, "what": "dead-letters", "timestamp": step["recorded_at"]}
    statuses = {"status_before": step["from_status"], "status_said": step["to_status"]}
    return {**step, **run_fields, **statuses, "what": "verdicts", "occurred_at": step["at"]}


def _json(body: bytes | None) -> dict[str, Any] | None:
    try:
        content = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _has(content: Mapping[str, Any], form: Mapping[str, type]) -> bool:
    return all(name in content and isinstance(content[name], kind) for name, kind in form.items())
