"""What looks at the chart: programs in Go, and operators' definitions.

Building takes minutes and 1 GB of Go's own cache, so no test does: `charttools` does when it is asked to.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import gotools
from tests.support.caching import cache_root
from tests.support.gotools import Part

BY = "python -m tests.support.charttools"
RUN_S = 300


PROGRAMS = {
    "helm": Part("helm.sh/helm/v3", "v3.22.0", "cmd/helm"),
    "helm-docs": Part("github.com/norwoodj/helm-docs", "v1.14.2", "cmd/helm-docs"),
    "helm-unittest": Part("github.com/helm-unittest/helm-unittest", "v1.1.2", "cmd/helm-unittest"),
    "kube-score": Part("github.com/zegl/kube-score", "v1.20.0", "cmd/kube-score"),
    "kubeconform": Part("github.com/yannh/kubeconform", "v0.8.0", "cmd/kubeconform"),
    "kustomize": Part("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1", "."),
}
CRDS = {
    "prometheus-operator": Part(
        "github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd"
    ),
    "keda": Part("github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases"),
}


def program(name: str) -> Path:
    """Return one of the programs; skips the test where it was not built."""
    return _place(name, PROGRAMS[name]) / name


def definitions(name: str) -> Path:
    """Return the directory of an operator's CustomResourceDefinitions; skips the test where it was not made."""
    return _place(name, CRDS[name])


def make(name: str) -> None:
    """Build a program, or copy definitions, where that was not done before; raises Unfetchable."""
    if name in PROGRAMS:
        gotools.built(name, PROGRAMS[name])
    else:
        gotools.copied(name, CRDS[name])


def run(name: str, *arguments: str | Path, stdin: str | None = None) -> tuple[int, str, str]:
    """Run a program, without a user's files; return its exit code, what it printed and what it complained of."""
    home = cache_root() / "go-home"
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [program(name), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
        env={"PATH": os.defpath, "HOME": str(home)},
    )
    return done.returncode, done.stdout, done.stderr


def _place(name: str, part: Part) -> Path:
    place = cache_root() / gotools.kept(name, part)
    if not place.is_dir():
        pytest.skip(f"the chart is not checked: no {name}; `{BY}` makes it, where there is Go")
    return place
