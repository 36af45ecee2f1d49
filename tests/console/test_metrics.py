"""The console's metrics: what each figure follows, who may read them, and that no name of a user's is in them."""

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streamproc.console import metrics as own
from streamproc.console.access import Access
from streamproc.console.api.endpoints import ENDPOINTS
from streamproc.console.intake import Intake
from streamproc.console.measuring import NO_ROUTE
from streamproc.console.metrics import MeasuredParts, Metrics
from streamproc.console.model.database import RebuildCause
from streamproc.console.news import News
from streamproc.console.queries.history import Topics
from streamproc.console.readmodel import AnswerSources, ReadModel
from streamproc.console.reads import Busy, Changed, LetterFilter, StreamFilter
from streamproc.console.replays import Counted, ReplayOutcome
from streamproc.console.status import FollowerStatus, Halt
from streamproc.errors import BrokerUnavailable
from streamproc.observe.names import BUILD, Metric
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.settings.console import ConsoleSettings
from tests.observe.reading import OPENMETRICS, samples
from tests.support.consoleapi import Actions, Reads, Requests, client, console, next_event, serving, tokens
from tests.support.fleet import HOSTILE
from tests.support.readmodel import VIEW, change, database, put, run

TABLE = {metric.name for metric in vars(own).values() if isinstance(metric, Metric)}
TOPICS = TopicSettings()
STATE = TopicPartition(TOPICS.state, 0)
ALL = LetterFilter()
NO_PAYLOADS: Any = None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class It(NamedTuple):
    """What is watched, and what is said of it."""

    watched: MeasuredParts
    metrics: Metrics
    clock: Clock
    actions: Actions
    counted: Counted

    def text(self, accept: str = "") -> str:
        return asyncio.run(self.metrics.exposition(accept))[0].decode()

    def value(self, name: str, **labels: str) -> float | None:
        return samples(self.text()).get((f"streamproc_console_{name}", *sorted(labels.items())))


