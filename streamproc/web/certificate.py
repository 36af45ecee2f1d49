"""The certificate and key of a TLS server, read again when their files change."""

import ssl

from streamproc.credentials.pem import UNENCRYPTED, KeyPair, Pem, server_context
from streamproc.credentials.renewal import Renewed
from streamproc.web.config import HttpSettings

CERT_FILE, KEY_FILE = "STREAMPROC_HTTP__TLS_CERT_FILE", "STREAMPROC_HTTP__TLS_KEY_FILE"


def certificate(settings: HttpSettings) -> "Certificate | None":
    """Return what a server shows; None where it speaks no TLS. Raises ConfigError where it cannot be used."""
    return None if settings.tls_cert_file is None else Certificate(settings.tls_cert_file, settings.tls_key_file)


class Certificate:
    """A certificate for `context`, as of each handshake. Raises ConfigError where it cannot be used at first.

    What cannot be used later, such as a pair of which only one half is renewed yet, leaves the former in use.
    """

    def __init__(self, cert_file: str, key_file: str | None = None) -> None:
        self._renewed = Renewed("http", lambda: _read(cert_file, key_file), server_context, fixed=False)
        self.context = self._renewed.made
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, before: ssl.SSLContext) -> None:  # noqa: ARG002  of ssl
        """Take the certificate of now; OpenSSL asks at each handshake, also where the client names no server."""
        connection.context = self._renewed.look()


def _read(cert_file: str, key_file: str | None) -> KeyPair:
    key = None if key_file is None else Pem.of_file(KEY_FILE, key_file)
    return KeyPair(Pem.of_file(CERT_FILE, cert_file), key, None, UNENCRYPTED)
