"""The settings of the state, and where its files are."""

from pathlib import Path

import pytest

from streamproc.runtime.config import StateSettings
from streamproc.runtime.stored import store_settings
from streamproc.store.store import UNBOUNDED


def test_without_a_directory_nothing_lasts() -> None:
    assert store_settings(StateSettings(), "app", "run-events").lasting is None


def test_without_a_limit_a_disk_is_used_as_far_as_it_goes() -> None:
    assert store_settings(StateSettings(), "app", "run-events").disk_bytes == UNBOUNDED
    assert store_settings(StateSettings(max_disk_bytes=10**9), "app", "run-events").disk_bytes == 10**9


@pytest.mark.parametrize("application_id", ["app", "..", ".", "a.b"])
def test_each_application_and_partition_has_a_file_of_its_own(tmp_path: Path, application_id: str) -> None:
    """Below the directory, whatever the application is called."""
    lasting = store_settings(StateSettings(directory=str(tmp_path)), application_id, "run-events").lasting
    assert lasting is not None
    disks = [lasting(0), lasting(1)]
    files = sorted(tmp_path.glob("*/*.db"))
    assert [file.name for file in files] == ["run-events-0.db", "run-events-1.db"]
    assert {file.parent.name for file in files} == {f"{application_id}.state"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in files), "payloads are nobody else's business"
    for disk in disks:
        disk.close()
