"""This process: the name of its instance, and what it takes."""

import os
import platform
import secrets
from typing import NamedTuple

import psutil


class ProcessUsage(NamedTuple):
    """What the process has taken so far: CPU time in seconds, resident memory in bytes."""

    cpu_seconds: float
    memory_bytes: int


def host() -> str:
    """Return the name of this machine."""
    return platform.node()


def instance_id(group_instance_id: str | None) -> str:
    """Return the name of a new instance: its own where it has one, else one that no other instance has had."""
    return group_instance_id or f"{host()}-{os.getpid()}-{secrets.token_hex(3)}"


def usage() -> ProcessUsage:
    """Return what this process has taken."""
    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        return ProcessUsage(times.user + times.system, process.memory_info().rss)
