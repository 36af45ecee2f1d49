"""Many cases, on every core: `make fuzz`, or `python -m tests.fuzz --seed 7 --cases 500` for one chunk again."""

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Annotated

import typer

from streamproc.native import module
from tests.fuzz.run import CHUNK, guarded_chunk


def fuzz(
    cases: Annotated[int, typer.Option(min=CHUNK, help="How many.")] = 1_000_000,
    minutes: Annotated[float, typer.Option(min=0.01, help="Stop after so long, and say how many there were.")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="Of the first chunk; a new one by default.")] = None,
) -> None:
    """Run the cases through both codecs and the whole step; exit code 1 where one fails."""
    first = random.SystemRandom().randrange(2**32) if seed is None else seed
    which = "the reference codec alone" if module is None else "both codecs"
    print(f"fuzz: {cases:,} cases through {which}, seed {first}, at most {minutes:g} minutes", flush=True)
    began, found, chunks = time.monotonic(), Counter[str](), 0
    seeds = iter(range(first, first + -(-cases // CHUNK)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        running: set[Future[Counter[str]]] = set()
        try:
            while True:
                while len(running) < 4 * (os.cpu_count() or 1) and time.monotonic() - began < 60 * minutes:
                    if (number := next(seeds, None)) is None:
                        break
                    running.add(pool.submit(guarded_chunk, number))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for chunk in done:
                    found += chunk.result()
                    chunks += 1
        except Exception as error:  # noqa: BLE001  a child that died, or a case that failed
            pool.shutdown(wait=False, cancel_futures=True)
            near = f"one of the chunks up to seed {first + chunks + 4 * (os.cpu_count() or 1)}"
            print(f"FAILED ({near} where none is named): {error}", file=sys.stderr)
            raise typer.Exit(1) from None
    took = time.monotonic() - began
    fates = ", ".join(f"{count:,} {fate}" for fate, count in found.most_common())
    print(f"fuzz: {chunks * CHUNK:,} cases in {took:.0f} s, none failed: {fates}")


if __name__ == "__main__":
    typer.run(fuzz)
