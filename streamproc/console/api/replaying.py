"""The request of the API's only action: to send dead letters back, with the number that was confirmed."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from streamproc.console.api.parameters import WrongParameter
from streamproc.console.reads import LetterFilter

MOST_PLACES = 1_000
Text = Annotated[str, Meta(max_length=1_000)]
Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class ReplayRequest(Struct, forbid_unknown_fields=True):
    """A request to send back the dead letters that match all fields; `places` are pairs of partition and offset.

    `expected`: the number of letters that a dry run returned; required unless it is a dry run.
    """

    dry_run: bool
    reason: Text | None = None
    schema: Text | None = None
    topic: Text | None = None
    partition: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    open_only: bool = True
    places: Annotated[list[tuple[Number, Number]], Meta(max_length=MOST_PLACES)] = []
    expected: Number | None = None

    @property
    def wanted(self) -> LetterFilter:
        """The filter of dead letters."""
        return LetterFilter(self.reason, self.schema, self.topic, self.partition, self.open_only)


def request_in(body: bytes) -> ReplayRequest:
    """Decode the body of a request; raises WrongParameter."""
    try:
        request = msgspec.json.decode(body, type=ReplayRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WrongParameter(f"the body is no such request: {error}") from None
    if not request.dry_run and request.expected is None:
        raise WrongParameter("expected: the number of letters that a dry run told is to be confirmed")
    return request
