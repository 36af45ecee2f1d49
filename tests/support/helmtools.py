"""Programs that are Go modules, and what else is in such, in the user's cache.

Building takes minutes and 1 GB of Go's own cache, so no test does: `charttools` does when it is asked to.
"""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.caching import Unfetchable, cache_root, cached

BY = "python -m tests.support.charttools"
BUILD_S = 1_800
RUN_S = 300


class Part(NamedTuple):
    """Of a module in a version: a package to be built, or a directory to be copied."""

    module: str
    version: str
    path: str


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
        cached(_kept(name, PROGRAMS[name]), lambda scratch: _build(name, PROGRAMS[name], scratch))
    else:
        cached(_kept(name, CRDS[name]), lambda scratch: _copy(CRDS[name], scratch))


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
    place = cache_root() / _kept(name, part)
    if not place.is_dir():
        pytest.skip(f"the chart is not checked: no {name}; `{BY}` makes it, where there is Go")
    return place


def _kept(name: str, part: Part) -> str:
    return f"go-{name}-{part.version}-{platform.machine()}"


def _build(name: str, part: Part, scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    # Inside of the module and not by `go install`, which takes none that replaces another one.
    _go(_source(part), "build", "-buildvcs=false", "-ldflags=-s -w", "-o", str(made / name), f"./{part.path}")
    return made


def _copy(part: Part, scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    for file in (_source(part) / part.path).glob("*.yaml"):
        shutil.copyfile(file, made / file.name)
    return made


def _source(part: Part) -> Path:
    said = _go(cache_root(), "mod", "download", "-json", f"{part.module}@{part.version}")
    return Path(json.loads(said)["Dir"])


def _go(directory: Path, *arguments: str) -> str:
    if not shutil.which("go"):
        raise Unfetchable("there is no go to build it")
    # `off`: an older Go says so, instead of fetching a newer one.
    fixed = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            ["go", *arguments],
            cwd=directory,
            env={**os.environ, **fixed},
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unfetchable(f"go {arguments[0]} took more than {BUILD_S} s") from None
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unfetchable(f"go {arguments[0]} failed: {why[-1][:300] if why else done.returncode}")
    return done.stdout
