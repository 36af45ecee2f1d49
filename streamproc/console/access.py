"""Who may come in, and what they may do.

On this machine only, everybody may; elsewhere it takes a token, or a proxy that is trusted. A browser sends a token as
the password of HTTP's own log in, so it sends it along with whatever any page makes it send: an action takes a second
token as well, which only our pages have.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streamproc.console.callers import Caller
from streamproc.console_config import ConsoleSettings
from streamproc.errors import ConfigError

OPERATOR, PAYLOADS, VIEWER = "operator", "payloads", "viewer"
RIGHTS = (VIEWER, OPERATOR, PAYLOADS)
LINE = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64})\s+(?P<rights>[a-z,]+)\s+sha256:(?P<digest>[0-9a-f]{64})")
LOCAL = "local"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_HEADER_CHARS = 4_096

Headers = Mapping[str, str]


class Token(NamedTuple):
    """Somebody who may come in, by the SHA-256 of what they have to show."""

    name: str
    rights: frozenset[str]
    digest: str


class Refused(Exception):
    """Somebody may not come in. `status`: 401 where a token would help, else 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Access:
    """Lets callers in. Raises ConfigError where the settings would let in everybody from everywhere."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._secret = secrets.token_bytes(32)
        self._networks = [_network(text) for text in settings.proxy_networks]
        self._tokens: Sequence[Token] = ()
        self._read_at: tuple[int, int] | None = None
        self._is_open = is_loopback(settings.host) and settings.tokens_file is None and settings.proxy_header is None
        if not is_loopback(settings.host) and settings.tokens_file is None and settings.proxy_header is None:
            raise ConfigError(
                f"the console would be open to everybody who reaches {settings.host}: set "
                "STREAMPROC_CONSOLE__TOKENS_FILE (`streamproc console token NAME` makes a line of it), or "
                "STREAMPROC_CONSOLE__PROXY_HEADER and __PROXY_NETWORKS, or leave STREAMPROC_CONSOLE__HOST at 127.0.0.1"
            )
        if (settings.proxy_header is None) != (not settings.proxy_networks):
            raise ConfigError("STREAMPROC_CONSOLE__PROXY_HEADER and __PROXY_NETWORKS go together: set both, or neither")
        self._load()

    def caller(self, headers: Headers, address: str) -> tuple[Caller, bool]:
        """Return who asks, and whether they showed what no other page could make a browser send; raises Refused."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if self._is_open:
            _refuse_other_names(headers.get("host", ""), self._settings.host)
            return self._made(LOCAL, RIGHTS), False
        if len(shown) <= MAX_HEADER_CHARS and (token := self._token(_secret(scheme, shown))) is not None:
            return self._made(token.name, token.rights), scheme.lower() == "bearer"
        name = self._proxied(headers, address)
        if name is not None:
            return self._made(name, self._settings.proxy_rights), False
        raise Refused(401, "a token is needed: send it as `Authorization: Bearer …`, or as the password of the log in")

    def allows(self, caller: Caller, headers: Headers) -> bool:
        """Tell whether a request that changes something came from one of our pages."""
        return hmac.compare_digest(headers.get("x-csrf-token", "").encode(), self._csrf(caller.name).encode())

    def _made(self, name: str, rights: Sequence[str] | frozenset[str]) -> Caller:
        is_operator = OPERATOR in rights and self._settings.actions
        return Caller(name, is_operator, PAYLOADS in rights, self._csrf(name) if is_operator else "")

    def _csrf(self, name: str) -> str:
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def _token(self, secret: str) -> Token | None:
        """Return whose token it is; all of them are compared, and each in constant time."""
        self._load()
        digest, found = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest(), None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest) and secret:
                found = token
        return found

    def _proxied(self, headers: Headers, address: str) -> str | None:
        if self._settings.proxy_header is None:
            return None
        try:
            is_trusted = any(ipaddress.ip_address(address) in network for network in self._networks)
        except ValueError:
            return None
        name = headers.get(self._settings.proxy_header.lower(), "")
        return name[:64] if is_trusted and name else None

    def _load(self) -> None:
        """Read the tokens again where the file has changed; raises ConfigError."""
        path = self._settings.tokens_file
        if path is None:
            return
        try:
            about = path.stat()
            if (read_at := (about.st_mtime_ns, about.st_ino)) != self._read_at:
                self._tokens, self._read_at = read_tokens(path), read_at
        except OSError as error:
            if self._read_at is None:
                raise ConfigError(f"STREAMPROC_CONSOLE__TOKENS_FILE {path}: {error.strerror}") from None


def read_tokens(path: Path) -> Sequence[Token]:
    """Read a file of tokens: on each line a name, its rights, and the digest; raises ConfigError, OSError."""
    found: list[Token] = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = LINE.fullmatch(text)
        rights = frozenset(match["rights"].split(",")) if match else frozenset()
        if match is None or not rights <= frozenset(RIGHTS):
            raise ConfigError(
                f"{path} line {number} is no token: NAME RIGHTS sha256:DIGEST, rights of {', '.join(RIGHTS)} with "
                "commas between; `streamproc console token NAME` makes one"
            )
        found.append(Token(match["name"], rights, match["digest"]))
    return found


def new_token(name: str, rights: Sequence[str]) -> tuple[str, str]:
    """Return a new token, and the line for the file; raises ConfigError for a name that cannot stand there."""
    secret = secrets.token_urlsafe(32)
    line = f"{name} {','.join(rights)} sha256:{hashlib.sha256(secret.encode()).hexdigest()}"
    if LINE.fullmatch(line) is None:
        raise ConfigError(f"{name!r}: a name is made of letters, digits, and . _ @ -")
    return secret, line


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own, and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secret(scheme: str, shown: str) -> str:
    if scheme.lower() == "bearer":
        return shown.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(shown, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _refuse_other_names(host: str, own: str) -> None:
    """Refuse what was sent to another name: a page of somebody's may have made it point here."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    if name.strip("[]").lower() not in (*LOOPBACK_NAMES, own):
        raise Refused(403, f"without tokens the console answers to {LOOPBACK_NAMES[1]} and localhost only")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(f"STREAMPROC_CONSOLE__PROXY_NETWORKS: {text!r} is no network such as 10.0.0.0/8") from None
