"""SECURITY.md claims nothing by a test, a rule, a setting or an alert that there is not."""

import re
from pathlib import Path

import pytest

from streamproc.settings.service import PREFIX, Settings
from tests.support import prometheus as prom

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()
RULES = set(re.findall(r"^(\d+)\. \*\*", (ROOT / "docs/rules.md").read_text(), re.MULTILINE))


def test_each_test_and_file_exists():
    named = set(re.findall(r"`((?:tests|docs|\.github)/[\w./-]+)`", TEXT))
    assert len(named) > 30
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_each_rule_exists():
    cited = {number for text in re.findall(r"rules? (\d+(?: and \d+)?)", TEXT) for number in text.split(" and ")}
    assert cited
    assert cited <= RULES


@pytest.mark.parametrize("setting", sorted(set(re.findall(rf"{PREFIX}(\w+__\w+)", TEXT))))
def test_each_setting_exists(setting):
    section, name = setting.lower().split("__")
    assert name in type(Settings.model_fields[section].default).model_fields


def test_each_alert_exists():
    cited = set(re.findall(r"Streamproc[A-Z]\w+", TEXT))
    assert cited
    assert cited <= {alert["alert"] for alert in prom.rules("alert")}


def test_each_link_leads_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists() if path else anchor in headings, target
