"""This process: the name of its instance, and its use of CPU and memory."""

import os
import platform
import secrets
from typing import NamedTuple

import psutil


class ProcessUsage(NamedTuple):
    """Use by the process: CPU time so far in seconds, resident memory in bytes."""

    cpu_seconds: float
    memory_bytes: int


def host() -> str:
    """Return the name of this machine."""
    return platform.node()


def instance_id(group_instance_id: str | None) -> str:
    """Return the name of a new instance: its configured name if it has one, else a unique one."""
    return group_instance_id or f"{host()}-{os.getpid()}-{secrets.token_hex(3)}"


def usage() -> ProcessUsage:
    """Return the use by this process."""
    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        return ProcessUsage(times.user + times.system, process.memory_info().rss)
