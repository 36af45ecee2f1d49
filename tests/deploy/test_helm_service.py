"""The Helm chart and the service fit together: settings, probes, grace, metrics, secrets."""

import re
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel, SecretStr
from starlette.testclient import TestClient

from streamproc.app import STOP_DEADLINE_S
from streamproc.errors import ConfigError
from streamproc.local.prometheus import CONSOLE_JOB, JOB
from streamproc.observe.http import application
from streamproc.settings.loading import load_settings
from streamproc.settings.service import PREFIX, Settings
from tests.support import chart
from tests.support import consoleapi as api
from tests.support.exposed import Exposed
from tests.support.watched import watched_health

EVERYTHING = chart.CHART / "ci" / "everything-values.yaml"
WORKLOADS = (("StatefulSet", "processor"), ("Deployment", "console"), ("Job", "topics"))
SECRET = "https://receiver.example/0123456789abcdef"
"""Fits every setting that comes from a secret."""


def workloads():
    """Return each of the chart's with every file of values."""
    for values in chart.VALUES:
        made = chart.objects("--values", values)
        kinds = {each["kind"] for each in made}
        for kind, component in WORKLOADS:
            if kind in kinds:
                yield values, chart.one(made, kind, component)


def settings_of(values, workload, monkeypatch, directory):
    """Load what the workload's process would."""
    for name, value in chart.variables(workload).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, SECRET if value is None else value)
    config = chart.said_by(values).get("config")
    if config is None:
        return load_settings()
    for name, text in {"streamproc.toml": config["toml"], **config["files"]}.items():
        (directory / name).write_text(text)
    return load_settings(directory / "streamproc.toml")


