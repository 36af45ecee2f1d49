"""Makes what looks at the chart, once: `python -m tests.support.charttools`. Needs Go 1.26+; takes minutes."""

import sys
from collections.abc import Iterator

from tests.support import helmtools, kubernetes
from tests.support.caching import Unfetchable


def missing() -> Iterator[str]:
    """Make all of it; yield what cannot be had, and why."""
    for name in (*helmtools.PROGRAMS, *helmtools.CRDS):
        try:
            helmtools.make(name)
        except Unfetchable as reason:
            yield f"the chart is not checked with {name}: {reason}"
    try:
        kubernetes.make()
    except Unfetchable as reason:
        yield f"the chart is not checked with Kubernetes' schemas: {reason}"


if __name__ == "__main__":
    found = [*missing()]
    print("\n".join(found) or "Helm, and what checks the chart, is there.")
    sys.exit(bool(found))
