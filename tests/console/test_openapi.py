"""The API does what its description says: schemathesis asks it whatever the description allows, and does not allow."""

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from streamproc.console.access import Access
from streamproc.console.measuring import MeasuredApp
from streamproc.console.qualifiers import FLAGS, LISTS
from streamproc.settings.console import ConsoleSettings
from tests.support.consoleapi import Actions, Reads, console, tokens

WORDS = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
FORMS = {
    "cursor": st.integers(0, 300).map(str),  # those of the fake
    "run-filter": st.tuples(st.sampled_from(LISTS), WORDS, st.sampled_from(FLAGS)).map(
        "{0[0]}:{0[1]} is:{0[2]}".format
    ),
    "age": st.integers(0, 1_000).map("{}m".format),
    "pair": st.tuples(WORDS, WORDS).map(":".join),
}
for name, texts in FORMS.items():
    schemathesis.openapi.format(name, texts)


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Ask over ASGI, as an operator; the stream is left out: it has no end."""
    file = tmp_path_factory.mktemp("console") / "tokens"
    shown = tokens(file, olga="viewer,operator,payloads")["olga"]
    access = Access(ConsoleSettings(tokens_file=file, actions=True))
    reads = Reads()
    # A few runs are as good as many, and those with a megabyte of metadata take their time.
    reads.lives = dict([*reads.lives.items()][:5])
    app = console(reads, Actions(), access)
    assert isinstance(app, MeasuredApp)
    app._app._rates.wait_s = lambda _: 0.0
    login = {"Authorization": f"Bearer {shown}"}
    project = ProjectConfig(headers=login, generation=GenerationConfig(max_examples=20, deterministic=True))
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=config, headers=login)
    schema.hook(map_body)
    return schema.exclude(path="/stream")


def map_body(context, body):
    """JSON Schema calls 50.0 a whole number too; the API does not."""
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list | tuple):
        return [map_body(context, value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


def test_the_api_is_as_described(described):
    """Statuses, media types, answers' fields, methods, log in; what is not allowed is refused, the rest is not."""
    asked, faults = 0, []
    for event in from_schema(described).execute():
        if isinstance(event, NonFatalError | FatalError):
            faults.append(str(event.value))
        elif isinstance(event, ScenarioFinished):
            checks = [check for found in event.recorder.checks.values() for check in found]
            asked += len(event.recorder.cases)
            faults += [_said(check) for check in checks if check.failure_info is not None]
    assert faults == []
    assert asked > 1_000, "it was asked"


def _said(check) -> str:
    found = check.failure_info
    return f"{check.name}: {found.failure.title}: {found.failure.message}: {found.code_sample}"[:2_000]