def test_each_setting_exists_and_is_taken(monkeypatch, tmp_path):
    """Rule: whatever the chart sets is a setting of the service, and together they are sound."""
    seen = set()
    for values, workload in workloads():
        with monkeypatch.context() as context:
            settings = settings_of(values, workload, context, tmp_path)
            assert settings.kafka.bootstrap_servers == chart.variables(workload)[f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS"]
            seen.add(workload["kind"])
    assert seen == {kind for kind, _ in WORKLOADS}


def test_a_file_of_settings_is_mounted_where_the_arguments_say_and_has_what_the_values_say():
    made = chart.objects("--values", EVERYTHING)
    maps = {each["metadata"]["name"]: each["data"] for each in made if each["kind"] == "ConfigMap"}
    config = chart.said_by(EVERYTHING)["config"]
    for kind, component in WORKLOADS:
        workload = chart.one(made, kind, component)
        it = chart.container(workload)
        directory, _, file = it["args"][-1].rpartition("/")
        (volume,) = (each["name"] for each in it["volumeMounts"] if each["mountPath"] == directory)
        (name,) = (
            each["configMap"]["name"]
            for each in workload["spec"]["template"]["spec"]["volumes"]
            if each["name"] == volume
        )
        assert {file: maps[name][file].strip()} == {file: config["toml"].strip()}
        assert maps[name].keys() == {file, *config["files"]}


def test_the_service_is_probed_and_scraped_where_it_answers(monkeypatch, tmp_path):
    made = chart.objects("--values", EVERYTHING)
    workload = chart.one(made, "StatefulSet")
    settings = settings_of(EVERYTHING, workload, monkeypatch, tmp_path)
    answers = TestClient(application(Exposed().metrics, watched_health()))
    it = chart.container(workload)
    paths = [it[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert paths == ["/startupz", "/readyz", "/livez"]
    assert [answers.get(path).status_code for path in paths] == [503, 503, 200]
    assert_one_port(made, "processor", it, settings.http.port)
    assert settings.http.host == "0.0.0.0"
    (endpoint,) = chart.one(made, "ServiceMonitor")["spec"]["endpoints"]
    assert "streamproc_build_info" in answers.get(endpoint["path"]).text


def test_the_console_is_probed_and_scraped_where_it_answers(monkeypatch, tmp_path):
    """Below its base path."""
    made = chart.objects("--values", EVERYTHING)
    workload = chart.one(made, "Deployment", "console")
    settings = settings_of(EVERYTHING, workload, monkeypatch, tmp_path).console
    answers = api.client(api.console(api.Reads(), base_path=settings.base_path))
    it = chart.container(workload)
    (endpoint,) = chart.one(made, "ServiceMonitor", "console")["spec"]["endpoints"]
    paths = [it[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert settings.base_path
    assert [answers.get(path).status_code for path in (*paths, endpoint["path"])] == [200] * 4
    assert_one_port(made, "console", it, settings.port)
    (rule,) = chart.one(made, "Ingress", "console")["spec"]["rules"]
    assert rule["http"]["paths"][0]["path"] == settings.base_path


def assert_one_port(made, component, it, number):
    """Everything goes by the port's name, which the container gives to the number that the process listens on."""
    assert it["ports"] == [{"name": "http", "containerPort": number}]
    assert {it[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {"http"}
    (port,) = chart.one(made, "Service", component)["spec"]["ports"]
    assert (port["name"], port["targetPort"]) == ("http", "http")
    assert chart.one(made, "ServiceMonitor", component)["spec"]["endpoints"][0]["port"] == "http"
    policy = chart.one(made, "NetworkPolicy", component)["spec"]
    assert [each["port"] for rule in policy["ingress"] for each in rule["ports"]] == ["http"]


def test_metrics_come_under_the_jobs_that_the_rules_ask_for():
    made = chart.objects("--values", EVERYTHING)
    jobs = []
    for component in ("processor", "console"):
        (endpoint,) = chart.one(made, "ServiceMonitor", component)["spec"]["endpoints"]
        jobs += [each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job"]
    assert jobs == [JOB, CONSOLE_JOB]


@pytest.mark.parametrize("component", ["processor", "console", "topics"])
def test_what_selects_pods_selects_those_of_one_component(component):
    made = chart.objects("--values", EVERYTHING)
    kind = {name: kind for kind, name in WORKLOADS}[component]
    labels = chart.one(made, kind, component)["spec"]["template"]["metadata"]["labels"]
    selectors = [
        *(each["spec"]["selector"] for each in of(made, "Service", component)),
        *(each["spec"]["podSelector"]["matchLabels"] for each in of(made, "NetworkPolicy", component)),
        *(each["spec"]["selector"]["matchLabels"] for each in of(made, "PodDisruptionBudget", component)),
        *(each["spec"]["selector"]["matchLabels"] for each in of(made, kind, component) if kind != "Job"),
    ]
    assert selectors
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert selector["app.kubernetes.io/component"] == component


def of(made, kind, component):
    label = "app.kubernetes.io/component"
    return [each for each in made if each["kind"] == kind and each["metadata"]["labels"][label] == component]


def test_the_grace_is_over_the_bound_in_which_the_process_ends():
    """Rule: nothing is killed that would have handed over by itself; the chart refuses less."""
    assert chart.values()["terminationGracePeriodSeconds"] > STOP_DEADLINE_S
    workload = chart.one(chart.objects(), "StatefulSet")
    assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > STOP_DEADLINE_S
    assert f"the {STOP_DEADLINE_S:g} s in which the service ends" in (chart.CHART / "values.yaml").read_text()
    code, _, said = chart.template("--set", f"terminationGracePeriodSeconds={int(STOP_DEADLINE_S)}")
    assert code != 0
    assert "terminationGracePeriodSeconds" in said


def test_variables_of_services_are_kept_out_since_nothing_would_start_with_them(monkeypatch):
    """Kubernetes makes STREAMPROC_SERVICE_HOST of a Service named streamproc."""
    for _, workload in workloads():
        assert workload["spec"]["template"]["spec"]["enableServiceLinks"] is False
    monkeypatch.setenv(f"{PREFIX}SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ConfigError, match="SERVICE_HOST"):
        load_settings()


def test_each_pod_keeps_to_the_restricted_standard_on_a_root_that_it_cannot_write():
    """Rule: every workload with every file of values, and no token of the cluster's in it."""
    for values, workload in workloads():
        pod = workload["spec"]["template"]["spec"]
        own = chart.container(workload)["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for context in (pod["securityContext"], own):
            assert context["runAsNonRoot"] is True
            assert context.get("runAsUser", 10_001) == context.get("runAsGroup", 10_001) == 10_001
        assert (own["allowPrivilegeEscalation"], own["privileged"]) == (False, False)
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume], values


def test_the_defaults_that_the_chart_repeats_are_the_services():
    assert chart.values()["state"]["memoryBytes"] == Settings().state.memory_bytes
    assert chart.values()["http"]["port"] == Settings().http.port
    assert chart.values()["console"]["port"] == Settings().console.port
    assert chart.values()["settings"][f"{PREFIX}APPLICATION_ID"] == Settings().application_id


def test_the_image_is_what_the_chart_takes_it_for():
    """It has the program as its entry point, since the chart gives arguments only, and a user of that number."""
    said = (chart.ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["streamproc"]' in said
    assert re.search(rf"^USER {chart.values()['uid']}\b", said, re.MULTILINE)
    assert "/var/lib/streamproc" in said


def test_the_topic_that_keda_asks_for_by_default_is_the_services():
    workload = chart.one(chart.objects("--set", "keda.enabled=true"), "ScaledObject")
    assert workload["spec"]["triggers"][0]["metadata"]["topic"] == Settings().topic_names.events


def secrets(section=Settings, prefix=PREFIX):
    """Yield the variables of all settings that are secrets."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        for kind in kinds:
            if kind is SecretStr:
                yield prefix + name.upper()
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secrets(kind, f"{prefix}{name.upper()}__")


@pytest.mark.parametrize("where", ["settings", "console.settings"])
def test_a_secret_in_the_settings_is_refused(where, tmp_path):
    """Rule: secrets come by reference. Each setting that is one, and those that the chart sets itself."""
    assert f"{PREFIX}KAFKA__SASL_PASSWORD" in secrets()
    own = {f"{PREFIX}KAFKA__GROUP_INSTANCE_ID", f"{PREFIX}STATE__DIRECTORY", f"{PREFIX}HTTP__PORT"}
    names = {*secrets(), *own}
    values = {"settings": dict.fromkeys(names, SECRET)}
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump({"console": values} if where != "settings" else values))
    code, _, said = chart.template("--values", path)
    assert code != 0
    assert {name for name in names if name not in said} == set()


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"toml": '[kafka]\nsasl_password = "x"'}},
        {"config": {"toml": 'registry = { "bearer_token" = "x" }'}},
        {"settings": {f"{PREFIX}REGISTRY__URL": "https://me:secret@registry.example"}},
        {"extraEnv": [{"name": f"{PREFIX}KAFKA__SASL_PASSWORD", "value": "x"}]},
        {"extraEnv": [{"name": "HTTP_TOKEN", "value": "x"}]},
        {"secretSettings": {f"{PREFIX}KAFKA__SASL_PASSWORD": "x"}},
        {"keda": {"metadata": {"password": "x"}}},
        {"replicaCount": 3},
        {"commonLabels": {"app.kubernetes.io/name": "mine"}},
        {"image": {"digest": "latest"}},
        {"settings": {"KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"}},
    ],
    ids=lambda values: re.sub(r"\W+", " ", str(values)).strip(),
)
def test_values_that_would_not_do_what_they_say_are_refused(values, tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    code, _, said = chart.template("--values", path)
    assert code != 0
    assert "values don't meet the specifications of the schema" in said
