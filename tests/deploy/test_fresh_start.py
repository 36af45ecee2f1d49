"""No alert about a service that has just been started, whether or not anything comes."""

import re

import yaml

from streamproc.core.profiles import ASSISTANTS
from streamproc.core.state import State
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState
from tests.support import prometheus as prom
from tests.support.events import RULES
from tests.support.watched import watched_metrics

MINUTES = 600
SOURCES = [TopicPartition(topic, partition) for topic in ("run-events", "run-measurements") for partition in range(4)]


async def fresh(sources):
    """Return the metrics of an instance that runs these tasks and has got no event."""
    metrics = watched_metrics(ASSISTANTS)
    metrics.rebalanced(frozenset(sources))
    for source in sources:
        metrics.task_state(source, TaskState.RUNNING)
        metrics.running(source, State(RULES))
        metrics.caught_up(source)
    return (await metrics.exposition(""))[0].decode()


async def test_nothing_fires_within_ten_hours_of_nothing(tmp_path):
    """Three instances, one of them without partitions. Everything that is exported at the start, as it is then."""
    series = []
    for number, sources in enumerate((SOURCES[::2], SOURCES[1::2], [])):
        instance = f'job="streamproc",instance="i{number}"'
        series.append({"series": f"up{{{instance}}}", "values": f"1x{MINUTES}"})
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", await fresh(sources), re.MULTILINE):
            both = ",".join(filter(None, (labels, instance)))
            series.append({"series": f"{name}{{{both}}}", "values": f"{value}x{MINUTES}"})
    times = [1, 5, 15, 60, MINUTES]
    names = sorted({alert["alert"] for alert in prom.rules("alert")})
    checks = [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": []} for at in times for name in names]
    test = tmp_path / "fresh.yml"
    test.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(path) for path in prom.shipped_rules()],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": checks}],
            }
        )
    )
    code, said = prom.run("promtool", "test", "rules", test)
    assert code == 0, said
