"""What is shipped says the same everywhere: lock files, wheel, container files."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from streamproc.settings.loading import load_settings
from streamproc.settings.service import PREFIX

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_lock_names_versions_and_hashes_but_no_place(lock):
    """Where packages come from is the installing machine's business."""
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)
    for requirement in text.replace("\\\n", "").splitlines():
        if not requirement.startswith("#"):
            assert re.match(r"[a-z0-9-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["local"]),
        ("dev", [group for group in PROJECT["dependency-groups"]["dev"] if isinstance(group, str)]),
        ("build", PROJECT["build-system"]["requires"]),
        ("sbom", PROJECT["dependency-groups"]["sbom"]),
    ],
    ids=["runtime", "local", "dev", "build", "sbom"],
)
def test_lock_satisfies_the_project_file(lock, wanted):
    """Else somebody changed pyproject.toml and did not run `make lock`."""
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / f"requirements/{lock}.lock").read_text(), re.MULTILINE))
    for requirement in map(Requirement, wanted):
        assert requirement.name in pins
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_locks_agree_on_versions():
    pins: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock.read_text(), re.MULTILINE):
            pins.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def build(target, directory):
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def test_sdist_ships_every_text(tmp_path):
    """What the code cites can be read where the code is."""
    build("sdist", tmp_path)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        shipped = {name.partition("/")[2] for name in sdist.getnames()}
    docs = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    texts = [*ROOT.glob("*.md"), *docs, *(ROOT / "deploy").rglob("*.md")]
    assert {text.relative_to(ROOT).as_posix() for text in texts} <= shipped


def test_wheel_ships_every_schema(tmp_path):
    build("wheel", tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("streamproc/schemas/")}
    assert shipped == {
        f"streamproc/schemas/{schema.name}": schema.read_bytes() for schema in (ROOT / "schemas").iterdir()
    }


def test_wheel_ships_every_page_and_what_it_loads(tmp_path):
    build("wheel", tmp_path)
    pages = ROOT / "streamproc/console/pages"
    files = [path for part in ("static", "templates") for path in (pages / part).rglob("*") if path.is_file()]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert {path.relative_to(ROOT).as_posix() for path in files} <= set(wheel.namelist())


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_compose_pins_images(service):
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(\.Final)?", COMPOSE["services"][service]["image"])


def test_compose_builds_the_version_of_this_project():
    assert COMPOSE["services"]["streamproc"]["image"] == f"streamproc:{PROJECT['project']['version']}"


@pytest.mark.parametrize("service", ["topics", "streamproc", "console"])
def test_compose_settings_are_accepted_and_name_a_kafka_listener(service, monkeypatch):
    for name, value in COMPOSE["services"][service]["environment"].items():
        if value is not None:  # None: as it is where compose is run
            monkeypatch.setenv(name, value)
    advertised = COMPOSE["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"PLAINTEXT://{load_settings().kafka.bootstrap_servers}" in advertised


def test_dockerfile_settings_are_accepted(monkeypatch):
    set_there = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    for name, value in set_there.items():
        monkeypatch.setenv(name, value)
    assert load_settings().http.host == "0.0.0.0"


def test_dockerfile_copies_only_what_the_build_context_lets_through():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source.split("/")[0] for line in copied for source in line.split()}
    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)
