"""What the documentation's programs in other languages need, in the user's cache: `python -m tests.support.clients`.

That fetches Java's libraries by Maven's coordinates, JavaScript's and a Node that is new enough by npm, and kcat from
Debian. No test does.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from streamproc.local.packages import can_fetch
from tests.support.caching import Unfetchable, cache_root, cached
from tests.support.debian import fetch_kcat, kcat_place

JARS = {"org.apache.kafka:kafka-clients": "4.4.0", "org.apache.avro:avro": "1.12.2"}
MODULES = {"@platformatic/kafka": "2.12.1", "avsc": "5.7.9"}
FETCH_S = 600
MIN_NODE = 22
_CPU = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
NODE = (f"node-{sys.platform}-{_CPU}", "24.22.3")
"""npm's package of Node itself: for systems that have an older one."""


def jars() -> Path | None:
    """Return the directory of the jars, where they and a `java` that compiles are there."""
    return _there(_kept("java", JARS)) if _compiles() else None


def modules() -> Path | None:
    """Return the directory of the npm packages, where they and a `node` that can run them are there."""
    place = _there(_kept("node", MODULES) / "node_modules")
    return place if place and node() else None


def node() -> Path | None:
    """Return the directory of a `node` that can run them: from PATH, else from npm."""
    if _node_version() >= MIN_NODE:
        return Path(shutil.which("node") or "").parent
    return _there(_kept("node", MODULES) / "node_modules" / NODE[0] / "bin")


def kcat() -> Path | None:
    """Return the directory in which kcat is."""
    found = shutil.which("kcat")
    return Path(found).parent if found else _there(kcat_place())


def places() -> list[Path]:
    """Return what has to be on the PATH."""
    return [place for place in (node(), kcat()) if place]


FOUND: Mapping[str, Callable[[], Path | None]] = {"java": jars, "node": modules, "kcat": kcat}
"""By the program that a command begins with: what finds all that it needs."""


def missing() -> Iterator[str]:
    """Fetch all of it; yield what cannot be had, and why."""
    wanted: Mapping[str, Callable[[], object]] = {
        "java": lambda: cached(_kept("java", JARS).name, _fetch_jars),
        "node": lambda: cached(_kept("node", MODULES).name, _fetch_modules),
        "kcat": lambda: kcat() or fetch_kcat(),
    }
    for name, fetch in wanted.items():
        try:
            fetch()
        except Unfetchable as reason:
            yield f"the documentation's {name} is not run: {reason}"
        else:
            if FOUND[name]() is None:
                yield f"the documentation's {name} is not run: there is no {name} that can run it"


def _compiles() -> bool:
    return bool(shutil.which("java") and shutil.which("javac"))


def _kept(language: str, versions: Mapping[str, str]) -> Path:
    return cache_root() / "-".join(("docs", language, *versions.values()))


def _there(place: Path) -> Path | None:
    return place if place.is_dir() else None


def _fetch_jars(scratch: Path) -> Path:
    if not _compiles():
        raise Unfetchable("there is no java with a javac beside it")
    if not can_fetch():
        raise Unfetchable("the package jgo, which fetches jars, is missing: pip install 'streamproc[local]'")
    os.environ.update(JGO_CACHE_DIR=str(scratch / "jgo"), M2_REPO=str(scratch / "m2"))
    from jgo import build

    made = scratch / "jars"
    made.mkdir()
    try:
        found = build("+".join(f"{name}:{version}" for name, version in JARS.items())).all_jars
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        raise Unfetchable(f"the jars cannot be fetched: {type(error).__name__}") from error
    for jar in found:
        shutil.copyfile(jar, made / jar.name)
    return made


def _fetch_modules(scratch: Path) -> Path:
    if not shutil.which("npm"):
        raise Unfetchable("there is no npm")
    made = scratch / "made"  # Not `node_modules` itself: packages find each other by that name.
    made.mkdir()
    wanted = [f"{name}@{version}" for name, version in MODULES.items()]
    if _node_version() < MIN_NODE:
        wanted.append("@".join(NODE))
    # Engines are not looked at: it is not npm's own Node that will run them.
    command = ["npm", "install", "--prefix", str(made), "--ignore-scripts", "--no-audit", "--no-fund", *wanted]
    try:
        subprocess.run(command, cwd=made, check=True, capture_output=True, timeout=FETCH_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unfetchable(f"npm cannot install {' and '.join(wanted)} ({type(error).__name__})") from error
    return made


def _node_version() -> int:
    if not shutil.which("node"):
        return 0
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    major = done.stdout.removeprefix("v").split(".")[0]
    return int(major) if major.isdigit() else 0


if __name__ == "__main__":
    lacking = [*missing()]
    print("\n".join(lacking) or "The documentation's programs in Java and JavaScript, and kcat, can run.")
    sys.exit(bool(lacking))
