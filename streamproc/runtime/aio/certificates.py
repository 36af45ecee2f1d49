"""Client certificates, as far as a refusal is explained by them."""

import ssl
import time
from importlib import import_module

from streamproc.credentials.pem import as_file

# The standard library decodes certificates of peers only in public; of files it does so for its own tests.
_decode = import_module("_ssl")._test_decode_cert  # noqa: SLF001


def ended(pem: bytes) -> str | None:
    """Return when the first certificate in a PEM ended, as OpenSSL writes times; None where it did not."""
    try:
        with as_file(pem) as path:
            end: str = _decode(path)["notAfter"]
    except (OSError, LookupError):
        return None
    return end if ssl.cert_time_to_seconds(end) <= time.time() else None
