"""CPU time and resident memory of a child process."""

import psutil

MIB = 1_048_576


def cpu_seconds(pid: int) -> float:
    """Return user and system time so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def resident_bytes(pid: int) -> int:
    """Return the resident set size."""
    return int(psutil.Process(pid).memory_info().rss)
