"""Every command does its work with the rights of the rightsbook, and with none less; what lacks is named.

On a broker with an authorizer, where each case is a user of its own who has just these rights.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from streamproc import app
from streamproc.cli.main import cli
from streamproc.console.command import serve_console
from streamproc.local.simulate import simulate
from streamproc.preflight import asked_for, lacking
from streamproc.rightsbook import COMMANDS, names, rights_of
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.rights import Operation, Resource, Right
from streamproc.settings.loading import load_settings
from streamproc.settings.service import Settings
from tests.support.guarded import Guarded, guarded_broker
from tests.support.service import Fleet, _get, fleet
from tests.support.waiting import DEADLINE_S, eventually

pytestmark = pytest.mark.kafka

APPLICATION = "ours"
ON = names(APPLICATION, TopicSettings(prefix=f"{APPLICATION}-").named())
EVENTS = ON.topics["events"]
ARGUMENTS: dict[str, Sequence[str]] = {
    "topics create": ("topics", "create"),
    "topics check": ("topics", "check", "--no-rights"),
    "dlq list": ("dlq", "list"),
    "dlq show": ("dlq", "show", "PLACE"),
    "dlq replay": ("dlq", "replay"),
    "dlq replay --dry-run": ("dlq", "replay", "--dry-run"),
    "offsets show": ("offsets", "show"),
    "offsets skip": ("offsets", "skip", f"{EVENTS}:0:0", "--why", "a test"),
    "offsets resume": ("offsets", "resume", f"{EVENTS}:0"),
    "offsets reset": ("offsets", "reset", "--to", "earliest"),
    "offsets reset --dry-run": ("offsets", "reset", "--to", "earliest", "--dry-run"),
    "send": ("send", "FILE"),
    "simulate": ("simulate", "--events", "1"),
    **{each: (*each.split(), "--no-follow") for each in COMMANDS if each.startswith("tail ")},
    "runs list": ("runs", "list"),
    "runs show": ("runs", "show", "RUN"),
    "runs show: with all that happened": ("runs", "show", "RUN"),
}
"""How each command is called that ends by itself."""
SERVICE = "run", "run: reports on instances", "run: push to Alertmanager", "run: push to a webhook"
PUSHED = {"ALERTMANAGER__URLS": '["http://127.0.0.1:9"]', "WEBHOOK__URL": "http://127.0.0.1:9"}
SOMETIMES = {("dlq replay", Operation.READ, EVENTS)}
"""For letters that are cut: the original is read."""
LACKING = [
    pytest.param(command, right, id=f"{command}-{right}")
    for command in COMMANDS
    for right in rights_of(command, ON)
    if right.operation is not Operation.CREATE
]


def user_of(command: str, right: Right | None = None) -> str:
    """Return the user who has the command's rights, all but one."""
    number = list(COMMANDS).index(command)
    return f"u{number}" if right is None else f"u{number}x{rights_of(command, ON).index(right)}"


USERS: dict[str, list[Right]] = {
    **{user_of(command): rights_of(command, ON) for command in COMMANDS},
    **{
        user_of(command, right): [each for each in rights_of(command, ON) if each != right]
        for command in COMMANDS
        for right in rights_of(command, ON)
    },
    "service": [right for command in SERVICE for right in rights_of(command, ON)],
    "checker": [right for command in (*SERVICE, "topics check") for right in rights_of(command, ON)],
    "nobody": [],
    "prefixed": [
        *(Right(each, Resource.TOPIC, f"{APPLICATION}-", prefixed=True) for each in Operation),
        Right(Operation.READ, Resource.GROUP, APPLICATION, prefixed=True),
        Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, APPLICATION, prefixed=True),
    ],
    "of_all": [
        *(Right(each, Resource.TOPIC, "*") for each in Operation),
        Right(Operation.READ, Resource.GROUP, "*"),
        Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, "*"),
    ],
    "one_by_one": [
        *(right for right in rights_of("run", ON) if right.resource is not Resource.TRANSACTIONAL_ID),
        *(
            Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, f"{APPLICATION}:{ON.topics[role]}:0")
            for role in ("events", "measurements")
        ),
    ],
}


