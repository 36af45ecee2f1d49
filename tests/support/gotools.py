"""Programs that are Go modules, and what else is in such: built or taken over once, then kept in the user's cache.

`python -m tests.support.gotools` makes all of it.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.caching import Unfetchable, cache_root, cached

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
    """Return one of the programs; where there is no way to it, skip the test."""
    return _or_skip(find(name))


def definitions(name: str) -> Path:
    """Return the directory of an operator's CustomResourceDefinitions; where there is no way to it, skip the test."""
    return _or_skip(find(name))


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


@cache
def find(name: str) -> Path | str:
    """Return what is kept of a program or of definitions, made where it has to be, or why there is none."""
    is_program = name in PROGRAMS
    part = PROGRAMS[name] if is_program else CRDS[name]
    kept = f"go-{name}-{part.version}" + (f"-{platform.machine()}" if is_program else "")
    try:
        made = cached(kept, lambda scratch: _build(name, part, scratch) if is_program else _copy(part, scratch))
    except Unfetchable as reason:
        return f"the chart is not checked with {name}: {reason}"
    return made / name if is_program else made


def _or_skip(found: Path | str) -> Path:
    if isinstance(found, str):
        pytest.skip(found)
    return found


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
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            ["go", *arguments],
            cwd=directory,
            env=environment,
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


if __name__ == "__main__":
    missing = [found for found in map(find, (*PROGRAMS, *CRDS)) if isinstance(found, str)]
    print("\n".join(missing) or "Helm and what checks the chart is built.")
    sys.exit(bool(missing))
