"""The Grafana dashboard: what its source generates, well-formed, and no picture of it is empty."""

import asyncio
import json
import re
import runpy
from contextlib import asynccontextmanager, closing, suppress
from math import isnan

import pytest

from streamproc.console import metrics
from streamproc.observe import names
from streamproc.observe.http import application
from streamproc.web.server import HttpServer
from tests.support import prometheus as prom
from tests.support.consoleapi import Reads, console
from tests.support.exposed import Exposed, ExposedConsole
from tests.support.waiting import eventually
from tests.support.watched import watched_health

SOURCE = prom.ROOT / "deploy" / "grafana" / "build.py"
DASHBOARD = json.loads(SOURCE.with_name("streamproc.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
UNITS = {"bytes", "cps", "none", "percentunit", "s", "short"}
"""Of Grafana's, those that are in use: a misspelt one would be shown as text behind the figure."""
COMMON = {"ALERTS", "up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
TABLES = (names, metrics)
EXPORTED = {each.name for table in TABLES for each in vars(table).values() if isinstance(each, names.Metric)}
RECORDED = {record["record"] for record in prom.rules("record")}
VARIABLES = {"$job": ".+", "$__rate_interval": "10s"}


def of(panel):
    return panel["title"]


def queries():
    return [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def test_it_is_what_its_source_generates():
    """Else: python deploy/grafana/build.py."""
    assert runpy.run_path(str(SOURCE))["dashboard"]() == DASHBOARD


def test_ids_are_unique():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_titles_are_unique():
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_panels_fit_the_grid_and_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=of)
def test_a_panel_says_what_it_shows(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("panel", PANELS, ids=of)
def test_a_panel_asks_for_something_of_the_chosen_jobs_and_names_each_line(panel):
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["expr"]
        assert target["legendFormat"]
        assert target["datasource"] == panel["datasource"]
        selectors = re.findall(r"\{[^}]*\}", target["expr"])
        assert selectors
        assert all('job=~"$job"' in selector for selector in selectors)
        assert {f"${name}" for name in re.findall(r"\$(\w+)", target["expr"])} <= set(VARIABLES)


@pytest.mark.parametrize("panel", PANELS, ids=of)
def test_a_panel_asks_only_for_what_there_is(panel):
    known = COMMON | EXPORTED | RECORDED | {f"{names.BUILD.name}_info"}
    for target in panel["targets"]:
        for found in re.findall(r"([A-Za-z_:][\w:]*)\{", target["expr"]):
            assert found in known or found.removesuffix("_bucket") in EXPORTED, found


def test_every_metric_is_on_it():
    """Itself, or what is recorded of it: a figure that nobody looks at need not be exported."""
    shown = " ".join(expr for _, expr in queries())
    recorded = " ".join(rule["expr"] for rule in prom.rules("record") if rule["record"] in shown)
    assert {name for name in EXPORTED if name not in shown + recorded} == set()


async def test_every_panel_has_data(tmp_path):
    """With a real Prometheus, the shipped rules, and metrics of a service and of a console at work."""
    rules = prom.hasty_rules(tmp_path)
    async with exposed(tmp_path) as addresses, prom.prometheus(*addresses, rules=rules) as prometheus:

        async def seen():
            return await prometheus.query("up == 1")

        empty = queries()

        async def complete():
            empty[:] = [query for query in queries() if not await has_data(prometheus, query[1])]
            return not empty

        await eventually(seen)
        with suppress(AssertionError):
            await eventually(complete)
        assert empty == []


async def has_data(prometheus, expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return any(not isnan(value) for _, value in await prometheus.query(expression))


@asynccontextmanager
async def exposed(directory):
    """Serve the metrics of a service and of a console at work; yield their addresses."""
    it = Exposed()

    async def work(console):
        while True:
            it.work()
            console.work()
            await asyncio.sleep(0.5)

    with closing(ExposedConsole(directory)) as beside:
        apps = application(it.metrics, watched_health()), console(Reads(), metrics=beside.metrics)
        async with HttpServer(apps[0], "127.0.0.1", 0) as http, HttpServer(apps[1], "127.0.0.1", 0) as other:
            working = asyncio.create_task(work(beside))
            yield [f"127.0.0.1:{each.port}" for each in (http, other)]
            working.cancel()
