"""A newcomer's environment."""

import os

import pytest

from tests.support.ports import default_ports


@pytest.fixture
def environment(tmp_path):
    """Of a newcomer: no settings; and a directory for temporary files that shows what is left behind."""
    (tmp_path / "tmp").mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STREAMPROC_")}
    with default_ports():
        yield {**kept, "TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def on_broker(environment, kafka_bootstrap):
    return {**environment, "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap}
