"""What is made to kill a decoder: each in a process of its own, which lives, says what it was, and stays small."""

import pytest

from streamproc.codec.framing import JSON
from tests.support.killers import KILLERS, RECURSIVE_KILLERS, SCHEMA_KILLERS, WIDE_KILLERS, run_killer

MAX_GROWTH_MIB = 64
MAX_SECONDS = 5
"""A hang would take longer. `make bench ARGS=killers` shows what each takes: at most 50 ms on a quiet machine."""
TAKEN = {
    "as many empty tools as are taken",
    "as many tool calls as are taken",
    "as many empty metadata pairs as are taken",
    "a megabyte of one text",
    "as many JSON tool calls as are taken",
    "a megabyte of commas in a JSON text",
    "a megabyte of one tool's name",
    "a thread's id of a megabyte that is no UTF-8",
    "a thread's id of a megabyte that is no UTF-8, in JSON",
    "a JSON number of a megabyte",
    "a JSON number with a great exponent",
    "a megabyte of JSON that is hardly a text",
    "JSON that is nested as deeply as is taken",
    "nulls that stand for 1,990 fields",
    "nulls that stand for 400 fields",
    "few nulls that stand for 400 fields",
    "a few of a union of 400 types",
}
"""Odd, but RunObjects."""
AVRO = [name for name, make in KILLERS.items() if not make().startswith(JSON)]


def _check(report):
    assert report["grew_mib"] < MAX_GROWTH_MIB, report
    assert report["seconds"] < MAX_SECONDS, report


@pytest.mark.parametrize("name", KILLERS)
def test_no_payload_of_a_megabyte_takes_more_than_64_megabytes_or_hangs(name):
    report = run_killer(name, "batch")
    _check(report)
    assert (report["result"] == "taken") is (name in TAKEN)


@pytest.mark.parametrize("name", AVRO)
def test_the_reference_decoder_comes_to_the_same_result_within_the_same_limits(name):
    report = run_killer(name, "reference")
    _check(report)
    assert report["result"] == run_killer(name, "batch")["result"]


@pytest.mark.parametrize("name", SCHEMA_KILLERS)
def test_a_schema_that_makes_few_bytes_deadly_is_refused_when_it_is_loaded(name):
    report = run_killer(name, "batch")
    _check(report)
    assert report["result"] == "unfit_schema"


@pytest.mark.parametrize("name", RECURSIVE_KILLERS)
def test_a_payload_that_is_in_itself_without_end_is_refused_and_kills_nothing(name):
    report = run_killer(name, "batch")
    _check(report)
    assert report["result"] == "too_complex"


@pytest.mark.parametrize("name", WIDE_KILLERS)
def test_a_byte_that_stands_for_many_fields_takes_no_memory(name):
    report = run_killer(name, "batch")
    _check(report)
    assert (report["result"] == "taken") is (name in TAKEN)
