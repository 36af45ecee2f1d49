"""Client certificates, as far as a refusal is explained by them."""

import ssl
import time
from importlib import import_module

# The standard library decodes certificates of peers only in public; of files it does so for its own tests.
_decode = import_module("_ssl")._test_decode_cert  # noqa: SLF001


def ended(file: str) -> str | None:
    """Return when the first certificate in a PEM file ended, as OpenSSL writes times; None where it did not."""
    try:
        end: str = _decode(file)["notAfter"]
    except (OSError, LookupError):
        return None
    return end if ssl.cert_time_to_seconds(end) <= time.time() else None
