"""Closed vocabularies: their words stand in one place, are all said and explained, and every encoder takes them."""

import ast
import builtins
import copy
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import aiokafka.errors
import fastavro
import msgspec
import pytest

import streamproc
import streamproc.errors
from streamproc.errors import FormerReason, RejectionReason
from streamproc.observe.causes import UNANSWERED
from streamproc.observe.logs import Format, _renderer
from streamproc.runtime.diagnosis import Word
from streamproc.vocabulary import Vocabulary
from tests.docs.pages import ROOT
from tests.support.source import parsed

PACKAGE = Path(streamproc.__file__).parent
WORD = RejectionReason.UNKNOWN_SCHEMA


def vocabularies() -> list[type[Vocabulary]]:
    """Return all there are, wherever they stand."""
    for module in walk_packages(streamproc.__path__, "streamproc."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return sorted(Vocabulary.__subclasses__(), key=lambda each: each.__name__)


VOCABULARIES = vocabularies()
SAID_NOW = [each for each in VOCABULARIES if each is not FormerReason]


def said(node: ast.AST) -> Iterator[str]:
    """Yield `Class.MEMBER` where a member is used as a value: neither compared with nor matched, nor a dict's key."""
    if isinstance(node, ast.Compare | ast.MatchValue):
        return
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield f"{node.value.id}.{node.attr}"
    keys = node.keys if isinstance(node, ast.Dict) else []
    for child in ast.iter_child_nodes(node):
        if child not in keys:
            yield from said(child)


@pytest.fixture(scope="module")
def sayings() -> set[str]:
    """All that the package says."""
    return {each for path in PACKAGE.rglob("*.py") for each in said(parsed(path))}


@pytest.mark.parametrize("vocabulary", SAID_NOW, ids=lambda each: each.__name__)
def test_every_word_is_said_somewhere(vocabulary: type[Vocabulary], sayings: set[str]) -> None:
    """Rule: a member that nothing raises, counts or returns is none: it would be a series, and a line of the docs."""
    assert [name for name in vocabulary.__members__ if f"{vocabulary.__name__}.{name}" not in sayings] == []


def test_nothing_says_what_only_earlier_releases_said(sayings: set[str]) -> None:
    assert [each for each in FormerReason.__members__ if f"FormerReason.{each}" in sayings] == []
    assert {*FormerReason}.isdisjoint(RejectionReason)


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.__name__)
def test_every_word_has_a_meaning_which_the_reference_tells(vocabulary: type[Vocabulary]) -> None:
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for word in vocabulary:
        assert word.meaning.endswith("."), word
        assert any(row.startswith(f"| `{word}` |") and word.meaning in row for row in rows), word


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.__name__)
def test_no_two_members_are_the_same_word(vocabulary: type[Vocabulary]) -> None:
    """Python would take the second one for another name of the first."""
    assert len(vocabulary.__members__) == len(list(vocabulary))


def test_a_member_is_its_word_to_every_encoder() -> None:
    """Rule: what goes out is the word alone, as label, header, JSON or Avro, whoever encodes it."""
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "word", "type": "string"}]})
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, {"word": WORD})
    buffer.seek(0)
    assert fastavro.schemaless_reader(buffer, schema, None) == {"word": "unknown_schema"}
    assert json.dumps({WORD: WORD}) == '{"unknown_schema": "unknown_schema"}'
    assert msgspec.json.encode({WORD: WORD}) == b'{"unknown_schema":"unknown_schema"}'
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(WORD)) == "unknown_schema"
    assert (str(WORD), f"{WORD}", WORD.value, WORD.encode()) == (*["unknown_schema"] * 3, b"unknown_schema")


def test_a_member_stays_itself_when_it_is_read_looked_up_copied_or_sent_to_another_process() -> None:
    assert msgspec.convert("unknown_schema", RejectionReason) is WORD
    assert RejectionReason("unknown_schema") is copy.deepcopy(WORD) is pickle.loads(pickle.dumps(WORD)) is WORD
    assert {"unknown_schema": 1}[WORD] == {WORD: 1}["unknown_schema"] == 1


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_log_line_shows_the_word_as_it_would_show_a_text(layout: Format) -> None:
    lines = [_renderer(layout)(None, "info", {"event": "rejected", "reason": word}) for word in (WORD, WORD.value)]
    assert lines[0] == lines[1]


def test_a_cause_that_is_no_word_of_ours_is_the_name_of_an_error() -> None:
    """The probes know them by name, since only `runtime.aio` knows aiokafka: another name would never come up."""
    where = streamproc.errors, aiokafka.errors, builtins
    assert [name for name in UNANSWERED.difference(Word) if not any(hasattr(each, name) for each in where)] == []


def test_settings_are_read_without_what_exports_metrics() -> None:
    """Rule: a command that only reads its settings does not load the exporter."""
    program = (
        "import sys, streamproc.settings.service, streamproc.observe.config; "
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] == 'prometheus_client'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
