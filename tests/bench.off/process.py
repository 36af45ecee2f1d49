"""CPU time, memory and connections of a child process."""

import re
from pathlib import Path

import psutil

MIB = 1_048_576


def cpu_seconds(pid: int) -> float:
    """Return user and system time so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_seconds_with_children(pid: int) -> float:
    """Return user and system time so far, of the process and of all that it started."""
    return cpu_seconds(pid) + sum(cpu_seconds(child.pid) for child in psutil.Process(pid).children(recursive=True))


def resident_bytes(pid: int) -> int:
    """Return the resident set size."""
    return int(psutil.Process(pid).memory_info().rss)


def peak_bytes(pid: int) -> int:
    """Return the largest resident set size so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def connections(pid: int, port: int) -> int:
    """Return how many connections the process has to the port of a broker."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp"))
