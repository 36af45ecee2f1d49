"""Tokens: who may come in with what they show, and with which rights. Only digests are kept."""

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


class ConsoleToken(NamedTuple):
    """Somebody who may come in, by the SHA-256 of what they have to show."""

    name: str
    rights: frozenset[str]
    digest: str


class ConsoleTokens:
    """The tokens of a file, which is read again where it has changed.

    What is wrong with it at the start raises ConfigError. Later a line that is no token lets nobody in, and a file that
    cannot be read lets in nobody at all: a token that was taken out must not be good again because of a slip elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._version = self._look()
            self._tokens, faults = tokens_in(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"STREAMPROC_CONSOLE__TOKENS_FILE {path}: {error.strerror}") from None
        if faults:
            raise ConfigError(f"{path} line {faults[0]} is no token: {FORM}")
        if not self._tokens:
            raise ConfigError(f"{path} has no token, so nobody could come in: on a line {FORM}")

    def whose(self, secret: str) -> ConsoleToken | None:
        """Return the token that was shown; all of them are compared, and each in constant time."""
        self._read_again()
        digest, found = digest_of(secret), None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest) and secret:
                found = token
        return found

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
    """Return the tokens of a file, and the numbers of the lines that are none."""
    found: list[ConsoleToken] = []
    faults: list[int] = []
    for number, line in enumerate(text.decode(errors="replace").split("\n"), 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        match = LINE.fullmatch(said)
        rights = frozenset(match["rights"].split(",")) if match else frozenset()
        if match is not None and rights <= frozenset(RIGHTS):
            found.append(ConsoleToken(match["name"], rights, match["digest"]))
        else:
            faults.append(number)
    return found, faults


def new_token(name: str, rights: Sequence[str]) -> tuple[str, str]:
    """Return a new token, and the line for the file; raises ConfigError for a name that cannot stand there."""
    secret = secrets.token_urlsafe(32)
    line = f"{name} {','.join(rights)} sha256:{digest_of(secret)}"
    if LINE.fullmatch(line) is None:
        raise ConfigError(f"{name!r}: a name is made of up to 64 letters, digits, and . _ @ -")
    return secret, line


def digest_of(secret: str) -> str:
    """Return what a file holds of a token."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
