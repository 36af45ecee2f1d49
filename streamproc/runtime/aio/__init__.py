"""The ports done with aiokafka 0.14. The only importer of it; what works around it says why.

Its connections, log in, metadata, requests and batches are aiokafka's, and so is the membership in a group. Who asks
what, when, and again after which error is ours: one producer for each transaction (`transactions`), one request to
each leader (`fetcher`), a client that a silent broker does not delay (`client`). What of aiokafka itself is replaced
is in one table (`patches`).
"""

import aiokafka

if not aiokafka.__version__.startswith("0.14."):
    message = (
        f"streamproc relies on the inside of aiokafka 0.14, this is {aiokafka.__version__}: install the locked one"
    )
    raise ImportError(message)
