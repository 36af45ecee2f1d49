"""The Helm chart: taken by whatever reads it, without a cluster. Skipped where charttools was not run."""

import json
import re
import tarfile
import tomllib

import pytest
import yaml

from tests.support import chart, helmtools, kubernetes
from tests.support import prometheus as prom

EVERYTHING = chart.CHART / "ci" / "everything-values.yaml"
SWITCHED_OFF = chart.CHART / "ci" / "off-values.yaml"
GRAFANA = chart.ROOT / "deploy" / "grafana" / "streamproc.json"
RUNBOOKS = "https://runbooks.streamproc.example"
NOT_HELD = {
    "--ignore-container-cpu-limit": "an instance uses one core; a limit would only throttle it",
    "--ignore-test=container-image-pull-policy": "an image is named by a version or a digest",
    "--ignore-test=statefulset-has-host-podantiaffinity": "topologySpreadConstraints keep instances apart",
    "--ignore-test=deployment-has-host-podantiaffinity": "as above",
}
"""What kube-score asks for in vain, and why."""


def of(path):
    return path.name


def test_its_version_is_the_projects():
    project = tomllib.loads((chart.ROOT / "pyproject.toml").read_text())["project"]
    assert chart.about()["appVersion"] == project["version"]


def test_the_oldest_kubernetes_that_it_says_it_is_for_is_the_oldest_that_it_is_checked_with():
    assert chart.about()["kubeVersion"] == f">={kubernetes.VERSIONS[0]}-0"


@pytest.mark.parametrize("values", chart.VALUES, ids=of)
def test_helm_lint_finds_nothing(values):
    code, said, _ = helmtools.run("helm", "lint", "--strict", "--quiet", chart.CHART, "--values", values)
    assert code == 0, said


@pytest.mark.parametrize("version", kubernetes.VERSIONS)
@pytest.mark.parametrize("values", chart.VALUES, ids=of)
def test_kubernetes_takes_each_object(values, version):
    """Strictly: a field that is misspelt would be dropped in silence."""
    assert kubernetes.refusals(chart.text("--values", values), version) == []


@pytest.mark.parametrize("kind", ["StatefulSet", "ServiceMonitor", "PrometheusRule", "ScaledObject"])
def test_what_is_misspelt_would_be_noticed(kind):
    """Else the test before holds nothing, as where an operator's schema is open."""
    made = chart.one(chart.objects("--values", EVERYTHING), kind)
    (said,) = kubernetes.refusals(yaml.safe_dump({**made, "spec": {**made["spec"], "misspelt": 1}}))
    assert kind in said
    assert "misspelt" in said


@pytest.mark.parametrize("values", [each for each in chart.VALUES if each != SWITCHED_OFF], ids=of)
def test_kube_score_finds_nothing(values):
    assert complaints(values) == set()


def test_kube_score_finds_what_is_switched_off():
    found = complaints(SWITCHED_OFF)
    assert {said for said in found if re.search("NetworkPolicy|PodDisruptionBudget", said)}
    assert {
        said for said in found if not re.search("NetworkPolicy|PodDisruptionBudget|low (user|group) ID", said)
    } == set()


def complaints(values):
    _, said, _ = helmtools.run(
        "kube-score", "score", "--output-format=ci", *NOT_HELD, "-", stdin=chart.text("--values", values)
    )
    assert "[OK]" in said
    return {line for line in said.splitlines() if line.startswith(("[CRITICAL]", "[WARNING]"))}


def test_its_own_tests_pass():
    code, said, _ = helmtools.run("helm-unittest", "--strict", chart.CHART)
    assert code == 0, said


def test_the_rules_are_those_of_prometheus():
    """Rule: they have one source. Only the runbooks' address is a value."""
    made = chart.one(chart.objects("--values", EVERYTHING), "PrometheusRule")
    instead = chart.said_by(EVERYTHING)["prometheusRule"]["runbooksUrl"]
    texts = [path.read_text().replace(RUNBOOKS, instead) for path in sorted(prom.shipped_rules())]
    assert made["spec"]["groups"] == [group for text in texts for group in yaml.safe_load(text)["groups"]]


def test_the_runbooks_are_where_the_rules_say_they_are():
    assert chart.values()["prometheusRule"]["runbooksUrl"] == RUNBOOKS
    assert any(RUNBOOKS in path.read_text() for path in prom.shipped_rules())


def test_promtool_takes_the_rendered_rules(tmp_path):
    made = chart.one(chart.objects("--values", EVERYTHING), "PrometheusRule")
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(made["spec"]))
    code, said = prom.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)
    assert code == 0, said


def test_the_dashboard_is_grafanas():
    data = [each.get("data", {}) for each in chart.objects("--values", EVERYTHING)]
    (dashboard,) = (each["streamproc.json"] for each in data if "streamproc.json" in each)
    assert json.loads(dashboard) == json.loads(GRAFANA.read_text())


def test_a_package_has_the_files_themselves_and_no_link(tmp_path):
    """In the project they are links, so that there is one source; whoever gets the package has no project."""
    code, _, said = helmtools.run("helm", "package", chart.CHART, "--destination", tmp_path)
    assert code == 0, said
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        assert all(member.isfile() for member in archive.getmembers())
        names = {name.partition("/")[2] for name in archive.getnames()}
        shipped = {f"files/rules/{path.name}" for path in prom.shipped_rules()} | {"files/streamproc.json"}
        assert shipped <= names
        assert not {name for name in names if name.startswith(("ci/", "tests/"))}
        dashboard = archive.extractfile("streamproc/files/streamproc.json").read()
    assert dashboard == GRAFANA.read_bytes()
