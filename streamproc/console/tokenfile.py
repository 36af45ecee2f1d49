"""Tokens of the console: names, rights, and digests of the secrets. The secrets are not stored."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from streamproc.errors import ConfigError

OPERATOR, PAYLOADS, VIEWER = "operator", "payloads", "viewer"
RIGHTS = (VIEWER, OPERATOR, PAYLOADS)
LINE = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64})\s+(?P<rights>[a-z,]+)\s+sha256:(?P<digest>[0-9a-f]{64})")
FORM = (
    f"NAME RIGHTS sha256:DIGEST, rights of {', '.join(RIGHTS)} with commas between; "
    "`streamproc console token NAME` makes one"
)
log = structlog.get_logger(__name__)


class WrongAccess(ConfigError):
    """The settings, the file of tokens or a name in it are wrong; the message says what is accepted."""


class ConsoleToken(NamedTuple):
    """A name with rights, and the SHA-256 of the secret that proves it."""

    name: str
    rights: frozenset[str]
    digest: str


class ConsoleTokens:
    """The tokens of a file, which is read again when it changes.

    Any fault at the start raises WrongAccess. Later, an invalid line admits nobody, and an unreadable file admits no
    caller at all: a token that was removed must not become valid again because of another mistake.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._version = self._look()
            self._tokens, faults = tokens_in(path.read_bytes())
        except OSError as error:
            raise WrongAccess(f"STREAMPROC_CONSOLE__TOKENS_FILE {path} cannot be read: {error.strerror}") from None
        if faults:
            raise WrongAccess(f"{path} line {faults[0]} is not a token: {FORM}")
        if not self._tokens:
            raise WrongAccess(f"{path} has no token, so nobody could log in: on a line {FORM}")

    def whose(self, secret: str) -> ConsoleToken | None:
        """Return the token with a secret. All tokens are compared, each in constant time."""
        self._read_again()
        digest, match = digest_of(secret), None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest) and secret:
                match = token
        return match

    def _look(self) -> tuple[int, int, int]:
        about = self._path.stat()
        return about.st_mtime_ns, about.st_ino, about.st_size

    def _read_again(self) -> None:
        try:
            version = self._look()
            if version == self._version:
                return
            self._tokens, faults = tokens_in(self._path.read_bytes())
            self._version = version
        except OSError as error:
            if self._tokens:
                log.warning("nobody is let in: no file of tokens", file=str(self._path), why=error.strerror)
            self._tokens, self._version = (), (0, 0, 0)
            return
        for number in faults:
            log.warning("a line of the file of tokens lets nobody in", file=str(self._path), line=number)


def tokens_in(text: bytes) -> tuple[Sequence[ConsoleToken], Sequence[int]]:
    """Return the tokens of a file, and the numbers of the invalid lines."""
    tokens: list[ConsoleToken] = []
    faults: list[int] = []
    for number, line in enumerate(text.decode(errors="replace").split("\n"), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = LINE.fullmatch(content)
        rights = frozenset(match["rights"].split(",")) if match else frozenset()
        if match is not None and rights <= frozenset(RIGHTS):
            tokens.append(ConsoleToken(match["name"], rights, match["digest"]))
        else:
            faults.append(number)
    return tokens, faults


def new_token(name: str, rights: Sequence[str]) -> tuple[str, str]:
    """Return a new secret, and its line for the file; raises WrongAccess for an invalid name."""
    secret = secrets.token_urlsafe(32)
    line = f"{name} {','.join(rights)} sha256:{digest_of(secret)}"
    if LINE.fullmatch(line) is None:
        raise WrongAccess(f"{name!r}: a name is made of up to 64 letters, digits, and . _ @ -")
    return secret, line


def digest_of(secret: str) -> str:
    """Return the digest of a secret, as the file stores it."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
