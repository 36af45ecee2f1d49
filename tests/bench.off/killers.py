"""What each payload that is made to use up memory or time takes, in a process of its own."""

from streamproc.codec.framing import JSON
from tests.support.killers import KILLERS, run_killer


def measure() -> None:
    """Print milliseconds of CPU (the least of three) and the growth in memory, by decoder."""
    print("killers, each of at most a megabyte: milliseconds of CPU, MiB more than before, what became of it")
    for name, make in KILLERS.items():
        for decoder in ("batch",) if make().startswith(JSON) else ("batch", "reference"):
            report = run_killer(name, decoder)
            took, grew = 1_000 * report["seconds"], report["grew_mib"]
            print(f"  {took:>8.1f} ms {grew:>6.1f} MiB  {name}, {decoder}: {report['result']}")
