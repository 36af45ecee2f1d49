"""The workflows that a fork has: what they run is pinned, and none may do more than its job takes."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.support.gotools import Part, tool

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]
ACTIONLINT = Part("github.com/rhysd/actionlint", "v1.7.12", "cmd/actionlint")
DEPENDABOT = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())


def test_there_is_one_for_each_stage():
    """Lint, test, build, sign; and the wheels."""
    assert {"checks", "image", "wheels"} <= WORKFLOWS.keys()
    assert {"lint", "test", "vulnerabilities", "image"} <= WORKFLOWS["checks"]["jobs"].keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_action_is_pinned_by_commit_and_says_of_which_release(file):
    uses = re.findall(r"^\s*- uses: (.+)$|^\s+uses: (.+)$", file.read_text(), re.MULTILINE)
    assert uses
    for action in (first or second for first, second in uses):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


def test_an_action_is_the_same_commit_everywhere():
    pinned = {}
    for action, commit in re.findall(r"uses: ([\w./-]+)@(\w+)", "".join(file.read_text() for file in FILES)):
        pinned.setdefault(action, set()).add(commit)
    assert {action: commits for action, commits in pinned.items() if len(commits) > 1} == {}


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_a_job_has_no_more_rights_than_it_names(workflow, job):
    about = WORKFLOWS[workflow]["jobs"][job]
    assert WORKFLOWS[workflow]["permissions"] in ({}, {"contents": "read"})
    writes = {right for right, how in about.get("permissions", {}).items() if how == "write"}
    assert writes <= {"packages", "id-token", "attestations"}
    if writes:
        # Signing and publishing: only what was tagged, in an environment that may ask somebody.
        assert about["environment"]
        assert workflow == "image" or about["if"] == "github.ref_type == 'tag'"


def test_nothing_is_signed_but_what_was_tagged():
    assert WORKFLOWS["image"][True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    assert not any("pull_request_target" in file.read_text() for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_none_needs_a_secret(file):
    """Rule: the run's own token and identity are enough, so a fork has nothing to set but a name."""
    assert "secrets." not in file.read_text()


def test_what_a_workflow_names_is_there():
    text = "".join(file.read_text() for file in FILES)
    for name in re.findall(r"\b(?:tests|deploy|requirements|native|\.ci)/[\w./]+\w", text):
        assert (ROOT / name).exists(), name


def test_zizmor_finds_nothing():
    zizmor = Path(sysconfig.get_path("scripts"), "zizmor")
    command = [zizmor, "--offline", "--quiet", "--no-progress", ROOT / ".github"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing():
    done = subprocess.run(
        [tool("actionlint", ACTIONLINT), *FILES], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_each_kind_of_pin_is_looked_after():
    kept = {update["package-ecosystem"]: update["directory"] for update in DEPENDABOT["updates"]}
    assert kept == {"github-actions": "/", "docker": "/", "docker-compose": "/deploy", "cargo": "/native"}
    for directory in kept.values():
        assert (ROOT / directory.lstrip("/")).is_dir()