class Shop(NamedTuple):
    """An application that has done some work, and stands still: its broker, and what to ask it for."""

    broker: Guarded
    run_id: str
    letter: str
    directory: Path

    def environment(self, user: str | None) -> dict[str, str]:
        """Return the settings of a user; None: of a super user."""
        login = {"KAFKA__BOOTSTRAP_SERVERS": self.broker.open} if user is None else self.broker.login(user)
        own = {
            "APPLICATION_ID": APPLICATION,
            "TOPICS__PREFIX": f"{APPLICATION}-",
            "HTTP__PORT": "0",
            "CONSOLE__PORT": "0",
            "CONSOLE__DATABASE": str(self.directory / f"{user}.sqlite"),
        }
        return {f"STREAMPROC_{key}": value for key, value in {**own, **login}.items()}

    def settings(self, user: str | None, **more: str) -> Settings:
        """Return the same, read."""
        with environment({**self.environment(user), **{f"STREAMPROC_{key}": value for key, value in more.items()}}):
            return load_settings()

    def call(self, command: str, user: str | None) -> Result:
        """Run a command in this process."""
        places = {"PLACE": self.letter, "RUN": self.run_id, "FILE": str(self.directory / "objects.jsonl")}
        arguments = [places.get(each, each) for each in ARGUMENTS[command]]
        with environment(self.environment(user)):
            return CliRunner().invoke(cli, arguments)

    def prepare(self, command: str, right: Right | None = None) -> None:
        """Let there be something to do, for which the right is needed."""
        if command in {"offsets skip", "offsets resume", "offsets reset"}:
            worked(self.call("offsets reset", None))  # One that was refused half way is brought to its end.
        if command == "offsets reset" and right is not None and right.operation is Operation.WRITE:
            asyncio.run(_worked_off(self.broker, self.directory, events=0))
        if command == "dlq replay":
            asyncio.run(self.delete(ON.topics["receipts"]))
            with environment(self.environment(None)):
                worked(CliRunner().invoke(cli, ["dlq", "replay", self.letter]))

    async def delete(self, topic: str) -> None:
        """Delete a topic, and wait until it is gone."""
        kafka = AioKafka(self.settings(None).kafka, APPLICATION)
        it = Fleet(self.broker.open, APPLICATION, self.directory)

        async def gone() -> bool:
            return not await kafka.partition_count(topic)

        try:
            if not await gone():
                await it.administer(lambda admin: admin.delete_topics([topic]))
                await eventually(gone)
        finally:
            await kafka.close()
            await it.kafka.close()


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Have these settings, and no others."""
    before = dict(os.environ)
    for key in [key for key in before if key.startswith("STREAMPROC_")]:
        del os.environ[key]
    os.environ.update(variables, COLUMNS="1000")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Events with some that are rejected, worked off; dead letters, one of them sent back."""
    directory = tmp_path_factory.mktemp("rights")
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    with guarded_broker(USERS) as broker:
        broker.grant_all(dict(USERS))
        asyncio.run(_worked_off(broker, directory))
        unfinished = Shop(broker, "", "", directory)
        with environment(unfinished.environment(None)):
            runs = CliRunner().invoke(cli, ["runs", "list", "--json", "--limit", "1"])
            letters = CliRunner().invoke(cli, ["dlq", "list", "--json", "--limit", "1"])
            tail = CliRunner().invoke(cli, ["dlq", "replay"])
        worked(runs, letters, tail)
        letter = json.loads(letters.stdout.splitlines()[0])
        it = unfinished._replace(run_id=json.loads(runs.stdout)["run_id"], letter=letter["place"])
        (directory / "objects.jsonl").write_text(json.dumps({"id": "run_1", "status": "queued"}) + "\n")
        yield it
    root.handlers, root.level = handlers, level


