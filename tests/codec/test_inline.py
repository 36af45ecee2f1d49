"""Inlining: one document out of several schemas, by the specification's rules on names."""

import copy
import io
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.inline import Uninlinable, inlined
from streamproc.codec.names import MAX_SHOWN_CHARS, shown


def record(name: str, *types: Any, **more: Any) -> dict[str, Any]:
    """A record whose fields are called a, b, ..."""
    fields = [{"name": "abcdefgh"[number], "type": it} for number, it in enumerate(types)]
    return {"type": "record", "name": name, **more, "fields": fields}


def same(document: Any, expected: Any) -> bool:
    """Both decode the same bytes to the same names; the document is taken by fastavro as it is."""
    fastavro.parse_schema(copy.deepcopy(document))
    return to_parsing_canonical_form(document) == to_parsing_canonical_form(expected)


def test_a_type_is_put_in_where_it_is_first_used_and_named_after_that() -> None:
    main = record("Run", "x.Usage", ["null", "x.Usage"], namespace="x")
    usage = record("Usage", "long", namespace="x")
    document = inlined(main, [usage])
    assert same(document, record("x.Run", record("x.Usage", "long"), ["null", "x.Usage"]))


def test_references_of_references_are_put_in_whatever_their_order() -> None:
    main = record("a.Run", {"type": "array", "items": "b.B"}, {"type": "map", "values": "c.C"})
    b, c = record("B", "c.C", namespace="b"), {"type": "enum", "name": "C", "namespace": "c", "symbols": ["X"]}
    for referenced in ([b, c], [c, b]):
        document = inlined(main, referenced)
        assert same(
            document,
            record("a.Run", {"type": "array", "items": record("b.B", c)}, {"type": "map", "values": "c.C"}),
        )


@pytest.mark.parametrize(
    ("main", "usage"),
    [
        (record("Run", "Usage", namespace="x"), record("Usage", "long", namespace="x")),
        (record("x.Run", "Usage"), record("x.Usage", "long")),
        (record("x.Run", "Usage", namespace="ignored"), record("x.Usage", "long", namespace="ignored")),
        (record("x.Run", "x.Usage"), record("Usage", "long", namespace="x")),
    ],
)
def test_a_namespace_comes_from_the_name_the_attribute_or_around(main: Any, usage: Any) -> None:
    assert same(inlined(main, [usage]), record("x.Run", record("x.Usage", "long")))


def test_a_referenced_schema_keeps_its_own_namespace() -> None:
    """What it calls Inner is y.Inner, wherever it is put in."""
    usage = record("y.Usage", record("Inner", "long"), "Inner")
    main = record("x.Run", "y.Usage", record("Inner", "string"), "Inner", "y.Inner")
    expected = record(
        "x.Run",
        record("y.Usage", record("y.Inner", "long"), "y.Inner"),
        record("x.Inner", "string"),
        "x.Inner",
        "y.Inner",
    )
    assert same(inlined(main, [usage]), expected)


def test_an_inner_type_may_be_used_before_what_defines_it() -> None:
    inner = record("y.Inner", "long")
    document = inlined(record("x.Run", "y.Inner", "y.Usage"), [record("y.Usage", inner)])
    assert same(document, record("x.Run", inner, record("y.Usage", "y.Inner")))


def test_a_type_without_namespace_is_found_from_within_one() -> None:
    """As Java's Avro has it; and it can be named a second time."""
    document = inlined(
        record("x.Run", "Usage", "Usage", record("Deeper", "Usage")),
        [record("Usage", "long", "Unit"), record("Unit", "int")],
    )
    fastavro.parse_schema(copy.deepcopy(document))
    value = {"a": {"a": 1, "b": {"a": 2}}, "b": {"a": 3, "b": {"a": 4}}, "c": {"a": {"a": 5, "b": {"a": 6}}}}
    assert _read(bytes((2, 4, 6, 8, 10, 12)), document) == value


def test_names_without_any_namespace_stay_as_they_are() -> None:
    document = inlined(record("Run", "Usage", "Usage"), [record("Usage", "long")])
    assert same(document, record("Run", record("Usage", "long"), "Usage"))