@pytest.fixture
def it(tmp_path: Path) -> Iterator[It]:
    clock, actions = Clock(), Actions()
    counted = Counted(actions)
    held = database(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        watched = MeasuredParts(FollowerStatus(clock), held, pool, Intake(TOPICS), lambda: 3, counted.outcomes)
        yield It(watched, Metrics(watched, "assistants"), clock, actions, counted)
    held.close()


# Each figure


def test_exactly_the_metrics_of_the_table_are_exported_beside_those_of_any_process(it):
    it.metrics.requested("/", 200, 0.1)
    families = {family.name for family in parse_text(it.text())}
    assert {name for name in families if not name.startswith("process_")} == {
        *(name.removesuffix("_total") for name in TABLE),
        f"{BUILD.name}_info",
    }


@pytest.mark.parametrize("name", sorted(TABLE))
def test_names_say_whose_they_are_and_have_base_units(name):
    assert name.startswith("streamproc_console_")
    assert not name.endswith(("_ms", "_milliseconds", "_kib", "_count"))


def test_what_there_is_none_of_yet_is_there_as_0(it):
    """Rule: a series that appears with its first increase hides it from increase()."""
    assert all(it.value("rebuilds_total", cause=cause) == (cause is RebuildCause.ABSENT) for cause in RebuildCause)
    assert all(it.value("halted", cause=halt) == 0 for halt in Halt)
    assert all(it.value("replays_total", outcome=outcome) == 0 for outcome in ReplayOutcome)
    assert all(it.value("records_unreadable_total", topic=topic) == 0 for topic in it.watched.intake.topics)
    assert it.value("queries_interrupted_total") == it.value("records_read_total") == it.value("runs") == 0


def test_it_is_complete_once_all_was_read_and_behind_by_how_long_ago_that_was(it):
    standing = it.watched.standing
    assert it.value("complete") == 0
    standing.lags({STATE: 0}, is_complete=True)
    assert (it.value("complete"), it.value("behind_seconds")) == (1, 0)
    it.clock.now += 90
    assert (it.value("complete"), it.value("behind_seconds")) == (1, 90)
    standing.begin()
    assert it.value("complete") == 0


def test_lag_is_summed_by_topic(it):
    it.watched.standing.lags({STATE: 5, TopicPartition(TOPICS.state, 1): 2}, is_complete=False)
    it.watched.standing.lags({TopicPartition(TOPICS.alerts, 0): 1}, is_complete=False)
    assert it.value("lag_records", topic=TOPICS.state) == 7
    assert it.value("lag_records", topic=TOPICS.alerts) == 1


def test_a_halt_is_shown_by_its_cause_until_reading_goes_on(it):
    it.watched.standing.halted(Halt.DISK, "the read model cannot be written: disk full")
    assert (it.value("halted", cause="disk"), it.value("halted", cause="kafka")) == (1, 0)
    it.watched.standing.lags({}, is_complete=False)
    assert it.value("halted", cause="disk") == 0


def test_records_read_are_those_of_earlier_read_models_as_well(it):
    it.watched.standing.read({STATE: 10}, 10)
    it.watched.standing.begin()
    it.watched.standing.read({STATE: 4}, 4)
    assert it.value("records_read_total") == 14


def test_records_that_are_left_out_are_counted_by_topic(it):
    """Those that are damaged or somebody else's, and those of batches that nobody can read."""
    it.watched.intake.unreadable[TOPICS.alerts] = 2
    it.watched.standing.skipped[TOPICS.alerts] = 5
    assert it.value("records_unreadable_total", topic=TOPICS.alerts) == 7


def test_rebuilds_are_counted_by_cause(it):
    it.watched.database.rebuild(RebuildCause.RETENTION, "an example")
    assert it.value("rebuilds_total", cause="retention") == 1


def test_a_file_of_other_settings_and_a_damaged_one_are_told_apart(tmp_path):
    path = tmp_path / "console.sqlite"

    def counted(identity: str) -> dict[RebuildCause, int]:
        opened = database(tmp_path, identity=identity)
        opened.close()
        return dict(opened.rebuilds)

    assert counted("test") == {RebuildCause.ABSENT: 1}
    assert counted("test") == {}
    assert counted("others") == {RebuildCause.OTHER_SETTINGS: 1}
    path.write_bytes(b"no database" * 1_000)
    assert counted("others") == {RebuildCause.DAMAGED: 1}


def test_the_read_model_is_measured(it):
    put(it.watched.database, change(run("run_1")), change(run("run_2")))
    assert it.value("runs") == 2
    assert it.value("read_model_bytes") == it.watched.database.bytes() > 0


def test_while_the_read_model_cannot_be_asked_everything_else_is_exported(it, monkeypatch):
    for failure in (Busy("it is built anew"), sqlite3.DatabaseError("it is damaged")):
        monkeypatch.setattr(it.watched.database, "read", raises(failure))
        assert it.value("runs") is None
        assert it.value("complete") == 0


def raises(error):
    def read(_):
        raise error

    return read


def test_queries_that_take_too_long_are_counted(it, monkeypatch):
    monkeypatch.setattr("streamproc.console.model.database.QUERY_S", 0.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(Busy):
        it.watched.database.read(lambda db: db.execute(endless).fetchall())
    monkeypatch.undo()
    assert it.value("queries_interrupted_total") == 1


def test_listeners_of_the_stream_are_those_that_are_open(it):
    assert it.value("stream_listeners") == 3


async def test_a_listener_counts_as_long_as_its_stream_is_open(it):
    held, topics = it.watched.database, Topics({}, TOPICS.dead_letters)
    sources = AnswerSources(
        held, it.watched.pool, it.watched.standing, News(), VIEW, topics, TOPICS.state, NO_PAYLOADS, {}
    )
    reads = ReadModel(sources)
    stream = reads.events(StreamFilter(), None)
    await anext(stream)
    assert reads.listeners == 1
    await stream.aclose()
    assert reads.listeners == 0


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [(None, "sent"), (Changed(4), "changed"), (BrokerUnavailable("no broker answers"), "failed")],
)
async def test_replays_are_counted_by_outcome_and_dry_runs_are_not(it, failure, outcome):
    it.actions.failure = failure
    for dry_run in (True, False):
        with suppress(Changed, BrokerUnavailable):
            await it.counted.replay("ada", ALL, [], dry_run=dry_run, expected=3)
    assert it.watched.replays == {outcome: 1}


def test_requests_are_counted_by_route_and_class_of_status_and_timed_by_route(it):
    for status, seconds in ((200, 0.02), (204, 0.02), (503, 0.3)):
        it.metrics.requested("/runs", status, seconds)
    assert it.value("requests_total", route="/runs", status="2xx") == 2
    assert it.value("requests_total", route="/runs", status="5xx") == 1
    assert it.value("request_duration_seconds_bucket", route="/runs", le="0.025") == 2
    assert it.value("request_duration_seconds_count", route="/runs") == 3
    assert it.value("request_duration_seconds_sum", route="/runs") == pytest.approx(0.34)


def test_the_build_is_named_and_the_process_measured(it):
    found = samples(it.text())
    (about,) = [dict(key[1:]) for key in found if key[0] == "streamproc_build_info"]
    assert about["profile"] == "assistants"
    assert found["process_resident_memory_bytes",] > 0


# Over HTTP


@pytest.fixture
def reads() -> Reads:
    return Reads()


def test_a_scrape_is_text_unless_openmetrics_is_asked_for(it, reads):
    asking = client(console(reads, metrics=it.metrics))
    answer = asking.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert "streamproc_console_complete" in {family.name for family in parse_text(answer.text)}
    answer = asking.get("/metrics", headers={"accept": OPENMETRICS})
    assert answer.headers["content-type"].split(";")[0] == "application/openmetrics-text"
    assert "streamproc_console_complete" in {family.name for family in parse_openmetrics(answer.text)}


def test_a_scrape_needs_no_credentials_where_everything_else_does(it, reads, tmp_path):
    tokens(tmp_path / "tokens", ada="viewer")
    access = Access(ConsoleSettings(host="0.0.0.0", tokens_file=tmp_path / "tokens"))
    asking = client(console(reads, access=access, metrics=it.metrics))
    assert asking.get("/metrics").status_code == 200
    assert asking.get("/metrics", headers={"host": "console.example"}).status_code == 200
    assert asking.get("/api/v1/metrics").status_code == 401


def test_without_tokens_a_page_that_points_a_name_of_its_own_here_gets_no_figures(it, reads):
    asking = client(console(reads, metrics=it.metrics))
    assert asking.get("/metrics", headers={"host": "attacker.example"}).status_code == 403


def test_metrics_are_beside_the_probes_below_the_base_path(it, reads):
    asking = client(console(reads, base_path="/base", metrics=it.metrics))
    assert {asking.get(f"/base{path}").status_code for path in ("/livez", "/readyz", "/metrics")} == {200}
    assert asking.get("/metrics").status_code == 404


@pytest.mark.parametrize("base_path", ["", "/base"])
def test_requests_are_told_by_the_templates_of_their_routes(reads, base_path):
    told = Requests()
    asking = client(console(reads, base_path=base_path, metrics=told))
    letter = reads.mail[0]
    for path, route in (
        ("/", "/"),
        ("/runs/run_secret", "/runs/{run_id:whole}"),
        (f"/dead-letters/{letter.partition}/{letter.offset}", "/dead-letters/{partition}/{offset}"),
        ("/static/console.css", "/static/{name:path}"),
        ("/api/v1/runs?q=status:failed", "/api/v1/runs"),
        ("/api/v1/runs/run_secret/history", "/api/v1/runs/{run_id:whole}"),
        ("/no-such-path", NO_ROUTE),
    ):
        told.told.clear()
        asking.get(f"{base_path}{path}")
        assert [route for route, _ in told.told] == [route], path


def test_probes_and_scrapes_are_not_told(reads):
    told = Requests()
    asking = client(console(reads, metrics=told))
    assert [asking.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
    assert told.told == []


def test_who_is_refused_is_told_without_a_route(reads, tmp_path):
    tokens(tmp_path / "tokens", ada="viewer")
    told = Requests()
    asking = client(console(reads, access=Access(ConsoleSettings(tokens_file=tmp_path / "tokens")), metrics=told))
    asking.get("/runs")
    assert told.told == [(NO_ROUTE, 401)]


def test_what_nobody_foresaw_is_told_as_an_error(reads):
    told = Requests()
    reads.failure = RuntimeError("a fault of ours")
    client(console(reads, metrics=told)).get("/api/v1/overview")
    assert told.told == [("/api/v1/overview", 500)]


async def test_a_stream_is_told_when_it_begins(reads):
    """Else it would be an hour's request, and known only at its end."""
    told = Requests()
    async with serving(console(reads, metrics=told)) as session, session.get("/api/v1/stream") as answer:
        await next_event(answer)
        assert told.told == [("/api/v1/stream", 200)]


def test_nothing_that_users_or_producers_named_is_in_it(it, reads):
    """Rule: labels are topics, routes and closed sets; it is read without credentials."""
    put(it.watched.database, *(change(run(name, assistant_id=name, model=name)) for name in HOSTILE if name))
    asking = client(console(reads, metrics=it.metrics))
    for path in (*(each.path for each in ENDPOINTS), "/x/run_secret", "/runs"):
        for form in (f"/api/v1{path}", path):
            asking.get(form.format(run_id="run_secret", partition="7777777", offset="7777777"), params={"q": "secret"})
    asking.get("/runs/run_secret", headers={"authorization": "Bearer secret", "user-agent": "secret"})
    for accept in ("", OPENMETRICS):
        said = it.text(accept)
        assert "secret" not in said
        assert "7777777" not in said
        assert [name for name in HOSTILE if len(name) > 4 and name in said] == []
    labels = {label for family in parse_text(it.text()) for sample in family.samples for label in sample.labels}
    assert labels <= {"version", "python", "profile", "codec", "topic", "cause", "route", "status", "outcome", "le"}
