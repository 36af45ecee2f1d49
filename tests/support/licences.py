"""Makes docs/licences.md, what the service is made of and under which licences: `python -m tests.support.licences`."""

import json
import re
import subprocess
import tomllib
from importlib.metadata import metadata
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/licences.md"
LOCKED = re.compile(r"^([a-z0-9-]+)==\S+(?: ; (.+?))? \\$", re.MULTILINE)
FROM_THEIR_TEXT = {"jinja2": "BSD-3-Clause", "uvloop": "MIT OR Apache-2.0"}
"""Of those whose metadata says less than the licence files beside it."""
SPELT = {
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
}
HEAD = """# Licences

streamproc is under Apache-2.0, see LICENSE. This is what it is made of; this page is made by
`python -m tests.support.licences`.

"""
FOOT = """
Vendored: uPlot (MIT), its licence beside it in `streamproc/console/pages/static/uplot`. In the image also Python
(PSF-2.0) and Debian's packages, whose licences are in `/usr/share/doc/*/copyright`. What is compiled into others'
wheels is in their SBOMs, all in `/usr/share/streamproc/sbom`.
"""


def packages() -> dict[str, str]:
    """Return the licences, in SPDX's terms, of what requirements/runtime.lock installs on Linux."""
    found = LOCKED.findall((ROOT / "requirements/runtime.lock").read_text())
    return {
        name: _of(name) for name, marker in found if not marker or Marker(marker).evaluate({"sys_platform": "linux"})
    }


def crates() -> dict[str, str] | None:
    """Return those of the native codec's crates, its own left out; None where cargo does not have them."""
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
    try:
        found = subprocess.run(command, cwd=ROOT / "native", capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    if found.returncode:
        return None
    return {crate["name"]: crate["license"] for crate in json.loads(found.stdout)["packages"] if crate["source"]}


def allowed() -> set[str]:
    """Return the licences that ask for no more than their text: those of crates, and Python's."""
    deny = tomllib.loads((ROOT / "native/deny.toml").read_text())
    return {*deny["licenses"]["allow"], "BSD-2-Clause", "BSD-3-Clause", "ISC", "PSF-2.0"}


def is_met(licence: str | None, allowed: set[str] | list[str]) -> bool:
    """Whether an SPDX expression is met by the licences that are allowed."""
    words = re.findall(r"[()]|[\w.+-]+(?: WITH [\w.-]+)?", licence or "None")
    return eval(" ".join(word.lower() if word in ("AND", "OR", "(", ")") else str(word in allowed) for word in words))


def page(python: dict[str, str], rust: dict[str, str]) -> str:
    """Return the page's text."""
    return HEAD + _table("Python package", python) + "\n" + _table("Crate of the native codec", rust) + FOOT


def _of(name: str) -> str:
    about = metadata(name)
    said = (about.get("License-Expression"), about.get("License"), *about.get_all("Classifier", []))
    spelt = [SPELT.get(each, each) for each in said if each and (each in SPELT or " " not in each.strip())]
    return FROM_THEIR_TEXT.get(name) or about.get("License-Expression") or (spelt[0] if spelt else "None")


def _table(kind: str, licences: dict[str, str]) -> str:
    rows = "".join(f"| {name} | {licence} |\n" for name, licence in sorted(licences.items()))
    return f"| {kind} | licence |\n|---|---|\n{rows}"


if __name__ == "__main__":
    rust = crates()
    if rust is None:
        raise SystemExit("cargo does not have the crates: cargo fetch --manifest-path native/Cargo.toml")
    PAGE.write_text(page(packages(), rust))
