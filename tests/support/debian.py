"""Programs out of Debian's packages, without installing them and without being root."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.caching import Unfetchable, cache_root, cached

APT_S = 300
PACKAGES = ("prometheus", "prometheus-alertmanager")
KCAT = ("kcat", "librdkafka1", "libyajl2")
LISTS = Path("/var/lib/apt/lists")
COMPILED_IN = b"/usr/share/prometheus/alertmanager"
"""Where Debian's Alertmanager reads its templates, without which it does not start."""
INSTEAD = b"/proc/self/fd/3".ljust(len(COMPILED_IN), b"/")
WRAPPER = """#!/bin/sh
exec 3<'{tree}/usr/share/prometheus/alertmanager'
exec '{tree}/usr/bin/prometheus-alertmanager' "$@"
"""
KCAT_WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH="$(echo '{tree}'/usr/lib/*-linux-gnu*)"
exec '{tree}/usr/bin/kcat' "$@"
"""


def fetch() -> Path:
    """Return the directory of the packages' programs; raises Unfetchable."""
    name = f"debian-{_release()}-{platform.machine()}"
    return cached(name, lambda scratch: _relocated(scratch, cache_root() / name)) / "usr" / "bin"


def kcat_place() -> Path:
    """Return where kcat is, once it was fetched: a directory that holds nothing else."""
    return cache_root() / f"debian-kcat-{_release()}-{platform.machine()}" / "bin"


def fetch_kcat() -> None:
    """Fetch kcat, with the libraries that few systems have; raises Unfetchable."""
    place = kcat_place()
    cached(place.parent.name, lambda scratch: _wrapped(scratch, place))


def _wrapped(scratch: Path, place: Path) -> Path:
    tree = _unpacked(scratch, KCAT)
    wrapper = tree / place.name / "kcat"
    wrapper.parent.mkdir()
    wrapper.write_text(KCAT_WRAPPER.format(tree=place.parent))
    wrapper.chmod(0o755)
    return tree


def _relocated(scratch: Path, target: Path) -> Path:
    tree = _unpacked(scratch, PACKAGES)
    _relocate(tree, target)
    return tree


def _unpacked(scratch: Path, packages: Sequence[str]) -> Path:
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise Unfetchable(f"this is no Debian: there is no {' and no '.join(missing)}")
    if not any(LISTS.glob("*_Packages*")):
        if os.geteuid() != 0:
            raise Unfetchable(f"{LISTS} has no package lists, and only root can fetch them: apt-get update")
        _run(scratch, "apt-get", "--quiet", "update")
    archives, tree = scratch / "archives", scratch / "tree"
    archives.mkdir()
    _run(archives, "apt-get", "--quiet", "download", *packages)
    for archive in archives.glob("*.deb"):
        _run(archives, "dpkg-deb", "--extract", archive.name, str(tree))
    return tree


def _relocate(tree: Path, target: Path) -> None:
    """Let Alertmanager read its templates from `target`: as long a path, to what its wrapper opens."""
    programs = tree / "usr" / "bin"
    program, wrapper = programs / "prometheus-alertmanager", programs / "alertmanager"
    program.write_bytes(program.read_bytes().replace(COMPILED_IN, INSTEAD))
    wrapper.write_text(WRAPPER.format(tree=target))
    wrapper.chmod(0o755)


def _run(directory: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=APT_S, check=False)
    if done.returncode:
        raise Unfetchable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _release() -> str:
    """Name the system: a newer one gets newer packages, and may not run older ones."""
    try:
        about = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return f"{about['ID']}-{about.get('VERSION_ID', 'rolling')}"