@pytest.mark.parametrize("main", ["x.Run", {"type": "x.Run"}])
def test_the_schema_itself_may_be_a_name(main: Any) -> None:
    document = inlined(main, [record("x.Run", "long")])
    assert to_parsing_canonical_form(document) == to_parsing_canonical_form(record("x.Run", "long"))


def test_everything_else_is_kept_and_nothing_is_changed() -> None:
    main = {
        **record("x.Run", ["null", "x.Usage"], {"type": "long", "logicalType": "timestamp-millis"}, doc="a run"),
        "aliases": ["Old"],
    }
    main["fields"][0]["default"] = None
    before = copy.deepcopy(main)
    document = inlined(main, [record("x.Usage", "long")])
    assert main == before
    assert (document["doc"], document["aliases"]) == ("a run", ["Old"])
    assert document["fields"][0]["default"] is None
    assert document["fields"][1] == main["fields"][1]


def test_a_type_that_contains_itself_is_named() -> None:
    """Whether that may be read is vet's business."""
    document = inlined(record("x.Run", "x.Node"), [record("x.Node", ["null", "x.Node"])])
    assert same(document, record("x.Run", record("x.Node", ["null", "x.Node"])))


def test_names_against_the_rules_are_names_too() -> None:
    """The encoding does not depend on names: what may be in a schema without references may be in one with them."""
    main = record("größe.Run", "größe.Maß", namespace=7)
    [field] = inlined(main, [record("größe.Maß", "long", record("", "long"))])["fields"]
    assert (field["type"]["namespace"], field["type"]["name"]) == ("größe", "Maß")
    assert inlined({"type": "record", "name": "x.", "fields": []}, [])["name"] == ""


def test_what_is_written_out_twice_is_one_type() -> None:
    """As several references have it that were each made self-contained."""
    inner = record("x.Inner", "long")
    document = inlined(record("x.Run", "x.A", "x.B"), [record("x.A", inner), record("x.B", copy.deepcopy(inner))])
    assert same(document, record("x.Run", record("x.A", inner), record("x.B", "x.Inner")))


ERR = {
    **record("x.Err", "long", {"type": "enum", "name": "Code", "symbols": ["A", "B"]}, doc="why a run failed"),
    "aliases": ["Error"],
}