async def _worked_off(broker: Guarded, directory: Path, events: int = 300) -> None:
    async with fleet(broker.open, APPLICATION, directory, partitions=1) as it:
        now_ms = int(time.time() * 1_000)
        await it.send(simulate(seed=5, events=events, bad_ratio=0.1, start_ms=now_ms))
        worker = it.start()
        await eventually(worker.is_ready)
        # Else there may be nothing in run-windows yet, which takes no right.
        await eventually(lambda: _has_windows(it))
        assert worker.stop() == 0


async def _has_windows(it: Fleet) -> bool:
    latest = {record.key: record.value for record in await it.read(it.topics.windows, 0)}
    return any(value is not None for value in latest.values())


def worked(*results: Result) -> None:
    """Check that commands came to a good end."""
    for result in results:
        assert result.exit_code == 0, f"{result.exception!r} {result.output}"


def said_of(result: Result) -> str:
    """Return what a command said in the end, as `main` would print it."""
    return f"{result.output}\n{result.exception}"


def named(right: Right) -> str:
    """Return how a message names a right."""
    return f"{right}."


@pytest.mark.parametrize("command", ARGUMENTS)
def test_a_command_works_with_exactly_its_rights(shop: Shop, command: str) -> None:
    """And says nothing of any right; with none it names all of them at once."""
    shop.prepare(command)
    result = shop.call(command, user_of(command))
    worked(result)
    assert command == "runs show" or "lacks" not in result.output  # It tells what it can, and what it cannot.
    said = said_of(shop.call(command, "nobody"))
    base = command.partition(":")[0]
    for right in rights_of(base, ON):
        if right.operation is not Operation.CREATE:
            assert str(right) in said, said


