"""The signature that proves to a receiver that a request is ours, and fresh: HMAC-SHA256 over time and body."""

import hmac
from hashlib import sha256

HEADER = "streamproc-signature"


def sign(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """Return the header's value; `v1` names the scheme, so that another one can be sent beside it one day."""
    signed = b"%d." % timestamp_s + body
    return f"t={timestamp_s},v1={hmac.new(secret, signed, sha256).hexdigest()}"
