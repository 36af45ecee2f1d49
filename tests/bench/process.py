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


def connections(pid: int, port: int) -> int:
    """Return how many connections the process has to the port of a broker."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp"))
