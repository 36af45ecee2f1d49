"""What the chart's pods would run, run here: the job, then instances with the variables of the StatefulSet."""

import os

import pytest

from streamproc.settings.service import PREFIX
from tests.support import chart
from tests.support.commands import finished
from tests.support.service import NATIVE, Worker
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture
def rendered(kafka_bootstrap, unique):
    """The chart for the broker that is here."""
    name = unique("chart")
    return chart.objects(
        f"--set=settings.STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={kafka_bootstrap}",
        f"--set=settings.STREAMPROC_APPLICATION_ID={name},settings.STREAMPROC_TOPICS__PREFIX={name}-",
        "--set=topics.create=true,topics.replicationFactor=1,partitions=2,replicas=2",
    )


@pytest.fixture
def start(rendered, tmp_path):
    """Start the pod of a number; what is still there at the end is killed."""
    workers = []

    def it(number):
        workload = chart.one(rendered, "StatefulSet")
        state = tmp_path / f"state-{number}"
        its_own = {
            "KAFKA__GROUP_INSTANCE_ID": f"{workload['metadata']['name']}-{number}",
            # Here they share a machine.
            "HTTP__PORT": "0",
            "STATE__DIRECTORY": str(state),
        }
        workers.append(Worker(environment(workload, **its_own), tmp_path / f"log-{len(workers)}"))
        return workers[-1]

    yield it
    for worker in workers:
        worker.kill()


def environment(workload, **its_own):
    around = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name == NATIVE}
    missing = {name for name, value in chart.variables(workload).items() if value is None}
    assert missing <= {f"{PREFIX}{name}" for name in its_own}
    return {**around, **chart.variables(workload), **{f"{PREFIX}{name}": value for name, value in its_own.items()}}


async def test_instances_start_answer_the_probes_and_hand_over_in_time(rendered, start):
    """Rule: the topics of the job are those of the instances, whose probes pass; SIGTERM ends one by itself, with 0."""
    job = chart.one(rendered, "Job", "topics")
    code, said, complaints = finished(environment(job), *chart.container(job)["args"])
    assert (code, complaints) == (0, "")
    assert "created" in said
    first, second = start(0), start(1)
    for worker in (first, second):
        await eventually(worker.is_ready)
    it = chart.container(chart.one(rendered, "StatefulSet"))
    for kind in ("startup", "readiness", "liveness"):
        assert (await first.get(it[f"{kind}Probe"]["httpGet"]["path"]))[0] == 200
    assert first.stop() == 0
    again = start(0)
    await eventually(again.is_ready)
    assert [worker.stop() for worker in (again, second)] == [0, 0]
    assert not second.events("fenced")
