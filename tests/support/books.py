"""The schemas that ship for the assistants profile, as tests use them."""

from functools import cache

from streamproc.codec.book import SchemaBook
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.profiles import ASSISTANTS
from streamproc.settings import profiles as profilebook

RUN_OBJECT_VERSIONS = ("v1", "v1_5", "v2", "v2_1")


@cache
def bundled_book() -> SchemaBook:
    """Return the book of the RunObject's bundled versions; nothing is ever learned into it."""
    return profilebook.book_of(ASSISTANTS)


@cache
def writer_schema(version: str) -> WriterSchema:
    """Return a version of the RunObject, ready to be decoded."""
    return WriterSchema(load(f"run_object_{version}").document, ASSISTANTS.shape)


def book_of(*schemas: WriterSchema) -> SchemaBook:
    """Return a book of nothing but these."""
    return SchemaBook(schemas, ASSISTANTS.shape)
