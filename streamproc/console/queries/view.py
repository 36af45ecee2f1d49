"""A row of the runs, as an answer."""

from collections.abc import Sequence
from typing import NamedTuple

from streamproc.console.answers.runs import Run, Usage
from streamproc.console.model.entries import unpack_run
from streamproc.console.model.runs import is_illegal
from streamproc.console.model.tables import metadata_column
from streamproc.console.qualifiers import BadQuery
from streamproc.core import model
from streamproc.core.calendar import NEVER
from streamproc.core.deadlines import Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.shape import TOKENS


class View(NamedTuple):
    """Turns rows of runs into answers, by the input topic, the limits, the profile and the indexed metadata."""

    topic: str
    deadlines: Deadlines
    profile: Profile
    index_metadata: Sequence[str]

    def ends_first(self, run: model.Run) -> int | None:
        """Return when the first limit of a run is over."""
        first = min(self.deadlines.ends(run, self.profile))
        return None if first == NEVER else first

    def shown(self, packed: bytes, partition: int, metadata: Sequence[str | None]) -> Run:
        """Return a row of runs as an answer."""
        run = unpack_run(packed)
        limit, expiry = (None if end == NEVER else end for end in self.deadlines.ends(run, self.profile))
        outcome = self.profile.outcomes.get(run.status)
        usage = None if run.usage is None else Usage(**dict(zip(TOKENS, run.usage, strict=True)))
        named = zip(self.index_metadata, metadata, strict=True)
        return Run(
            run_id=run.run_id,
            thread_id=run.thread_id,
            assistant_id=run.assistant_id,
            model=run.model,
            status=run.status,
            outcome=outcome,
            is_open=outcome is None,
            is_illegal=is_illegal(run),
            status_since=run.status_since,
            first_seen_at=run.first_seen_at,
            created_at=run.created_at,
            started_at=run.started_at,
            expires_at=run.expires_at,
            ended_at=run.ended_at,
            transitions=run.transitions,
            attempt=run.attempt,
            usage=usage,
            error_code=run.error_code,
            required_tools=list(run.required_tools),
            alerts=list(run.alerts),
            deadline_at=limit,
            overdue_at=expiry,
            ends_first_at=min((end for end in (limit, expiry) if end is not None), default=None),
            metadata={key: value for key, value in named if value is not None},
            source_topic=self.topic,
            source_partition=partition,
            source_offset=run.offset,
            event_schema=run.event_schema,
        )

    @property
    def columns(self) -> str:
        """The SQL columns that `shown` takes."""
        metadata = [metadata_column(number) for number in range(len(self.index_metadata))]
        return ", ".join(["packed", "partition", *metadata])

    def metadata_column(self, key: str) -> str:
        """Return the column of a metadata key; raises BadQuery where it is not indexed."""
        if key not in self.index_metadata:
            named = ", ".join(self.index_metadata) or "none"
            raise BadQuery(
                f"meta.{key}: runs are found by metadata that STREAMPROC_CONSOLE__INDEX_METADATA names ({named})"
            )
        return metadata_column(self.index_metadata.index(key))
