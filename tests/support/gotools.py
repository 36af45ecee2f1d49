"""Programs that are Go modules, and what else is in such, in the user's cache; whatever has no Go does without."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.caching import Unfetchable, cache_root, cached

BUILD_S = 1_800


class Part(NamedTuple):
    """Of a module in a version: a package to be built, or a directory to be copied."""

    module: str
    version: str
    path: str


def tool(name: str, part: Part) -> Path:
    """Return a program, built where it is not yet; skips the test where there is no way to it."""
    try:
        return built(name, part)
    except Unfetchable as reason:
        pytest.skip(str(reason))


def built(name: str, part: Part) -> Path:
    """Return a program, built where it is not yet; raises Unfetchable."""
    return cached(kept(name, part), lambda scratch: _build(name, part, scratch)) / name


def copied(name: str, part: Part) -> Path:
    """Return a directory of a module, copied where it is not yet; raises Unfetchable."""
    return cached(kept(name, part), lambda scratch: _copy(part, scratch))


def kept(name: str, part: Part) -> str:
    """Return under which name of the cache it is."""
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
