"""The native codec and the reference, both in one process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from streamproc.codec import rows, runstate, schemas
from streamproc.codec.arrival import Framed
from streamproc.codec.schemas import WriterSchema
from streamproc.native import module
from streamproc.runtime.aio import batches
from streamproc.store import block

needs_native = pytest.mark.skipif(
    module is None, reason="streamproc-native is not installed, or STREAMPROC_NATIVE=off: there is nothing to compare"
)


@contextmanager
def pure() -> Iterator[None]:
    """Let whatever is made meanwhile be the pure path's, as where the wheel is absent."""
    with pytest.MonkeyPatch.context() as patch:
        for user in (block, rows, runstate, schemas, batches):
            patch.setattr(user, "module", None)
        yield


def doubtful(schema: WriterSchema, group: Sequence[Framed]) -> list[int]:
    """The rows that the native decoder leaves to the reference; none where it is absent."""
    return schema.native.decode(group).doubtful if schema.native else []
