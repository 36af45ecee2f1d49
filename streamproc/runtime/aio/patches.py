"""What of aiokafka is replaced for the whole process: all of it is in the table below, and nothing else is.

Each entry names what is replaced, what that must be before, and why. Where it is something else, a newer aiokafka say,
streamproc does not start: nobody has looked whether the replacement fits.
"""

import hashlib
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import aiokafka

from streamproc.errors import ConfigError
from streamproc.runtime.aio import codes, compression, contacts, credentials, decompression, failures, sessions

ABSENT = "-"
"""In place of an original: there is none."""
DIGITS = 12


class Patch(NamedTuple):
    """What is replaced, in which module: attributes with dots between them, the key of a mapping in brackets.

    `original`: the beginning of the SHA-256 of its source.
    """

    module: str
    target: str
    original: str
    ours: Any
    reason: str


LIMITED = "decompresses without a limit: a megabyte of zstd can be many gigabytes of zeros"
READERS = ("aiokafka.record._crecords.default_records", "aiokafka.record.default_records")
OLD_READERS = ("aiokafka.record._crecords.legacy_records", "aiokafka.record.legacy_records")
"""Of formats without headers."""
DECODERS = {
    "gzip_decode": "2cb491613473",
    "snappy_decode": "c3451c6afa0b",
    "lz4_decode": "854d85665737",
    "zstd_decode": "366f86f6ee72",
}


METHODS = (
    Patch(
        "aiokafka.conn",
        "AIOKafkaConnection.send",
        "5909ea32f4ef",
        failures.send_on_connection,
        "after a reset uvloop's transport raises RuntimeError (aiokafka#1038); and every request passes here: counted",
    ),
    Patch(
        "aiokafka.conn",
        "AIOKafkaConnection.connect",
        "b0f9ba7f0cf6",
        contacts.connect,
        "why a connection does not come about is only logged, without what to do about it",
    ),
    Patch(
        "aiokafka.conn",
        "AIOKafkaConnection._create_reader_task",
        "9577a6e84c72",
        contacts.read_in_task,
        "it waits for hundreds of megabytes where a TLS or an HTTP server answers, and tells of no reason to hang up",
    ),
    Patch(
        "aiokafka.client",
        "create_conn",
        "673276cbddb4",
        credentials.create_conn,
        "a client has one TLS context and one password for its life: a renewed certificate would never be used",
    ),
    Patch(
        "aiokafka.conn",
        "AIOKafkaConnection.connected",
        "e392e7f6dadb",
        sessions.connected,
        "it does not log in anew before a session ends (KIP-368, aiokafka#1105): the broker hangs up in mid-commit",
    ),
    Patch(
        "aiokafka.client",
        "AIOKafkaClient.send",
        "246b277687d7",
        failures.send_by_client,
        "after a timeout it looks for a connection that may be gone: KeyError, of which its tasks end in silence",
    ),
)


def table() -> Iterator[Patch]:
    """Yield all of them."""
    yield from METHODS
    for code, error in codes.OURS.items():
        yield Patch("aiokafka.errors", f"kafka_errors[{code}]", ABSENT, error, "it is an UnknownError otherwise")
    for modules, decoders in ((READERS, decompression.LOOKED_THROUGH), (OLD_READERS, decompression.BOUNDED)):
        for module in modules:
            for name, decode in decoders.items():
                if name != "zstd_decode" or modules is READERS:
                    yield Patch(module, name, DECODERS[name], decode, LIMITED)
    for module in READERS:
        yield Patch(module, "lz4_encode", "a27f1d0da7e1", compression.lz4_encode, "its level is 9, of 12")


def install() -> None:
    """Replace what is in the table, once; raises ConfigError where something is not what it must be."""
    for patch in table():
        try:
            holder, name = _target(patch)
        except ImportError:
            continue  # A compiled module: aiokafka does without.
        present = holder.get(name) if isinstance(holder, dict) else getattr(holder, str(name), None)
        if present is patch.ours:
            continue
        if fingerprint(present) != patch.original:
            raise ConfigError(
                f"streamproc replaces {patch.module}.{patch.target}, because {patch.reason}; that of aiokafka "
                f"{aiokafka.__version__} here is another one: install the locked version (requirements/runtime.lock)"
            )
        if isinstance(holder, dict):
            holder[name] = patch.ours
        else:
            setattr(holder, str(name), patch.ours)


def fingerprint(original: Any) -> str:
    """Return what a patch knows an original by."""
    if original is None:
        return ABSENT
    # Of the code: a function that says whose place it has taken would be shown as that one.
    source = inspect.getsource(getattr(original, "__code__", original))
    return hashlib.sha256(source.encode()).hexdigest()[:DIGITS]


def _target(patch: Patch) -> tuple[Any, Any]:
    """Return the object or dictionary with the target, and the name or key of the target in it."""
    holder: Any = import_module(patch.module)
    target, bracket, key = patch.target.partition("[")
    *path, name = target.split(".")
    for each in path:
        holder = getattr(holder, each)
    return (getattr(holder, name), int(key.rstrip("]"))) if bracket else (holder, name)
