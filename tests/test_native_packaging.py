"""How the native codec is shipped: versions, licences, types, what builds it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support.licences import is_met

ROOT = Path(__file__).parents[1]
CRATE = ROOT / "native"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NATIVE = tomllib.loads((CRATE / "pyproject.toml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_both_distributions_have_one_version():
    """A wheel of another version is not used."""
    crate = tomllib.loads((CRATE / "Cargo.toml").read_text())["package"]
    assert crate["version"] == NATIVE["project"]["version"] == PROJECT["project"]["version"]
    assert crate["name"] == NATIVE["project"]["name"]


def test_one_maturin_builds_the_wheel_everywhere():
    assert set(NATIVE["build-system"]["requires"]) <= set(PROJECT["dependency-groups"]["build"])


def test_one_rust_builds_the_wheels_and_the_image():
    (image,) = re.findall(r"^FROM rust:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    (wheels,) = re.findall(r"--default-toolchain ([\d.]+)$", NATIVE["tool"]["cibuildwheel"]["before-all"])
    assert image == wheels


@pytest.mark.skipif(shutil.which("cargo") is None, reason="no cargo")
def test_every_crate_has_a_licence_that_is_allowed():
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
    found = subprocess.run(command, cwd=CRATE, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("the crates are not here")
    allowed = tomllib.loads((CRATE / "deny.toml").read_text())["licenses"]["allow"]
    crates = json.loads(found.stdout)["packages"]
    assert len(crates) > 1
    assert [f"{crate['name']}: {crate['license']}" for crate in crates if not is_met(crate["license"], allowed)] == []


@pytest.mark.parametrize(
    ("licence", "met"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("(MIT OR GPL-3.0-only) AND Zlib", False),
        ("MIT WITH Some-exception", False),
        (None, False),
    ],
)
def test_licences_are_read_as_spdx_has_them(licence, met):
    assert is_met(licence, ["MIT"]) is met


def test_the_stub_says_what_the_wheel_has(tmp_path):
    """Types are checked without the wheel; so they are held against it where it is."""
    pytest.importorskip("streamproc_native")
    # The module within the package that the wheel is.
    (tmp_path / "allowed").write_text(r"streamproc_native\.streamproc_native")
    command = [sys.executable, "-m", "mypy.stubtest", "streamproc_native", "--allowlist", str(tmp_path / "allowed")]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("action", [step["uses"] for step in STEPS if "uses" in step])
def test_the_workflow_pins_actions(action):
    assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)


def test_the_workflow_pins_what_builds():
    (command,) = [step["run"] for step in STEPS if "run" in step]
    assert re.search(r"cibuildwheel==\d+\.\d+\.\d+ ", command)


def test_only_a_tag_publishes_and_without_a_secret():
    """Trusted publishing: the job's identity is all that it shows."""
    publish = WORKFLOW["jobs"]["publish"]
    assert publish["if"] == "github.ref_type == 'tag'"
    assert publish["permissions"] == {"id-token": "write"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "secrets." not in (ROOT / ".github/workflows/wheels.yml").read_text()