def err(field: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The same with other attributes, of the record or of its first field."""
    first, *rest = copy.deepcopy(ERR["fields"])
    return {**ERR, **more, "fields": [{**first, **(field or {})}, *rest]}


@pytest.mark.parametrize(
    "other",
    [
        *(err(doc="another"), err(aliases=[]), err(owner="team"), err(namespace="ignored"), err(type="error")),
        *(err({"doc": "a code"}), err({"default": 0}), err({"order": "ignore"}), err({"aliases": ["n"]})),
        *(err({"type": {"type": "long", "owner": "team"}}), err({"type": {"type": {"type": "long"}}})),
        {**ERR, "fields": [ERR["fields"][0], {"name": "b", "type": {**ERR["fields"][1]["type"], "default": "A"}}]},
        record("x.Err", "long", "Code"),
        record("x.Err", "long", "x.Code"),
    ],
)
def test_definitions_that_differ_in_what_decoding_does_not_need_are_one_type(other: Any) -> None:
    """As references have it that were made self-contained at different times; also beside the schema's own."""
    code = ERR["fields"][1]["type"]
    a, b = record("x.A", ERR), record("x.B", {**code, "namespace": "x"}, other)
    expected = record("x.Run", record("x.A", record("x.Err", "long", code)), record("x.B", "x.Code", "x.Err"))
    assert same(inlined(record("x.Run", "x.A", "x.B"), [a, b]), expected)
    assert same(inlined(record("x.Run", "x.A", "x.B"), [b, a]), expected)
    assert same(inlined(record("x.Run", a, "x.B"), [b]), expected)


@pytest.mark.parametrize(
    "other",
    [
        *(err({"name": "n"}), err({"type": "int"}), err({"type": ["long"]}), err({"type": "y.Other"})),
        err({"type": {"type": "long", "logicalType": "timestamp-millis"}}),
        {**ERR, "fields": ERR["fields"][::-1]},
        {**ERR, "fields": ERR["fields"][:1]},
        record("x.Err", "long", {"type": "enum", "name": "Code", "symbols": ["B", "A"]}),
        {"type": "fixed", "name": "x.Err", "size": 3},
    ],
)
def test_definitions_that_differ_in_what_decoding_needs_are_refused(other: Any) -> None:
    with pytest.raises(Uninlinable, match=r"two of its references define x\.(Err|Code), in different ways"):
        inlined(record("x.Run", "x.A", "x.B"), [record("x.A", ERR), record("x.B", other, record("y.Other"))])


def test_the_aliases_of_each_definition_count() -> None:
    a, b = record("x.A", err({"aliases": ["n"]})), record("x.B", err({"aliases": ["m"]}))
    for referenced in ([a, b], [b, a]):
        document = inlined(record("x.Run", "x.A", "x.B"), referenced)
        assert set(document["fields"][0]["type"]["fields"][0]["type"]["fields"][0]["aliases"]) == {"n", "m"}


def test_the_schema_may_use_its_own_type_before_it_defines_it() -> None:
    """With references as without."""
    main = record("x.Run", ["null", "Own"], "y.Usage", record("Own", "long"))
    own, usage = record("x.Own", "long"), record("y.Usage", "long")
    assert same(inlined(main, [usage]), record("x.Run", ["null", own], usage, "x.Own"))


def test_too_deep_a_nesting_is_refused_with_its_path() -> None:
    with pytest.raises(Uninlinable, match=r"^b\.a is nested too deeply$"):
        inlined(record("x.Run", "long", "x.Usage"), [record("x.Usage", _deep(3_000))])


def _deep(levels: int) -> Any:
    node: Any = "long"
    for _ in range(levels):
        node = {"type": "array", "items": node}
    return node


@pytest.mark.parametrize(
    ("main", "referenced", "word"),
    [
        (record("x.Run", "x.Usage"), [], r"x\.Usage"),
        (record("x.Run", "Usage"), [record("y.Usage", "long")], r"x\.Usage"),
        (record("x.Run", "x.Usage"), [record("x.Usage", "long"), record("x.Usage", "int")], "two of its references"),
        (record("x.Run", "x.Usage", record("Usage", "int")), [record("x.Usage", "long")], "twice"),
        (record("x.Run", _deep(3_000)), [], "too deeply"),
        ("x.Run", [record("x.Run", _deep(3_000))], "too deeply"),
        (record("x.Run", 17), [], "neither"),
        (record("x.Run", None), [], "neither"),
        (record("x.Run", {}), [], "object without type"),
        (record("x.Run", {"type": "array"}), [], "without items"),
        (record("x.Run", {"type": "map"}), [], "without values"),
        (record("x.Run", "long", record("y.Inner", "Usage")), [], r"b\.a uses y\.Usage"),
        (record("x.Run", {"type": "map", "values": ["null", {"type": "array"}]}), [], r"a\{\} has a type array"),
        ({"type": "record", "fields": []}, [], "no text"),
        ({"type": "record", "name": 1, "fields": []}, [], "no text"),
        ({"type": "record", "name": "x", "fields": {}}, [], "no list"),
        ({"type": "record", "name": "x", "fields": [1]}, [], "no list"),
        (record("x.Run", "\n\x1b" + "y" * 1_000), [], r"\\n\\x1b"),
    ],
)
def test_what_makes_no_document_is_refused_with_the_reason(main: Any, referenced: list[Any], word: str) -> None:
    with pytest.raises(Uninlinable, match=word) as error:
        inlined(main, referenced)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < MAX_SHOWN_CHARS + 200


def test_a_shown_name_is_printable_and_bounded() -> None:
    assert shown("a.Ü") == "a.Ü"
    assert shown("a\u2028\ud800") == "a\\u2028\\ud800"
    assert len(shown("x" * 1_000)) == MAX_SHOWN_CHARS + 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["record", "enum", "array", "long", "x.Run", "Run", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "name", "namespace", "fields", "items", "values"]), inner)
    ),
    max_leaves=30,
)


@given(JSON, st.lists(JSON, max_size=3))
def test_any_json_is_inlined_or_refused(main: Any, referenced: list[Any]) -> None:
    with suppress(Uninlinable):
        inlined(main, referenced)


def _read(payload: bytes, document: Any) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(payload), fastavro.parse_schema(copy.deepcopy(document)), None)
