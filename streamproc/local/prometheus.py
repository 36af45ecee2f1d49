"""Runs an installed Prometheus on this machine with the shipped rules; nothing is left behind.

For the demo and the tests. Alertmanager, which the tests add, is the same kind of program: see `PrometheusProgram`.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from streamproc.errors import ConfigError
from streamproc.local.kafka import HOST, free_port
from streamproc.local.launch import run_until
from streamproc.local.watchdog import Guarded

JOB, CONSOLE_JOB = "streamproc", "streamproc-console"
"""The rules ask for jobs of these names."""
START_DEADLINE_S = 30.0
ANSWER_S = 2.0
POLL_S = 0.05
RESEND_S = 5
"""The default, a minute, is too long for an Alertmanager that is found only after an alert has fired."""
LOG_TAIL_LINES = 5
DATA = "data"

_ALIASES = {"alertmanager": ("alertmanager", "prometheus-alertmanager")}
"""Debian's names, where they differ."""
_RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
_TARGETS = "targets.json"


def find_program(name: str, path: str | None = None) -> Path | None:
    """Return `prometheus`, `promtool`, `alertmanager` or `amtool` where it is installed; `path` instead of PATH."""
    paths = (shutil.which(alias, path=path) for alias in _ALIASES.get(name, (name,)))
    return next((Path(program) for program in paths if program), None)


def shipped_rules() -> Sequence[Path]:
    """Return the rule files of this checkout; none where streamproc was installed from a wheel."""
    return sorted(_RULES.glob("*.yml"))


class PrometheusProgram:
    """A program of the Prometheus family: takes its settings from a file, and says when it is ready."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._port = free_port()
        self._guarded = Guarded()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._port}"

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{self.address}"

    @property
    def directory(self) -> Path:
        """The server's files and its working directory; deleted by `stop`."""
        return self._guarded.directory

    async def start(self, settings: Mapping[str, Any], *flags: str) -> None:
        """Run the program until it answers.

        Raises:
            ConfigError: it ends, or does not answer in time; the message ends with its log.
        """
        try:
            await self._guarded.open()
            # JSON is YAML.
            (self.directory / "settings.yml").write_text(json.dumps(settings), encoding="utf-8")
            # Quiet, so that the end of the log shows the failure, not the shutdown.
            common = ("--config.file=settings.yml", f"--web.listen-address={self.address}", "--log.level=warn")
            await self._run(*common, *flags)
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise ConfigError(f"{self._program} has no place or no process to be had: {error}") from error
            raise

    async def stop(self) -> None:
        """End the program and remove what it left; harmless when nothing runs."""
        await self._guarded.close()

    async def _run(self, *flags: str) -> None:
        trouble = await run_until(self._guarded, self._ready, START_DEADLINE_S, str(self._program), *flags)
        if trouble is not None:
            tail = self._guarded.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise ConfigError("\n  ".join((f"{self._program}: {trouble}. Its log ends with:", *tail)))

    async def _ready(self) -> None:
        while not await asyncio.to_thread(_answers, f"{self.url}/-/ready"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)


class LocalPrometheus:
    """A Prometheus that scrapes given addresses and evaluates rules. Belongs to the event loop that started it."""

    def __init__(self, program: Path) -> None:
        self._server = PrometheusProgram(program)

    @property
    def url(self) -> str:
        """The URL of its pages."""
        return self._server.url

    async def start(self, rules: Sequence[Path], *, interval_s: int = 1, alertmanager: str | None = None) -> None:
        """Run it; `interval_s` between scrapes and evaluations. Raises what `PrometheusProgram.start` raises."""
        discovery = {"files": [_TARGETS], "refresh_interval": "1s"}
        settings = {
            "global": {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"},
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": [{"job_name": JOB, "file_sd_configs": [discovery]}],
            "alerting": {"alertmanagers": [_static(alertmanager)] if alertmanager else []},
        }
        await self._server.start(settings, f"--storage.tsdb.path={DATA}", f"--rules.alert.resend-delay={RESEND_S}s")

    def scrape(self, services: Sequence[str], consoles: Sequence[str] = ()) -> None:
        """Scrape /metrics at these addresses (host and port) from now on, and at no others."""
        partial = self._server.directory / f"{_TARGETS}.partial"
        jobs = {JOB: services, CONSOLE_JOB: consoles}
        # The label `job` of a target overrides the name of its scrape configuration.
        groups = [{"targets": addresses, "labels": {"job": job}} for job, addresses in jobs.items()]
        partial.write_text(json.dumps(groups), encoding="utf-8")
        partial.replace(self._server.directory / _TARGETS)

    async def stop(self) -> None:
        """End it and remove its data; harmless when nothing runs."""
        await self._server.stop()


@contextlib.asynccontextmanager
async def local_prometheus() -> AsyncIterator[LocalPrometheus]:
    """A Prometheus with the shipped rules for the length of a block.

    Raises:
        ConfigError: it is not installed, there are no rules, or it does not start.
    """
    program, rules = find_program("prometheus"), shipped_rules()
    if program is None:
        raise ConfigError("prometheus is not in PATH; on Debian and Ubuntu: apt-get install prometheus")
    if not rules:
        raise ConfigError(f"there are no rules in {_RULES}: Prometheus is for a checkout, not for an installed package")
    prometheus = LocalPrometheus(program)
    await prometheus.start(rules)
    try:
        yield prometheus
    finally:
        await prometheus.stop()


def _static(address: str) -> Mapping[str, Any]:
    return {"static_configs": [{"targets": [address]}]}


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 - built here, http only
            return bool(answer.status == HTTPStatus.OK)
    except (URLError, OSError):
        return False
