"""TLS contexts from PEM: the authorities to trust, and our own identity. OpenSSL never asks on the terminal."""

import os
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import NamedTuple, Self

from streamproc.credentials.files import content
from streamproc.errors import ConfigError

CERTIFICATE = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?(?:-----END \1-----|\Z)", re.ASCII | re.DOTALL
)
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", re.ASCII)
UNENCRYPTED = "give an unencrypted one"
"""How a key is unlocked where there is no setting for its passphrase."""


class Pem(NamedTuple):
    """A PEM content and its origin: the setting with the content, or the setting and the file that it names."""

    origin: str
    content: bytes

    @classmethod
    def of_file(cls, setting: str, path: str) -> Self:
        """Read the file that a setting names; raises ConfigError that names both."""
        return cls(f"{setting} ({path})", content(setting, path))


class KeyPair(NamedTuple):
    """A certificate with its chain, and its key. `key` None: the key is in the same PEM as the certificate.

    `passphrase`: of the key, None for none; `unlock`: for errors, where to set one, or that none can be set.
    """

    certificate: Pem
    key: Pem | None
    passphrase: str | None
    unlock: str


class _Locked(Exception):
    """OpenSSL asks for a passphrase, and none is set."""


def client_context(ca: Pem | None, identity: KeyPair | None) -> ssl.SSLContext:
    """Return a client's context that trusts `ca`, by default the system's authorities.

    Raises ConfigError that names the setting or file that cannot be used.
    """
    context = _trusting(ca)
    if identity is not None:
        _identify(context, identity)
    return context


def server_context(identity: KeyPair) -> ssl.SSLContext:
    """Return a server's context that shows who we are; raises ConfigError that names whatever cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _identify(context, identity)
    return context


def _trusting(ca: Pem | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    _refuse_without(CERTIFICATE, ca, "certificate")
    with as_file(ca.content) as path:
        try:
            return ssl.create_default_context(cafile=path)
        except ssl.SSLError as error:
            raise _unusable(ca, "a certificate", error) from None


def _identify(context: ssl.SSLContext, identity: KeyPair) -> None:
    certificate, holder = identity.certificate, identity.key or identity.certificate
    _refuse_without(CERTIFICATE, certificate, "certificate")
    _refuse_without(KEY, holder, "private key")
    _refuse_damaged(certificate)
    asked_passphrase = False

    def passphrase() -> str:
        nonlocal asked_passphrase
        asked_passphrase = True
        if identity.passphrase is None:
            raise _Locked
        return identity.passphrase

    with as_file(certificate.content) as path, as_file(holder.content) as key_path:
        try:
            context.load_cert_chain(path, key_path, passphrase)
        except _Locked:
            raise ConfigError(f"the key in {holder.origin} is encrypted: {identity.unlock}") from None
        except (ssl.SSLError, ValueError) as error:  # ValueError: a passphrase of more than 1,024 bytes.
            reason = getattr(error, "reason", None)
            if reason == "KEY_VALUES_MISMATCH":
                fits = f"the key in {holder.origin} does not fit the certificate in {certificate.origin}"
                raise ConfigError(f"{fits}: give the two that were made together") from None
            if asked_passphrase:
                message = f"the passphrase does not open the key in {holder.origin}: {identity.unlock}"
                raise ConfigError(message) from None
            raise _unusable(holder, "its certificate or its private key", error) from None


def _refuse_without(kind: re.Pattern[bytes], pem: Pem, name: str) -> None:
    if not kind.search(pem.content):
        raise ConfigError(f"{pem.origin} holds no {name} in PEM, which begins with -----BEGIN")


def _refuse_damaged(pem: Pem) -> None:
    """Raise ConfigError for a damaged certificate: OpenSSL's later error does not say whether that or the key is."""
    certificates = b"\n".join(match[0] for match in CERTIFICATE.finditer(pem.content))
    with as_file(certificates) as path:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError as error:
            raise _unusable(pem, "a certificate", error) from None


def _unusable(pem: Pem, name: str, error: Exception) -> ConfigError:
    reason = getattr(error, "reason", None) or type(error).__name__
    return ConfigError(f"{pem.origin}: {name} in it is damaged, or of no use to OpenSSL ({reason})")


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """Yield a path for content that OpenSSL reads only from files; in memory where the system supports that."""
    if sys.platform == "linux":
        number = os.memfd_create("pem")
        with os.fdopen(number, "wb", buffering=0) as file:
            file.write(content)
            yield f"/proc/self/fd/{number}"
    else:
        with NamedTemporaryFile() as file:  # Readable by no other user, and deleted at the end of the block.
            file.write(content)
            file.flush()
            yield file.name
