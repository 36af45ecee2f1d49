"""The parsing canonical form and the fingerprint: fastavro's where it takes a schema, else by the rules."""

import json
from random import Random
from typing import Any

import pytest
from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form
from hypothesis import example, given, reject
from hypothesis import strategies as st

from streamproc.codec.canonical import canonical, crc_64_avro
from streamproc.codec.normal import normal
from streamproc.codec.schemas import load
from tests.codec.test_schemas import RELEASED
from tests.fuzz.producers import Producer
from tests.support.oddschemas import array, enum, maps, record


def crc(text: str) -> str:
    return fingerprint(text, "CRC-64-AVRO")


@pytest.mark.parametrize("name", RELEASED)
def test_of_bundled_schemas_it_is_what_fastavro_makes_of_them(name: str) -> None:
    document = load(name).document
    expected = to_parsing_canonical_form(document)
    assert canonical(normal(document)) == expected
    assert crc_64_avro(normal(document)) == crc(expected) == load(name).fingerprint


NAMES = st.sampled_from(("A", "x.B", "y.z.C", "D"))
SPACES = st.sampled_from(("x", "y.z", "", None))
JUNK = st.dictionaries(st.sampled_from(("doc", "aliases", "note")), st.just(["x"]), max_size=1)
LEAVES = st.sampled_from(("null", "boolean", "int", "long", "float", "double", "bytes", "string", {"type": "int"}))


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """Valid schemas: names in namespaces of every form, each defined once and used again."""
    numbers = iter(range(1_000))

    def named(node: dict[str, Any]) -> dict[str, Any]:
        space = draw(SPACES)
        name = f"{draw(NAMES)}{next(numbers)}"
        return {**draw(JUNK), **node, "name": name, **({} if space is None else {"namespace": space})}

    def type_of(depth: int) -> Any:  # noqa: PLR0911  one for each kind
        match draw(st.integers(0, 7)) if depth else 7:
            case 0:
                return array(type_of(depth - 1))
            case 1:
                return maps(type_of(depth - 1))
            case 2:
                return [draw(LEAVES.filter(lambda leaf: isinstance(leaf, str))), array(type_of(depth - 1))]
            case 3:
                return named(enum("A", "B"))
            case 4:
                return named({"type": "fixed", "size": draw(st.integers(1, 20))})
            case 5 | 6:
                fields = [{"name": f"f{n}", "type": type_of(depth - 1)} for n in range(draw(st.integers(0, 3)))]
                own = named({"type": "record", "fields": fields})
                # By its short name: inside of the record, that is always known.
                own["fields"].append({"name": "own", "type": array(own["name"].rpartition(".")[2])})
                return own
        return draw(LEAVES)

    return named({"type": "record", "fields": [{"name": f"f{n}", "type": type_of(3)} for n in range(3)]})


@given(documents())
def test_of_any_valid_schema_it_is_fastavros(document: Any) -> None:
    assert canonical(normal(document)) == to_parsing_canonical_form(document)
    assert canonical(normal(["null", document])) == to_parsing_canonical_form(["null", document])


@given(st.integers(0, 10**9))
@example(65727)
def test_of_any_producers_schema_it_is_fastavros(seed: int) -> None:
    document = Producer(Random(seed)).document()
    try:
        expected = crc(to_parsing_canonical_form(document))
    except SchemaParseException:
        reject()  # Such as one with a name that is defined twice: we take it, fastavro does not.
    assert crc_64_avro(normal(document)) == expected


def test_names_are_written_as_they_are_and_hashed_as_utf_8() -> None:
    """The specification: escapes are replaced by what they stand for. Nothing else that is odd is in it."""
    odd = {"name": "größe", "type": {"type": "int", "logicalType": 7}, "default": "0", "aliases": None, "order": 1}
    document = record("Maß", odd, enum("ä", "ö", default="x"), namespace="prüf")
    expected = (
        '{"name":"prüf.Maß","type":"record","fields":[{"name":"größe","type":"int"},'
        '{"name":"f1","type":{"name":"prüf.Kind","type":"enum","symbols":["ä","ö"]}}]}'
    )
    assert canonical(normal(json.loads(json.dumps(document)))) == expected
    assert crc_64_avro(normal(document)) == crc(expected)


def test_half_of_a_surrogate_pair_is_hashed_as_a_question_mark() -> None:
    """As Java does, which cannot write it as UTF-8 either."""
    assert crc_64_avro(normal(record("R", {"name": "a\ud800", "type": "int"}))) == crc(
        canonical(normal(record("R", {"name": "a?", "type": "int"})))
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"type": ["null", "x.R"]}, '["null","x.R"]'),
        ({"type": {"type": "string"}}, '"string"'),
        ({"type": "R"}, '"x.R"'),
        ({"type": "error", "name": "E", "fields": []}, '{"name":"x.E","type":"record","fields":[]}'),
        ({"type": "fixed", "name": ".F", "size": 1}, '{"name":"F","type":"fixed","size":1}'),
        ({"type": "fixed", "name": "F", "namespace": "", "size": 1}, '{"name":"F","type":"fixed","size":1}'),
        ({"type": "fixed", "name": "F", "namespace": None, "size": 1}, '{"name":"x.F","type":"fixed","size":1}'),
    ],
)
def test_what_says_nothing_is_not_in_it(kind: Any, expected: str) -> None:
    document = record("R", kind, namespace="x")
    assert (
        canonical(normal(document)) == f'{{"name":"x.R","type":"record","fields":[{{"name":"f0","type":{expected}}}]}}'
    )
