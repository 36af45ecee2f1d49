"""All rules for the fold of a run, as one value."""

from msgspec import Struct, field

from streamproc.core.deadlines import Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.retention import Retention


class Rules(Struct, frozen=True):
    """How runs are judged, watched, measured and forgotten.

    Measurements are filed by base windows of `base_ms`; each distinguishes at most `max_groups` assistants and models.
    """

    profile: Profile
    retention: Retention
    deadlines: Deadlines = field(default_factory=Deadlines)
    base_ms: int = 60_000
    max_groups: int = 5_000
