"""Programs in Go, built of pinned modules into the user's cache; whatever has no Go does without."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.caching import Unfetchable, cached

BUILD_S = 600


def tool(module: str, version: str) -> Path:
    """Return the program that a module's package is, built where it is not yet; skips where there is no way to it."""
    name = f"go-{module.replace('/', '-')}-{version}"
    try:
        directory = cached(name, lambda scratch: _build(scratch, f"{module}@{version}"))
    except Unfetchable as reason:
        pytest.skip(str(reason))
    (program,) = directory.iterdir()
    return program


def _build(scratch: Path, package: str) -> Path:
    if not shutil.which("go"):
        raise Unfetchable(f"there is no Go to build {package} with")
    target = scratch / "bin"
    # Of the sources nothing is kept: they are a hundred times as large as the program.
    own = {"GOBIN": str(target), "GOMODCACHE": str(scratch / "modules"), "GOCACHE": str(scratch / "cache")}
    command = ["go", "install", "-modcacherw", package]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode:
        raise Unfetchable(f"{package} cannot be built: go {done.stderr.strip().splitlines()[-1]}")
    return target
