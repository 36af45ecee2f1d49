"""/metrics as Prometheus' own tools see it."""

import pytest

from streamproc.core.lifecycle import ASSISTANTS
from streamproc.observe.metrics import MetricsObserver
from tests.support import prometheus as prom
from tests.support.exposed import Exposed


def at_work():
    it = Exposed()
    it.work()
    return it.metrics


@pytest.mark.parametrize("observer", [lambda: MetricsObserver(ASSISTANTS), at_work], ids=["fresh", "at work"])
async def test_promtool_finds_nothing_wrong_with_the_metrics(observer):
    body, _ = await observer().exposition("")
    code, said = prom.run("promtool", "check", "metrics", stdin=body)
    assert (code, said) == (0, "")
