"""`python -m streamproc.healthcheck`: whether the process of this container lives, by its own settings.

Asks /livez of the service, or of the console (`… healthcheck console`). It runs every few seconds beside the process,
so it reads the few settings itself and loads nothing of it.
"""

import http.client
import json
import os
import ssl
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "STREAMPROC_"
SECRETS_DIR = "STREAMPROC_SECRETS_DIR"
PORTS = {"http": 8080, "console": 8081}
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  what it listens on, not this
TIMEOUT_S = 4
ALIVE, DEAD = 0, 1


def section(name: str, config: Path | None) -> dict[str, Any]:
    """Return the settings of a section by name, as the service takes them; raises OSError, ValueError.

    The environment goes over the directory of secrets, and that over the file.
    """
    found = tomllib.loads(config.read_text()).get(name, {}) if config else {}
    directory = os.environ.get(SECRETS_DIR)
    return found | (said(name, files(name, Path(directory))) if directory else {}) | said(name, os.environ)


def files(name: str, directory: Path) -> dict[str, str]:
    """Return what is in the files of a directory that are named like this section's variables; raises OSError."""
    prefix = f"{PREFIX}{name}".lower()
    there = [each for each in sorted(directory.iterdir()) if each.name.lower().startswith(prefix) and each.is_file()]
    return {each.name: each.read_text().removesuffix("\n").removesuffix("\r") for each in there}


def said(name: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return a section of variables, in any case: one for each setting over one of JSON; raises ValueError."""
    by_name = {variable.lower(): value for variable, value in variables.items()}
    whole = f"{PREFIX}{name}".lower()
    found = json.loads(by_name[whole]) if whole in by_name else {}
    if not isinstance(found, dict):
        raise ValueError(f"{whole.upper()} is no JSON object")  # noqa: TRY004  of what is said, not of a program
    prefix = f"{whole}__"
    return found | {key.removeprefix(prefix): value for key, value in by_name.items() if key.startswith(prefix)}


def connection(name: str, settings: dict[str, Any]) -> http.client.HTTPConnection:
    """Return a connection to where these settings let the process listen; raises ValueError."""
    host = str(settings.get("host", "127.0.0.1"))
    port = int(settings.get("port", PORTS[name]))
    if port == 0:
        raise ValueError(f"{PREFIX}{name.upper()}__PORT is 0, any free one: give it one that can be asked")
    host = LOOPBACK.get(host, host)
    if not any(key.startswith("tls_") and value for key, value in settings.items()):
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    # The certificate is for other names than 127.0.0.1. Nothing secret is said, nothing but a status is believed.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def check(name: str, config: Path | None) -> str | None:
    """Return what is wrong, None where it lives."""
    try:
        settings = section(name, config)
        asked = connection(name, settings)
        asked.request("GET", f"{settings.get('base_path', '')}/livez")
        status = asked.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return None if status == http.client.OK else f"/livez answers {status}"


def main() -> int:
    """Say on standard error what is wrong; return 0 where it lives, 1 where not."""
    parser = ArgumentParser("python -m streamproc.healthcheck", description="Whether this container's process lives.")
    parser.add_argument("of", nargs="?", choices=tuple(PORTS), default="http", help="http: the service; or the console")
    parser.add_argument("--config", type=Path, help="the TOML file that the process was given")
    asked = parser.parse_args()
    wrong = check(asked.of, asked.config)
    if wrong is not None:
        print(wrong, file=sys.stderr)  # noqa: T201  it is what `docker inspect` shows
    return ALIVE if wrong is None else DEAD


if __name__ == "__main__":
    sys.exit(main())
