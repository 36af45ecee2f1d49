"""What the settings of the state mean for the store of payloads."""

from pathlib import Path

from streamproc.runtime.config import StateSettings
from streamproc.store.sqlite import SqliteDisk
from streamproc.store.store import UNBOUNDED, StoreSettings


def store_settings(state: StateSettings, application_id: str, topic: str) -> StoreSettings:
    """Return the limits, and where snapshots of the partitions of the input `topic` are: a file for each."""
    limits = state.memory_bytes, state.max_disk_bytes or UNBOUNDED
    if state.directory is None:
        return StoreSettings(*limits)
    directory = Path(state.directory) / f"{application_id}.state"
    return StoreSettings(*limits, lasting=lambda partition: SqliteDisk(directory / f"{topic}-{partition}.db"))
