"""compose.yaml confines what it starts, and compose's own parser takes it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from streamproc.settings.loading import load_settings
from streamproc.settings.service import Settings
from tests.support import apicurio
from tests.support.gotools import Part, tool

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy/compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES = COMPOSE["services"]
OURS = {"topics", "streamproc", "console"}
WRITE_TO_THEIR_ROOT = {"kafka", "registry"}
"""By others' scripts; compose.yaml says of each why."""
PARSER = Part("github.com/compose-spec/compose-go/v2", "v2.10.0", "cmd")
UNITS = {"m": 2**20, "g": 2**30}


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_bounded_and_may_gain_nothing(service):
    about = SERVICES[service]
    assert about["cap_drop"] == ["ALL"]
    assert about["security_opt"] == ["no-new-privileges:true"]
    assert octets(about["mem_limit"]) <= 2**31
    assert 0 < about["pids_limit"] <= 1_000
    assert not {"cap_add", "privileged", "network_mode", "pid", "devices"} & about.keys()


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - WRITE_TO_THEIR_ROOT))
def test_its_root_is_read_only_and_what_it_may_write_to_is_bounded(service):
    """Rule: a tmpfs is memory, so it has to fit into the service's."""
    about = SERVICES[service]
    assert about["read_only"] is True
    sizes = [re.fullmatch(r"/[\w/]+:size=(\w+)", place) for place in about.get("tmpfs", [])]
    assert all(sizes)
    assert sum(octets(size[1]) for size in sizes) <= octets(about["mem_limit"]) // 2


@pytest.mark.parametrize("service", sorted(OURS - {"topics"}))
def test_a_health_check_is_the_images_own(service):
    asked = SERVICES[service].get("healthcheck", {}).get("test", ["CMD", "python", "-m", "streamproc.healthcheck"])
    assert asked[:4] == ["CMD", "python", "-m", "streamproc.healthcheck"]
    assert asked[4:] == (["console"] if service == "console" else [])


def test_what_is_not_the_service_has_a_profile():
    profiles = {name: about.get("profiles") for name, about in SERVICES.items()}
    assert {name for name, of in profiles.items() if of is None} == {"kafka", "topics", "streamproc"}
    assert (profiles["registry"], profiles["console"]) == (["registry"], ["console"])


def test_the_registry_is_the_one_that_is_tested_and_is_found_where_the_file_says(monkeypatch):
    assert SERVICES["registry"]["image"].endswith(f":{apicurio.VERSION}")
    (url,) = re.findall(r"STREAMPROC_REGISTRY__URL=(\S+)", FILE.read_text())
    assert url == f"http://registry:8080{apicurio.API}"
    for service in OURS:
        assert SERVICES[service]["environment"]["STREAMPROC_REGISTRY__URL"] is None
    monkeypatch.setenv("STREAMPROC_REGISTRY__URL", url)
    assert load_settings().registry.url == (url,)


def test_memory_is_enough_for_what_the_service_keeps_by_its_defaults():
    """Rule: the state's payloads in memory and 500 B for each of 500,000 runs are at most half of it."""
    kept = Settings.model_fields["state"].default.memory_bytes + 500 * 500_000
    assert 2 * kept <= octets(SERVICES["streamproc"]["mem_limit"])


def test_composes_own_parser_takes_it():
    command = [tool("compose-parser", PARSER), FILE.name]
    done = subprocess.run(command, cwd=FILE.parent, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)["services"]
    assert found.keys() == SERVICES.keys()
    assert found["grafana"]["security_opt"] == ["no-new-privileges:true"]


def octets(size):
    """Of `512m`."""
    return int(size[:-1]) * UNITS[size[-1]]
