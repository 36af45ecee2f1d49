"""The examples of settings are taken by the programs that they are for, and fit the rules."""

import re
from pathlib import Path

import pytest
import yaml

from streamproc.console.access import Access
from streamproc.errors import ConfigError
from streamproc.local.prometheus import CONSOLE_JOB, JOB
from streamproc.settings.loading import load_settings
from tests.support import prometheus as prom

DEPLOY = prom.ROOT / "deploy"
PROMETHEUS = prom.PROMETHEUS / "prometheus.yml"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"
ROUTING = yaml.safe_load(ALERTMANAGER.read_text())
NAMES = {alert["alert"] for alert in prom.rules("alert")}


def route(*labels):
    code, said = prom.run("amtool", "config", "routes", "test", "--config.file", ALERTMANAGER, *labels)
    assert code == 0, said
    return said.splitlines()[-1]


def test_promtool_takes_the_prometheus_example():
    code, said = prom.run("promtool", "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS)
    assert code == 0, said
    assert f"{len(prom.shipped_rules())} rule files found" in said


def test_prometheus_scrapes_under_the_name_that_the_rules_ask_for():
    jobs = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    asked_for = {name for rule in prom.rules("alert") for name in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert {job["job_name"] for job in jobs} == asked_for == {JOB, CONSOLE_JOB}


def test_prometheus_finds_composes_console_where_it_listens():
    jobs = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]}
    (found,) = jobs[CONSOLE_JOB]["dns_sd_configs"]
    (name,) = found["names"]
    console = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][name]
    assert found["port"] == load_settings().console.port
    assert [port.split(":")[-1] for port in console["ports"]] == [str(found["port"])]


def test_amtool_takes_the_alertmanager_example():
    code, said = prom.run("amtool", "check-config", ALERTMANAGER)
    assert code == 0, said


def test_each_severity_has_its_receiver():
    receivers = [route(f"severity={severity}", "alertname=X") for severity in ("critical", "warning", "info")]
    assert receivers == ["pager", "chat", "journal"]


def test_inhibition_names_alerts_that_there_are():
    """Both what silences and what is silenced."""
    for rule in ROUTING["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if found := re.fullmatch(r'alertname(=~?)"(.*)"', matcher):
                for pattern in alternatives(found[2]):
                    assert any(re.fullmatch(pattern, name) for name in NAMES), pattern


def test_compose_starts_each_program_with_files_that_there_are_and_under_the_names_of_the_examples():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    monitoring = {name: service for name, service in services.items() if "monitoring" in service.get("profiles", [])}
    assert set(monitoring) == {"prometheus", "alertmanager", "grafana"}
    for service in monitoring.values():
        for volume in service["volumes"]:
            assert (DEPLOY / volume.split(":")[0]).exists()
    scraped, told = (host for host, _ in re.findall(r"targets: \[(\w+):(\d+)\]", PROMETHEUS.read_text()))
    assert {scraped, told} <= set(services)


def test_compose_lets_only_this_machine_reach_anything():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_composes_console_is_for_whoever_has_a_token_and_no_token_is_in_the_repository(monkeypatch):
    """Rule: without tokens it does not start; their file is made by who runs it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    console = compose["services"]["console"]
    for name, value in console["environment"].items():
        if value is not None:  # None: as it is where compose is run
            monkeypatch.setenv(name, value)
    settings = load_settings().console
    (secret,) = console["secrets"]
    assert settings.tokens_file == Path("/run/secrets") / secret
    with pytest.raises(ConfigError, match=str(settings.tokens_file)):
        Access(settings)
    with pytest.raises(ConfigError, match="open to everybody"):
        Access(settings.model_copy(update={"tokens_file": None}))
    tokens = Path("deploy", compose["secrets"][secret]["file"])
    assert tokens.as_posix() in (prom.ROOT / ".gitignore").read_text().splitlines()


def alternatives(pattern):
    """Split `a(b|c)d` into abd and acd."""
    before, choice, after = re.fullmatch(r"([^(]*)\(?([^()]*)\)?(.*)", pattern).groups()
    return [before + one + after for one in choice.split("|")]
