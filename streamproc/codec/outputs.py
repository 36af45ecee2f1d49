"""Transitions and run states to framed Avro records with CloudEvents headers, a whole commit at a time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import astuple

from streamproc.codec.arrow import ColumnEncoder
from streamproc.codec.cloudevents import CloudEvents, Headers
from streamproc.codec.decode import Rejection
from streamproc.codec.schemas import load, varint
from streamproc.codec.state import TAIL, run_columns
from streamproc.core.model import Run, Transition


class Message(NamedTuple):
    """One record to be produced; its partition is the input's. `timestamp` in milliseconds; a null value: tombstone."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers
