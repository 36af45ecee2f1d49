"""The settings of the runtime: how to reach Kafka, which topics, when to commit. `settings` puts them together."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from streamproc.runtime.security import SecuritySettings
from streamproc.section import Section

BATCH_BYTES = 1_000_000
"""Of records in one produce request for one partition; a broker's limit is for the batch, 1,048,588 by default."""


class KafkaSettings(SecuritySettings):
    """How to reach Kafka, and how long to wait for it. Times in milliseconds."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Where to ask for the brokers; host:port, by commas.")
    group_instance_id: str | None = Field(None, description="Static membership: a name that survives restarts.")
    session_timeout_ms: int = Field(
        10_000,
        ge=1_000,
        le=1_800_000,
        description="After so long without a word from an instance, others get its partitions.",
    )
    transaction_timeout_ms: int = Field(
        15_000,
        ge=3_000,
        le=900_000,
        description="After so long the broker aborts a transaction that was left open; readers wait for it until then.",
    )
    max_record_bytes: int = Field(
        1_048_576, ge=1_024, description="Largest input record: key, value and headers. A larger one is a dead letter."
    )
    max_batch_bytes: int = Field(
        67_108_864,
        ge=1_048_576,
        description="Largest batch of input records, once decompressed. A larger one pauses its partition.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="How all outputs are compressed; their consumers have to know it."
    )

    @property
    def request_timeout_ms(self) -> int:
        """How long one request may take; a join waits for the slowest member, which may take a session's time."""
        return max(20_000, 2 * self.session_timeout_ms)

    @property
    def commit_deadline_s(self) -> float:
        """How long a commit may take before its outcome counts as unknown: the broker aborts it a little later."""
        return min(self.transaction_timeout_ms, self.request_timeout_ms) * 2 / 3 / 1000


class TopicSettings(Section):
    """Names of the topics; `prefix` goes in front of each. None: nothing is written, and none is needed."""

    prefix: str = Field("", description="Goes in front of every topic's name.")
    events: str = Field("run-events", description="The input: run status events.")
    state: str = Field("run-state", description="The latest state of each run.")
    transitions: str = Field("run-transitions", description="Every applied change of status.")
    verdicts: str | None = Field("run-verdicts", description="What became of events that changed no status.")
    measurements: str = Field("run-measurements", description="From the first stage to the second; not for others.")
    windows: str = Field("run-windows", description="The state of open windows; not for others.")
    metrics: str = Field("run-metrics", description="Sums over windows, by assistant and model.")
    alerts: str = Field("run-alerts", description="Alerts that fire and resolve.")
    instances: str | None = Field("run-instances", description="What each instance reports of itself.")
    dead_letters: str = Field("run-events-dlq", description="Input records that could not be used.")

    @field_validator("*")
    @classmethod
    def _legal(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9._-]{0,249}", name):
            raise ValueError("a topic's name is made of letters, digits, dot, _ and -")
        return name

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [*self.by_role().values()]
        if len(set(names)) < len(names):
            message = "two topics have the same name: give each its own"
            raise ValueError(message)
        return self

    def named(self) -> Self:
        """Return the names with the prefix put in front, once."""
        names = {role: self.prefix + name for role, name in self.by_role().items()}
        return self.model_copy(update={**names, "prefix": ""})

    def needed(self) -> Self:
        """Return the names without those of topics that the service goes on without."""
        return self.model_copy(update={"instances": None})

    def by_role(self) -> dict[str, str]:
        """Return the names of the topics that are used, by what they are for."""
        roles = (role for role in type(self).model_fields if role != "prefix")
        return {role: name for role in roles if (name := getattr(self, role)) is not None}


class DeadLetterSettings(Section):
    """How many records may be rejected before a partition waits, or stops. None: as many as there are."""

    max_per_minute: int | None = Field(
        None,
        ge=1,
        description="Rejections a minute of each cause and partition; the next one waits, with what is behind it.",
    )
    max_per_minute_of: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="The same for single causes, such as `undecodable`; goes before max_per_minute."
    )
    stop_percent: float | None = Field(
        None,
        ge=0,
        lt=100,
        description=(
            "Percentage of a partition's records of a minute that may be rejected; above it, the partition stops until "
            "`streamproc offsets resume`, a restart, or a move to another instance."
        ),
    )
    stop_min_records: int = Field(100, ge=1, description="Records in a minute below which stop_percent does not count.")


class StateSettings(Section):
    """Where runs' payloads are, and snapshots. All partitions of an instance share the limits."""

    memory_bytes: int = Field(
        134_217_728, ge=65_536, description="Payloads in memory; beyond it they are kept in a file, compressed."
    )
    max_disk_bytes: int | None = Field(
        None,
        ge=1_048_576,
        description="Largest size of that file; beyond it partitions wait (`state_full`). Unset: the disk's size.",
    )
    directory: str | None = Field(
        None,
        description=(
            "Directory of the state's snapshots, so that a start reads only what came after; copies that may be lost. "
            "Unset: no snapshots, and payloads that do not fit into memory are in the system's temporary directory."
        ),
    )
    snapshot_interval_s: float = Field(60, gt=0, description="How old a snapshot may be, where there is a directory.")


class CommitSettings(Section):
    """When a transaction is committed: at most once in `interval_ms`, unless there is more at hand than one holds."""

    interval_ms: int = Field(
        55,
        ge=1,
        le=10_000,
        description="Shortest time between two commits under load; an event on a quiet stream is committed at once.",
    )
    max_records: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Most input records in one commit, of all partitions of the instance together.",
    )