@pytest.mark.parametrize(("command", "right"), [each for each in LACKING if str(each.values[0]) in ARGUMENTS])
def test_a_right_that_lacks_is_named(shop: Shop, command: str, right: Right, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is done; and it is needed: what is done without looking before is refused, and says where."""
    shop.prepare(command, right)
    user = user_of(command, right)
    base = command.partition(":")[0]
    if right in rights_of(base, ON):
        result = shop.call(command, user)
        assert result.exit_code != 0
        assert isinstance(result.exception, Denied)
        assert result.exception.rights == (right,), said_of(result)
        assert str(result.exception).count("kafka-acls.sh") == 1

    async def look_at_nothing(*_: Any) -> None:
        """No right is asked for."""

    if (command, right.operation, right.name) in SOMETIMES:
        return
    monkeypatch.setattr(app, "refuse_lacking", look_at_nothing)
    result = shop.call(command, user)
    where = f"{right.resource.replace('-', ' ')}{'s that begin with' if right.prefixed else ''} {right.name}"
    assert f" on {where}" in said_of(result)
    assert (result.exit_code != 0) == (right in rights_of(base, ON)), said_of(result)


@pytest.mark.parametrize("command", ["dlq replay", "topics create"])
def test_what_may_not_be_created_is_named(shop: Shop, command: str) -> None:
    """All of it at once; nobody can ask before."""
    wanted = [right for right in rights_of(command, ON) if right.operation is Operation.CREATE]
    topic = ON.topics["receipts"] if command == "dlq replay" else ON.topics["instances"]
    asyncio.run(shop.delete(topic))
    [right] = [each for each in wanted if each.name == topic]
    result = shop.call(command, user_of(command, right))
    assert isinstance(result.exception, Denied)
    assert result.exception.rights == (right,)
    worked(shop.call(command, user_of(command)))


@pytest.mark.parametrize(("command", "right"), [each for each in LACKING if str(each.values[0]) in SERVICE])
async def test_what_the_service_lacks_is_named_at_its_start(shop: Shop, command: str, right: Right) -> None:
    """It does not start without what it needs; what else it lacks it says, and goes on. `topics check` tells all."""
    settings = shop.settings(user_of(command, right), **PUSHED)
    kafka = app.make_kafka(settings)
    try:
        found = await lacking(kafka, settings, command)
    finally:
        await kafka.close()
    assert found == [right]
    if command == "run":
        with pytest.raises(Denied) as raised:
            await app.serve(settings, asyncio.Event())
        assert raised.value.rights == (right,)
    with pytest.raises(Denied, match=str(right)):
        await app.check(settings)


async def test_the_service_works_with_exactly_its_rights(shop: Shop) -> None:
    """Nothing is complained about, everything goes out: reports, and both pushes read."""
    settings, stop = shop.settings("service", **PUSHED), asyncio.Event()
    assert await app.check(shop.settings("checker", **PUSHED)) == 1
    assert set(SERVICE) == {"run", *asked_for(settings)}
    listening: list[str] = []
    serving = asyncio.create_task(app.serve(settings, stop, on_listening=listening.append))
    groups = [AioKafka(shop.settings(None).kafka, f"{APPLICATION}{name}") for name in ("", ".alertmanager", ".webhook")]

    async def is_whole() -> bool:
        assert not serving.done(), serving.result()
        answers = listening and (await asyncio.to_thread(_get, f"{listening[0]}/readyz"))[0] == 200
        return bool(answers) and all([(await each.membership()).members for each in groups])

    try:
        await eventually(is_whole)
    finally:
        stop.set()
        await asyncio.wait_for(serving, DEADLINE_S)
        for each in groups:
            await each.close()


@pytest.mark.parametrize("command", ["console", "console: with actions"])
async def test_the_console_reads_with_exactly_its_rights(shop: Shop, command: str) -> None:
    """All there is; and names each that lacks."""
    more = {"CONSOLE__ACTIONS": "true"} if "actions" in command else {}
    settings, stop = shop.settings(user_of(command), **more), asyncio.Event()
    listening: list[str] = []
    serving = asyncio.create_task(serve_console(settings, stop, listening.append))

    async def is_ready() -> bool:
        assert not serving.done(), serving.result()
        return bool(listening) and (await asyncio.to_thread(_get, f"{listening[0]}readyz"))[0] == 200

    try:
        await eventually(is_ready)
    finally:
        stop.set()
        await asyncio.wait_for(serving, DEADLINE_S)
    for right in rights_of(command, ON):
        if right.operation is not Operation.CREATE:
            kafka = app.make_kafka(shop.settings(user_of(command, right)))
            assert await lacking(kafka, settings, command) == [right]
            await kafka.close()


@pytest.mark.parametrize("user", ["prefixed", "of_all", "one_by_one", None])
async def test_rights_that_are_given_otherwise_are_had(shop: Shop, user: str | None) -> None:
    """By a prefix, by a wildcard, id by id, or to a super user."""
    settings = shop.settings(user)
    kafka = app.make_kafka(settings)
    try:
        assert await lacking(kafka, settings, *(["run"] if user == "one_by_one" else COMMANDS)) == []
    finally:
        await kafka.close()


async def test_asking_for_rights_fences_nobody(shop: Shop) -> None:
    """A producer that is there goes on: nothing is done with its id (rules.md 7)."""
    settings = shop.settings("service")
    kafka = app.make_kafka(settings)
    transactions = kafka.transactions(Fleet(shop.broker.open, APPLICATION, shop.directory).source(0))
    try:
        await transactions.fence()
        assert await lacking(kafka, settings, "run") == []
        await transactions.commit({}, {})
    finally:
        await transactions.close()
        await kafka.close()


async def test_a_broker_without_an_authorizer_lacks_nothing(kafka_bootstrap: str) -> None:
    """It tells of no rights, so nothing is complained about; nor is a topic that is not there."""
    kafka = AioKafka(Shop(Guarded(kafka_bootstrap, ""), "", "", Path()).settings(None).kafka, "any")
    try:
        for command in COMMANDS:
            assert await kafka.lacking(rights_of(command, ON)) == []
    finally:
        await kafka.close()
