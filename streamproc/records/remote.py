"""Runs as a console has them: its API is asked instead of the topics, and says the same."""

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
from streamproc.web.session import Client, Response, Unanswered, Unsendable

MAX_BYTES = 64 * 2**20
MAX_DETAIL_CHARS = 1_000
PAGE = 200
LONGEST_S = 999_999_999
TOKEN = "STREAMPROC_CONSOLE__TOKEN"  # noqa: S105  the name of a setting
LIST: Mapping[str, type] = {"items": list, "next": object, "as_of": dict}
DETAIL: Mapping[str, type] = {"run": object, "as_of": dict}
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GONE)


class RunListing(NamedTuple):
    """The first runs of a list. `total`: how many there are, None where nobody counted. `notes`: what is missing."""

    states: list[dict[str, Any]]
    total: int | None
    has_more: bool
    notes: Sequence[str] = ()


class RemoteConsole(Client):
    """Asks the console at `url`, between entering and leaving it.

    Every question raises ConsoleUnavailable where asking again may help, ConfigError where it does not.
    """

    def __init__(self, url: str, token: SecretStr | None) -> None:
        super().__init__(EndpointSettings(bearer_token=token))
        self._api = f"{url}/api/v1"
        self._shown = origin(url)

    async def runs(self, wanted: Wanted, now_ms: int) -> RunListing:
        """Return the first runs that are wanted, those first that have been in their status longest."""
        found = await self._pages("/runs", _query(wanted, now_ms), wanted.limit)
        total = found.last.get("total")
        return RunListing(found.items, total, found.last["next"] is not None or found.is_cut, _notes(found.last))

    async def story(self, run_id: str) -> tuple[Story, list[dict[str, Any]]]:
        """Return what is told of a run, and the same history as the API says it."""
        if run_id in STEPS_IN_A_PATH:
            raise ConfigError(f"{run_id} is no id that a URL can hold: leave out --url and STREAMPROC_CONSOLE__URL")
        path = f"/runs/{in_path(run_id)}"
        detail = await self._get(path, [], DETAIL)
        found = await self._pages(f"{path}/history", [], None)
        run = detail.get("run")
        told = [_document(step, run_id, run or {}) for step in found.items]
        return Story(run, told, list(_notes(found.last))), found.items

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
            async with self._session.request("GET", url, None, {"accept": "application/json"}) as answer:
                said = _json(await answer.body(MAX_BYTES)) if answer.is_json else None
                if answer.status == HTTPStatus.OK and said is not None and _has(said, form):
                    return said
                raise self._refused(answer, said)
        except Unanswered as error:
            raise ConsoleUnavailable(
                f"the console at {self._shown} does not answer ({error}): is `streamproc console` running there? "
                "Without --url and STREAMPROC_CONSOLE__URL the topics are read"
            ) from None
        except Unsendable:
            raise ConfigError(
                f"{self._shown} cannot be asked: STREAMPROC_CONSOLE__URL must be a console's URL"
            ) from None

    def _refused(self, answer: Response, said: Mapping[str, Any] | None) -> Exception:
        where, detail = f"the console at {self._shown}", str((said or {}).get("detail", ""))[:MAX_DETAIL_CHARS]
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return ConfigError(
                f"{where} wants a token, or another one than this: set {TOKEN}; on its side "
                "`streamproc console token NAME` makes one"
            )
        if not detail:
            return ConfigError(
                f"what answers at {self._shown} is no console (status {answer.status}): STREAMPROC_CONSOLE__URL must "
                "be what its pages are below, base path and all"
            )
        if answer.status in BUSY:
            wait = f" in {answer.retry_after_s:.0f} s" if answer.retry_after_s else ""
            return ConsoleUnavailable(f"{where} says: {detail}. Ask again{wait}")
        return ConfigError(f"{where} says: {detail}")


class _ItemPages(NamedTuple):
    """Items of pages. `last`: the last page; `is_cut`: it had more than was asked for."""

    items: list[dict[str, Any]]
    last: dict[str, Any]
    is_cut: bool


def _query(wanted: Wanted, now_ms: int) -> list[tuple[str, str]]:
    said = [("sort", "since"), *(("status", status) for status in sorted(wanted.statuses))]
    said += [
        (name, value) for name, value in (("assistant", wanted.assistant), ("model", wanted.model)) if value is not None
    ]
    if wanted.since_ms is not None:
        seconds = -(-max(0, now_ms - wanted.since_ms) // 1_000)
        said.append(("older", f"{min(seconds, LONGEST_S)}s"))
    return said


def _notes(answer: Mapping[str, Any]) -> Sequence[str]:
    as_of = answer["as_of"]
    behind = [f"the console is {as_of['behind_s']:,.0f} s behind the topics"] if as_of["behind_s"] else []
    return [*behind, *map(str, as_of.get("notes", ()))]


def _document(step: Mapping[str, Any], run_id: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step as the record that it was made of, as far as its line needs it."""
    who = {"run_id": run_id, "assistant_id": run.get("assistant_id"), "model": run.get("model")}
    if step["what"] == "alert":
        return {**step, "what": "alerts", "decided_at": step["at"], "summary": step["message"]}
    if step["verdict"] == "applied":
        return {**step, **who, "what": "transitions", "occurred_at": step["at"]}
    if step["verdict"] == "rejected":
        return {**step, "what": "dead-letters", "timestamp": step["recorded_at"]}
    told = {"status_before": step["from_status"], "status_said": step["to_status"]}
    return {**step, **who, **told, "what": "verdicts", "occurred_at": step["at"]}


def _json(body: bytes | None) -> dict[str, Any] | None:
    try:
        said = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _has(said: Mapping[str, Any], form: Mapping[str, type]) -> bool:
    return all(name in said and isinstance(said[name], kind) for name, kind in form.items())
