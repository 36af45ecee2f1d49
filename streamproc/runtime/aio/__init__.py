"""The ports done with aiokafka 0.14. The only importer of it; what works around it says why.

Each partition has a reader and a producer of its own; the group's consumer reads nothing. So one slow partition holds
up no other, a rebalance takes no lock that a fetch holds, and fencing is by partition (DESIGN.md, hazards).
"""

import aiokafka

if not aiokafka.__version__.startswith("0.14."):
    message = (
        f"streamproc relies on the inside of aiokafka 0.14, this is {aiokafka.__version__}: install the locked one"
    )
    raise ImportError(message)
