"""The Helm chart, as Helm renders it."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support import helmtools
from tests.support.kubernetes import VERSIONS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "streamproc"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "streamproc"
Object = Mapping[str, Any]


def about() -> Object:
    """Return what Chart.yaml says."""
    return yaml.safe_load((CHART / "Chart.yaml").read_text())


def values() -> Object:
    """Return the values by default."""
    return yaml.safe_load((CHART / "values.yaml").read_text())


@cache
def text(*arguments: str | Path) -> str:
    """Return what `helm template` makes with these arguments."""
    code, made, said = template(*arguments)
    assert code == 0, said
    return made


def template(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `helm template`; return its exit code, what it made, and what it complained of."""
    return helmtools.run("helm", "template", RELEASE, CHART, "--kube-version", VERSIONS[-1], *arguments)


def objects(*arguments: str | Path) -> Sequence[Object]:
    """Return what `helm template` makes with these arguments, as objects."""
    return [each for each in yaml.safe_load_all(text(*arguments)) if each]


def one(made: Sequence[Object], kind: str, component: str = "processor") -> Object:
    """Return the only object of a kind and a component."""
    label = "app.kubernetes.io/component"
    (found,) = (each for each in made if each["kind"] == kind and each["metadata"]["labels"][label] == component)
    return found


def container(workload: Object) -> Object:
    """Return the only container of a StatefulSet, Deployment or Job."""
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return found


def variables(workload: Object) -> Mapping[str, str | None]:
    """Return the environment of the only container; None for what comes from elsewhere."""
    return {each["name"]: each.get("value") for each in container(workload)["env"]}


def said_by(path: Path) -> Object:
    """Return what a file of values says."""
    return yaml.safe_load(path.read_text())
