"""The shipped rules: checked by promtool, tested one by one, and each alert fit to be sent to a person."""

import re

import pytest
import yaml

from streamproc.console import metrics
from streamproc.core.alerts import kinds_of
from streamproc.core.profiles import ASSISTANTS, PROFILES
from streamproc.core.tally import ANOMALIES
from streamproc.errors import RejectionReason
from streamproc.notify.naming import alert_name
from streamproc.observe import names
from streamproc.observe.runmetrics import deadline_kinds
from tests.support import prometheus as prom

RUNBOOKS = prom.ROOT / "deploy" / "runbooks"
OVERVIEW = (prom.ROOT / "deploy" / "README.md").read_text()
RULE_FILES = sorted((prom.PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((prom.PROMETHEUS / "tests").glob("*.yml"))
ALERTS = prom.rules("alert")
RECORDS = prom.rules("record")
SEVERITIES = ("critical", "warning", "info")
TABLES = (names, metrics)
EXPORTED = {each.name for table in TABLES for each in vars(table).values() if isinstance(each, names.Metric)}


def of(rule):
    return rule.get("record") or f"{rule['alert']} {rule['labels']['severity']}"


def complaints(directory, name, change):
    """Return the alerts and records that the unit tests of one rule file complain of when its rules are changed."""
    for kind in ("rules", "tests"):
        (directory / kind).mkdir()
    for path in RULE_FILES:
        content = yaml.safe_load(path.read_text())
        if path.name == name:
            for group in content["groups"]:
                group["rules"] = [change(rule) for rule in group["rules"]]
        (directory / "rules" / path.name).write_text(yaml.safe_dump(content))
    tests = directory / "tests" / name
    tests.write_text((prom.PROMETHEUS / "tests" / name).read_text())
    _, said = prom.run("promtool", "test", "rules", tests)
    return set(re.findall(r'^ +(?:alertname: |expr: ")([\w:]+)', said, re.MULTILINE))


def never(rule):
    return {**rule, "expr": "vector(0) > 1"}


def always(rule):
    """Let the rule say the same where it says something, and something where it says nothing."""
    return {**rule, "expr": f"({rule['expr']}) or on () vector(1)"}


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_promtool_finds_nothing_wrong(path):
    code, said = prom.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)
    assert code == 0, said


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_the_unit_tests_pass(path):
    code, said = prom.run("promtool", "test", "rules", path)
    assert code == 0, said


def test_each_rule_file_has_its_unit_tests():
    assert [path.name for path in TEST_FILES] == [path.name for path in RULE_FILES]


@pytest.mark.parametrize("wrong", [never, always])
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_the_unit_tests_notice_each_alert_that_fires_never_or_always(path, severity, wrong, tmp_path):
    """So each alert has a case in which it fires, and one in which it does not."""
    changed = {rule["alert"] for rule in prom.rules("alert", path.name) if rule["labels"]["severity"] == severity}
    if changed:
        noticed = complaints(
            tmp_path, path.name, lambda rule: wrong(rule) if severity in rule.get("labels", {}).values() else rule
        )
        assert changed <= noticed


def test_the_unit_tests_miss_each_record_that_is_not_there(tmp_path):
    noticed = complaints(tmp_path, "recording.yml", lambda rule: never(rule) if "record" in rule else rule)
    assert {record["record"] for record in RECORDS} <= noticed


@pytest.mark.parametrize("alert", ALERTS, ids=of)
def test_an_alert_says_what_is_wrong_and_how_bad(alert):
    assert re.fullmatch(r"(Streamproc)([A-Z][a-z]+)+", alert["alert"])
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
    assert summary.endswith(".")
    assert "{{" not in summary, "one sentence for all alerts of a group"
    assert "$labels.job" in description


@pytest.mark.parametrize("alert", ALERTS, ids=of)
def test_an_alert_has_a_page_that_says_what_to_do(alert):
    name = alert["alert"]
    assert alert["annotations"]["runbook_url"].endswith(f"/{name}.md")
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
        "What it means",
        "What to look at",
        "What to do",
        "When it is harmless",
    ]


def test_the_overview_names_each_alert_with_its_severities_and_how_long_it_waits():
    listed = re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| ([^|]+) \| ([^|]+) \|$", OVERVIEW, re.MULTILINE)
    expected = {}
    for alert in ALERTS:
        severities, waits = expected.setdefault(alert["alert"], ([], []))
        severities.append(alert["labels"]["severity"])
        waits.append(alert.get("for", "at once"))
    assert {name: (severities, waits) for name, severities, waits in listed} == {
        name: (", ".join(severities), ", ".join(dict.fromkeys(waits))) for name, (severities, waits) in expected.items()
    }


def test_there_is_no_page_without_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("Streamproc*.md")} == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("kind", [*kinds_of(ASSISTANTS.documented)])
def test_what_the_service_pushes_itself_has_the_name_of_a_rule(kind):
    """A route, a silence and a page serve both ways."""
    assert alert_name(kind) in {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_deadline_of_every_profile_has_one_rule(profile):
    """Rule: no status of any profile, one's own among them, is stuck in silence, and none fires twice."""
    for kind in (*deadline_kinds(profile), "stuck_BLOCKED"):
        assert len([rule for rule in ALERTS if asks_for(rule, kind)]) == 1, kind


def asks_for(rule, kind):
    """Whether the rule selects a kind of deadline by name."""
    matchers = re.findall(r'kind(=|=~|!~)"([^"]*)"', rule["expr"])
    found = [bool(re.fullmatch(pattern, kind)) is (sign != "!~") for sign, pattern in matchers]
    return "runs_overdue" in rule["expr"] and bool(found) and all(found)


def test_a_name_and_a_severity_are_one_alert():
    assert len({of(alert) for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("record", RECORDS, ids=of)
def test_a_recorded_name_tells_its_labels_and_its_metric(record):
    level, metric, _ = record["record"].split(":")
    (by, *_) = re.findall(r"by \(([^)]*)\)", record["expr"])
    assert level.split("_") == by.split(", ")
    assert metric.startswith("streamproc_")


@pytest.mark.parametrize("rule", [*RECORDS, *ALERTS], ids=of)
def test_a_rule_asks_only_for_what_there_is(rule):
    known = EXPORTED | {record["record"] for record in RECORDS} | {f"{names.BUILD.name}_info"}
    for found in re.findall(r"\b(?:\w+:)?streamproc_\w+(?::\w+)?", rule["expr"]):
        assert found in known or re.sub(r"_(count|sum|bucket)$", "", found) in EXPORTED, found


def test_each_reason_for_a_dead_letter_has_its_advice():
    page = (RUNBOOKS / "StreamprocDeadLetterRateHigh.md").read_text()
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(RejectionReason)


@pytest.mark.parametrize("alert", ALERTS, ids=of)
def test_a_rule_selects_kinds_of_anomalies_that_are_counted(alert):
    for kinds in re.findall(r'run_anomalies_total\{kind=~?"([^"]+)"', alert["expr"]):
        assert set(kinds.split("|")) <= set(ANOMALIES)
