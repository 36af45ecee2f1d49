"""What the Dockerfile says; tests/deploy/test_image.py builds and runs it."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASES = [line for line in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if ":" in line]
STAGES = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))
LABELS = dict(re.findall(r"org\.opencontainers\.image\.(\w+)=\"([^\"]*)\"", DOCKERFILE))


def test_each_base_is_pinned_by_tag_and_digest_in_one_place():
    assert BASES
    for base in BASES:
        assert re.fullmatch(r"\w+:\d+\.\d+\.\d+-slim-trixie@sha256:[0-9a-f]{64}", base)
    others = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - set(BASES)
    assert others <= STAGES


def test_pythons_release_is_one_that_the_project_is_for():
    (release,) = [re.match(r"python:(\d+\.\d+)\.", base)[1] for base in BASES if base.startswith("python:")]
    assert f"Programming Language :: Python :: {release}" in PROJECT["classifiers"]


def test_labels_say_what_it_is_and_builds_say_which():
    assert LABELS["licenses"] == PROJECT["license"]
    assert {"title", "description", "version", "revision", "created", "source"} <= LABELS.keys()
    for name in ("version", "revision", "created", "source"):
        assert LABELS[name] == f"${name.upper()}"
        assert re.search(rf"^ARG {name.upper()}=", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^ARG VERSION=(.+)$", DOCKERFILE, re.MULTILINE) == [PROJECT["version"]]


def test_it_runs_as_nobody_in_particular_by_number():
    """Rule: an orchestrator that refuses root has to see from the image that it is none."""
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "10001:10001"


def test_whatever_is_installed_is_locked():
    """Rule: by hash, or built from what is copied; nothing by a package manager that takes what is newest."""
    installs = re.findall(r"pip\S*(?: --python \S+)? install (.+?)(?= \\| &&|$)", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 4
    for install in installs:
        assert install.startswith(("--require-hashes -r requirements/", "--no-deps --no-index dist/")), install
    assert not re.search(r"apt-get|curl|wget|^ADD ", DOCKERFILE, re.MULTILINE)


def test_hadolint_finds_nothing():
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    if not hadolint.exists():
        pytest.skip("no hadolint: it is no wheel for this platform")
    command = [hadolint, "--no-color", "--failure-threshold", "style", ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
