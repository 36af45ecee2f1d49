"""The image, built and run without Docker: buildah on bases made of Debian's packages.

All that differs is what is put in place of the Dockerfile's bases: Debian's Python instead of Docker's build of the
same release, and this machine's Rust. Every step is run as it stands.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "mmdebstrap", "rustc", "unshare", "setpriv")
SUITE = "trixie"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
# Where packages are, and whom to believe, is this machine's matter: shown to the steps, and not kept.
SHOWN = [f"--volume={path}:{path}:ro" for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
STEP_S = 1_500
APT = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install --yes --no-install-recommends"
INSIDE = """
root=$1
shift
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$root/var/lib/streamproc"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$root" "$@"
"""


def missing() -> str | None:
    """Say what it takes that is not here, None where all is."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        return f"there is no {' and no '.join(absent)}"
    if os.geteuid() != 0:
        return "only root can make a root file system here"
    return None if SOURCES.exists() else f"this is no Debian: there is no {SOURCES}"


class Image:
    """What was built: `about` as the registry would tell it, and processes in it as compose starts them."""

    def __init__(self, about: dict, root: Path) -> None:
        self.about = about
        self.root = root

    def command(self, *command: str) -> list[str]:
        """Return how to start it: on a root that is read-only, as the image's user, with nothing to gain."""
        return [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-euc",
            INSIDE,
            "inside",
            str(self.root),
            *command,
        ]

    def environment(self, **settings: object) -> dict[str, str]:
        """Return the image's own, and settings under STREAMPROC_."""
        own = dict(variable.split("=", 1) for variable in self.about["Docker"]["config"]["Env"])
        return own | {f"STREAMPROC_{name}": str(value) for name, value in settings.items()}

    def run(self, *command: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        return subprocess.run(
            self.command(*command),
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )


@contextmanager
def built() -> Iterator[Image]:
    """Build it, and have it for the length of the block; nothing is left."""
    with TemporaryDirectory(prefix="image-", ignore_cleanup_errors=True) as directory:
        scratch = Path(directory)
        try:
            _bases(scratch)
            dockerfile = scratch / "Dockerfile"
            dockerfile.write_text(
                re.sub(r"(?m)^FROM (python|rust):\S+", r"FROM localhost/\1", (ROOT / "Dockerfile").read_text())
            )
            ignored = f"--ignorefile={ROOT / '.dockerignore'}"
            _buildah(
                scratch, "build", "--format=docker", ignored, *SHOWN, f"--file={dockerfile}", "--tag=it", str(ROOT)
            )
            container = _buildah(scratch, "from", "localhost/it")
            about = json.loads(_buildah(scratch, "inspect", "--type=image", "localhost/it"))
            yield Image(about, Path(_buildah(scratch, "mount", container)))
        finally:
            _buildah(scratch, "umount", "--all")


def _bases(scratch: Path) -> None:
    """Make what the Dockerfile begins with, under names of our own."""
    mirror = re.findall(r"^URIs: (\S+)$", SOURCES.read_text(), re.MULTILINE)[0]
    tree = scratch / "base.tar"
    _run("mmdebstrap", "--mode=root", "--variant=minbase", "--include=ca-certificates", SUITE, str(tree), mirror)
    base = _buildah(scratch, "from", "scratch")
    _buildah(scratch, "add", base, str(tree), "/")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    _buildah(scratch, "config", f"--env=PATH={path}", "--cmd=", base)
    _buildah(scratch, "commit", base, "localhost/base")
    tree.unlink()
    python = _buildah(scratch, "from", "localhost/base")
    link = "ln -s /usr/bin/python3 /usr/local/bin/python"
    _buildah(scratch, "run", python, "--", "sh", "-c", f"{APT} python3-venv && {link}")
    _buildah(scratch, "commit", python, "localhost/python")
    rust = _buildah(scratch, "from", "localhost/base")
    _buildah(scratch, "run", rust, "--", "sh", "-c", f"{APT} gcc libc6-dev")
    toolchain = Path(_run("rustc", "--print", "sysroot"))
    for part in ("bin", "lib"):
        _buildah(scratch, "add", rust, str(toolchain / part), f"/usr/local/{part}")
    _buildah(scratch, "commit", rust, "localhost/rust")


def _buildah(scratch: Path, verb: str, *arguments: str) -> str:
    places = ("--root", str(scratch / "store"), "--runroot", str(scratch / "run"))
    isolated = ("--isolation=chroot",) if verb in {"build", "run"} else ()
    return _run("buildah", *places, verb, *isolated, *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_S, check=False)
    assert done.returncode == 0, f"{' '.join(command[:6])} …: {done.stderr[-2_000:]}"
    return done.stdout.strip()
