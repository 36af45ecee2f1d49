"""Records that are too large to be looked at (rules.md 10): their dead letters need no decoder."""

from collections.abc import Sequence
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Rejection
from streamproc.codec.decode import Decoded
from streamproc.codec.sizes import MAX_HEADERS, headers_bytes, headers_count
from streamproc.errors import RejectionReason


class Apart(NamedTuple):
    """Records of a batch: those that fit, and the rejections of those that do not, none as a rule."""

    fitting: Sequence[Arrival]
    oversized: Sequence[Rejection]

    def among(self, rejections: Sequence[Rejection]) -> list[Rejection]:
        """Return the rejections of both, by offset."""
        return sorted([*rejections, *self.oversized], key=lambda rejection: rejection.record.offset)

    def joined(self, decoded: Decoded) -> Decoded:
        """Put what is too large among the rejections of what was decoded."""
        if not self.oversized:
            return decoded
        taken = len(self.fitting) + len(self.oversized)
        joined = Decoded(decoded.events, self.among(decoded.rejections), taken, decoded.missing)
        if not decoded.missing:
            return joined
        return joined.before(self.fitting[decoded.taken].offset)._replace(missing=decoded.missing)


def set_apart(records: Sequence[Arrival], limit_bytes: int) -> Apart:
    """Return which records have no more than so many bytes of key, value and headers, and not too many headers."""
    oversized: list[Rejection] = []
    for record in records:
        size = len(record.value or b"") + len(record.key or b"")
        if (size > limit_bytes or record.headers) and (flaw := _flaw(record, size, limit_bytes)):
            oversized.append(Rejection(record, RejectionReason.TOO_LARGE, flaw))
    if not oversized:
        return Apart(records, oversized)
    large = {rejection.record.offset for rejection in oversized}
    return Apart([record for record in records if record.offset not in large], oversized)


def _flaw(record: Arrival, size: int, limit_bytes: int) -> str:
    count = headers_count(record.headers)
    if count > MAX_HEADERS:
        return f"the record has {count:,} headers, more than the {MAX_HEADERS:,} that are taken"
    size += headers_bytes(record.headers)
    if size > limit_bytes:
        return (
            f"the record has {size:,} bytes of key, value and headers, more than kafka.max_record_bytes "
            f"({limit_bytes:,}) admits"
        )
    return ""
