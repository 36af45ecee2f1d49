"""Records as a fetch has them by the native codec."""

from collections.abc import Sequence
from itertools import pairwise

from streamproc.codec.batched import Batched, unpacker
from streamproc.codec.message import Message
from streamproc.native import module


def batched(messages: Sequence[Message], cuts: Sequence[int] = ()) -> Batched:
    """Return messages at the offsets from 0 on, in batches of which all but the first begin at `cuts`.

    Each batch has a record too many at either end, which is not among those that are handed out.
    """
    found = Batched()
    ends = sorted({0, len(messages), *(cut for cut in cuts if cut < len(messages))})
    for start, stop in pairwise(ends):
        part = messages[start:stop]
        [(count, first_ms, _, body)] = module.Records([part[-1], *part, part[0]]).batches(1 << 24)
        found.add(unpacker.unpack(body, count, (start - 1, first_ms, None), start - 1), 1, len(part) + 1)
    return found
