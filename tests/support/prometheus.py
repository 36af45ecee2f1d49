"""The real Prometheus and Alertmanager, and their tools: from PATH, else from Debian's packages."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from streamproc.local.prometheus import LocalPrometheus, PrometheusProgram, find_program, shipped_rules
from tests.support.caching import Unfetchable
from tests.support.debian import fetch
from tests.support.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
TOOL_S = 300
SELDOM_COLLECTING = {"GOGC": "800"}
"""The garbage collector takes a fifth of what promtool's tests of rules take otherwise."""
Labels = Mapping[str, str]


def program(name: str) -> Path:
    """Return one of the programs; where there is no way to it, skip the test, or fail it in CI."""
    found = find(name)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(found)
    pytest.skip(found)


@cache
def find(name: str) -> Path | str:
    """Return one of the programs, fetched where it has to be, or why there is none."""
    if found := find_program(name):
        return found
    try:
        return find_program(name, str(fetch())) or f"{name} is not installed, and Debian's packages do not have it"
    except Unfetchable as reason:
        return f"{name} is not installed, and {reason}"


def run(name: str, *arguments: str | Path, stdin: bytes | None = None) -> tuple[int, str]:
    """Run a tool; return its exit code and all that it said."""
    command = [program(name), *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, **SELDOM_COLLECTING},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TOOL_S,
        check=False,
    )
    return done.returncode, done.stdout.decode()


@cache
def rule_files() -> Mapping[str, Any]:
    """Return the shipped rules by file name."""
    return {path.name: yaml.safe_load(path.read_text()) for path in shipped_rules()}


def rules(kind: str, file: str | None = None) -> Sequence[Mapping[str, Any]]:
    """Return every `record` or every `alert`, of one file or of all."""
    contents = rule_files().values() if file is None else [rule_files()[file]]
    groups = (group for content in contents for group in content["groups"])
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def hasty_rules(directory: Path) -> Sequence[Path]:
    """Write the shipped rules, changed in one respect: alerts neither wait to fire nor linger."""
    written = []
    for name, content in rule_files().items():
        groups = [{**group, "rules": [_hasty(rule) for rule in group["rules"]]} for group in content["groups"]]
        written.append(directory / name)
        written[-1].write_text(yaml.safe_dump({"groups": groups}))
    return written


def _hasty(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in rule.items() if key not in {"for", "keep_firing_for"}}


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, local: LocalPrometheus) -> None:
        self.url = local.url
        self.scrape = local.scrape

    async def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Return the labels and values of an instant query."""
        return await query(self.url, expression)


class Alertmanager:
    """An Alertmanager that runs, seen through amtool."""

    def __init__(self, server: PrometheusProgram) -> None:
        self.address = server.address
        self.url = server.url

    async def alerts(self, *matchers: str) -> list[dict[str, Any]]:
        """Return the alerts that are firing, as `amtool alert query` shows them."""
        command = ("amtool", "--alertmanager.url", self.url, "--output", "json", "alert", "query", *matchers)
        code, said = await asyncio.to_thread(run, *command)
        assert code == 0, said
        return list(json.loads(said))


async def query(url: str, expression: str) -> list[tuple[Labels, float]]:
    """Return the labels and values of an instant query to the Prometheus at `url`."""
    answer = await asyncio.to_thread(_get, f"{url}/api/v1/query?{urlencode({'query': expression})}")
    assert answer["status"] == "success", answer
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def _get(url: str) -> Any:
    with urlopen(url, timeout=DEADLINE_S) as answer:
        return json.load(answer)


@asynccontextmanager
async def prometheus(
    *targets: str, rules: Sequence[Path] = (), alertmanager: Alertmanager | None = None
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes and evaluates once a second. It takes some seconds to begin with a new target."""
    local = LocalPrometheus(program("prometheus"))
    await local.start(rules, alertmanager=alertmanager.address if alertmanager else None)
    try:
        local.scrape(targets)
        yield Prometheus(local)
    finally:
        await local.stop()


@asynccontextmanager
async def alertmanager(settings: Mapping[str, Any] | None = None) -> AsyncIterator[Alertmanager]:
    """Run an Alertmanager that groups nothing and notifies nobody, unless told otherwise."""
    server = PrometheusProgram(program("alertmanager"))
    nobody = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    await server.start(settings or nobody, "--storage.path=data", "--cluster.listen-address=")
    try:
        yield Alertmanager(server)
    finally:
        await server.stop()
