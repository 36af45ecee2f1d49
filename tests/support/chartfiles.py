"""What is made of the chart: its README, and the Kustomize base and components.

`python -m tests.support.chartfiles` writes all of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from tests.support import chart, helmtools

KUSTOMIZE = chart.ROOT / "deploy" / "kustomize"
VALUES = KUSTOMIZE / "values"
HELMS_OWN = re.compile(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
MADE = "# Made of deploy/helm/streamproc: python -m tests.support.chartfiles\n"


def files() -> Mapping[Path, str]:
    """Return the text of each file that is made; skips the test that asks where Helm cannot be had."""
    return {chart.CHART / "README.md": readme(), **dict(_kustomize())}


def readme() -> str:
    """Return what helm-docs makes of the values."""
    code, made, said = helmtools.run("helm-docs", "--dry-run", "--chart-search-root", chart.CHART)
    assert code == 0, said
    return made.rstrip("\n") + "\n"


def _kustomize() -> Iterator[tuple[Path, str]]:
    """Yield the base, and as components what each file of values adds to it and to the components before."""
    before = dict(_objects())
    yield from _directory(KUSTOMIZE / "base", before, "kustomize.config.k8s.io/v1beta1", "Kustomization")
    for values in sorted(VALUES.glob("*.yaml")):
        made = _objects("--values", values)
        more = {name: text for name, text in made.items() if name not in before}
        assert all(before.get(name, text) == text for name, text in made.items()), (
            f"{values} changes what is there without it"
        )
        yield from _directory(
            KUSTOMIZE / "components" / values.stem, more, "kustomize.config.k8s.io/v1alpha1", "Component"
        )
        before |= more


def _directory(directory: Path, made: Mapping[str, str], version: str, kind: str) -> Iterator[tuple[Path, str]]:
    for name, text in made.items():
        yield directory / name, MADE + text
    resources = "".join(f"  - {name}\n" for name in made)
    yield directory / "kustomization.yaml", f"{MADE}apiVersion: {version}\nkind: {kind}\nresources:\n{resources}"


def _objects(*arguments: str | Path) -> Mapping[str, str]:
    """Return what Helm renders by the names of files, in their order, without what is Helm's own."""
    made = {}
    for text in chart.text(*arguments).split("\n---\n"):
        said = re.sub(r"^(---\n)?# Source: .*\n", "", text).strip() + "\n"
        about = yaml.load(said, yaml.CSafeLoader)
        suffix = about["metadata"]["name"].removeprefix(chart.RELEASE)
        made[f"{about['kind'].lower()}{suffix}.yaml"] = HELMS_OWN.sub("", said)
    return dict(sorted(made.items()))


def stale() -> Sequence[str]:
    """Return the files that are not as they would be made, and those that would not be made at all."""
    wanted = files()
    there = {path for part in ("base", "components") for path in (KUSTOMIZE / part).rglob("*.yaml")}
    differ = (path for path, text in wanted.items() if not path.exists() or path.read_text() != text)
    return sorted(str(path.relative_to(chart.ROOT)) for path in {*differ, *(there - wanted.keys())})


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(chart.ROOT))
