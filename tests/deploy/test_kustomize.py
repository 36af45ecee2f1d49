"""The Kustomize base: what the chart renders; and an overlay of it, as an example."""

import pytest
import yaml

from streamproc.settings.loading import load_settings
from streamproc.settings.service import PREFIX
from tests.support import chart, chartfiles, helmtools, kubernetes

EXAMPLE = chartfiles.KUSTOMIZE / "overlays" / "example"


def test_what_is_made_of_the_chart_is_up_to_date():
    """Else: python -m tests.support.chartfiles."""
    assert chartfiles.stale() == []


@pytest.mark.parametrize("directory", ["base", "overlays/example"])
def test_kubernetes_takes_what_kustomize_builds(directory):
    assert kubernetes.refusals(built(directory)) == []


def built(directory):
    code, made, said = helmtools.run("kustomize", "build", chartfiles.KUSTOMIZE / directory)
    assert code == 0, said
    return made


def test_the_overlay_changes_service_and_console_alike(monkeypatch):
    made = [*yaml.safe_load_all(built("overlays/example"))]
    for kind, component in (("StatefulSet", "processor"), ("Deployment", "console")):
        workload = chart.one(made, kind, component)
        assert (
            workload["metadata"]["namespace"]
            == yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())["namespace"]
        )
        assert "@sha256:" in chart.container(workload)["image"]
        names = [each["name"] for each in chart.container(workload)["env"]]
        assert len(set(names)) == len(names)
        with monkeypatch.context() as context:
            for name, value in chart.variables(workload).items():
                assert name.startswith(PREFIX)
                context.setenv(name, "secret" if value is None else value)
            assert load_settings().kafka.security_protocol == "SASL_SSL"
    ports = [each["port"] for each in chart.one(made, "NetworkPolicy")["spec"]["egress"][1]["ports"]]
    assert [str(port) for port in ports] == [address.rpartition(":")[2] for address in ["kafka-1:9094"]]
