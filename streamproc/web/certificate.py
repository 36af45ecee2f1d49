"""The certificate and key of a TLS server, read again when their files change."""

import ssl
from pathlib import Path

import structlog

from streamproc.errors import ConfigError
from streamproc.web.config import HttpSettings

log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int] | None, ...]
"""For each file: time of writing, size, inode; None: it does not exist."""


def certificate(settings: HttpSettings) -> "Certificate | None":
    """Return a server's certificate; None where it does not use TLS. Raises ConfigError where it cannot be read."""
    return None if settings.tls_cert_file is None else Certificate(settings.tls_cert_file, settings.tls_key_file)


class Certificate:
    """A certificate whose `context` is updated at each handshake. Raises ConfigError where it cannot be read at first.

    Files that cannot be used later, such as a pair of which only one is renewed yet, leave the former pair in use.
    """

    def __init__(self, cert_file: str, key_file: str | None = None) -> None:
        self._files = (cert_file, key_file or cert_file)
        try:
            self._seen, self._current = self._stamp(), self._read()
            self.context = self._read()
        except OSError as error:
            raise ConfigError(self._refusal(error)) from None
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, before: ssl.SSLContext) -> None:  # noqa: ARG002  of ssl
        """Use the present certificate. OpenSSL calls this at each handshake, also if the client names no server."""
        if (stamp := self._stamp()) != self._seen:
            self._seen = stamp
            try:
                self._current = self._read()
                log.info("the certificate was read again", cert_file=self._files[0])
            except OSError as error:
                log.warning("the certificate cannot be read again", cert_file=self._files[0], why=_why(error))
        connection.context = self._current

    def _stamp(self) -> Stamp:
        """Return a value that changes with the files."""
        return tuple(_stamp(Path(name)) for name in self._files)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A dummy password: without one, OpenSSL would ask for a passphrase on the terminal.
        context.load_cert_chain(*self._files, password="")
        return context

    def _refusal(self, error: OSError) -> str:
        cert_file, key_file = self._files
        named = cert_file if key_file == cert_file else f"{cert_file} and {key_file}"
        return (
            f"{named} cannot be used ({_why(error)}): STREAMPROC_HTTP__TLS_CERT_FILE and __TLS_KEY_FILE must name "
            "readable PEM files with a certificate and its unencrypted key"
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _why(error: OSError) -> str:
    return (error.strerror if not isinstance(error, ssl.SSLError) else None) or type(error).__name__
