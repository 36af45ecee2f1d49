"""Authentication and rights of the console's callers.

A console on a loopback address is open to everybody on the machine. Elsewhere a caller needs a token, or a trusted
proxy. A browser sends the token as a basic-auth password, with every request that any page makes it send. So an action
also needs a CSRF token, which only our pages have.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from base64 import b64decode
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers

from streamproc.console.callers import Caller
from streamproc.console.tokenfile import OPERATOR, PAYLOADS, RIGHTS, ConsoleToken, ConsoleTokens, WrongAccess
from streamproc.settings.console import ConsoleSettings

LOCAL = "local"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_HEADER_CHARS = 4_096
MAX_NAME_CHARS = 256
UNAUTHORIZED, FORBIDDEN = 401, 403

Security = Sequence[Mapping[str, Sequence[str]]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AccessRefused(Exception):
    """A caller is refused. `status`: 401 where a token would help, else 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Access:
    """Authenticates callers. Raises WrongAccess where the settings would admit everybody from anywhere."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._secret = secrets.token_bytes(32)
        self._networks = [_network(text) for text in settings.proxy_networks]
        self._is_open = settings.tokens_file is None and settings.proxy_header is None
        if self._is_open and not is_loopback(settings.host):
            raise WrongAccess(
                f"the console would be open to everybody who reaches {settings.host}: set "
                "STREAMPROC_CONSOLE__TOKENS_FILE (`streamproc console token NAME` makes a line of it), or "
                "STREAMPROC_CONSOLE__PROXY_HEADER and __PROXY_NETWORKS, or leave STREAMPROC_CONSOLE__HOST at 127.0.0.1"
            )
        if (settings.proxy_header is None) != (not settings.proxy_networks):
            raise WrongAccess("STREAMPROC_CONSOLE__PROXY_HEADER and __PROXY_NETWORKS go together: set both, or neither")
        self._tokens = None if settings.tokens_file is None else ConsoleTokens(settings.tokens_file)

    @property
    def security(self) -> Security:
        """The ways to authenticate, in OpenAPI's form; an empty one means that the client itself sends nothing."""
        with_token: Security = [] if self._tokens is None else [{"bearer": []}, {"basic": []}]
        is_optional = self._tokens is None or self._settings.proxy_header is not None
        return [{}, *with_token] if is_optional else with_token

    def caller(self, headers: Headers, address: str) -> tuple[Caller, bool]:
        """Return the caller, and whether they sent a bearer token, which no foreign page can make a browser send.

        Raises AccessRefused.
        """
        if self._is_open:
            _refuse_other_names(headers.get("host", ""), self._settings.host)
            return self._caller_named(LOCAL, RIGHTS), False
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if (token := self._token(scheme.lower(), shown)) is not None:
            return self._caller_named(token.name, token.rights), scheme.lower() == "bearer"
        if (name := self._proxied(headers, address)) is not None:
            return self._caller_named(name, self._settings.proxy_rights), False
        raise AccessRefused(
            UNAUTHORIZED, "a token is needed: send it as `Authorization: Bearer …`, or as the password of the log in"
        )

    def admit_scraper(self, headers: Headers) -> None:
        """Admit a scraper without a token; raises AccessRefused for a request to another host name."""
        if self._is_open:
            _refuse_other_names(headers.get("host", ""), self._settings.host)

    def allows(self, caller: Caller, headers: Headers) -> bool:
        """Tell whether a request that changes something has the CSRF token of one of our pages."""
        return hmac.compare_digest(headers.get("x-csrf-token", "").encode(), self._csrf(caller.name).encode())

    def _caller_named(self, name: str, rights: Sequence[str] | frozenset[str]) -> Caller:
        is_operator = OPERATOR in rights and self._settings.actions
        return Caller(name, is_operator, PAYLOADS in rights, self._csrf(name) if is_operator else "")

    def _csrf(self, name: str) -> str:
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def _token(self, scheme: str, shown: str) -> ConsoleToken | None:
        if self._tokens is None or len(shown) > MAX_HEADER_CHARS:
            return None
        secret = _secret(scheme, shown)
        return self._tokens.whose(secret) if secret else None

    def _proxied(self, headers: Headers, address: str) -> str | None:
        """Return the user whom a trusted proxy names; raises AccessRefused unless it names exactly one."""
        if self._settings.proxy_header is None or not self._is_trusted(address):
            return None
        names = headers.getlist(self._settings.proxy_header)
        if not names:
            return None
        name = names[0].encode("latin-1").decode(errors="replace")
        # More than one: the proxy only appends to the header, which then still holds what the client sent.
        if len(names) > 1 or not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARS:
            raise AccessRefused(
                FORBIDDEN, f"the proxy must send one {self._settings.proxy_header}, with a user's name in it"
            )
        return name

    def _is_trusted(self, address: str) -> bool:
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        # Where the console also listens on IPv6, IPv4 peers have mapped addresses.
        mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
        return any((mapped or peer) in network for network in self._networks)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secret(scheme: str, shown: str) -> str:
    if scheme == "bearer":
        return shown.strip()
    if scheme != "basic":
        return ""
    try:
        return b64decode(shown, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _refuse_other_names(host: str, own: str) -> None:
    """Refuse a request to another host name: a foreign page may resolve a name of its own to this address."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    if name.strip("[]").lower() not in (*LOOPBACK_NAMES, own):
        raise AccessRefused(FORBIDDEN, f"without tokens the console answers to {LOOPBACK_NAMES[1]} and localhost only")


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise WrongAccess(f"STREAMPROC_CONSOLE__PROXY_NETWORKS: {text!r} is not a network such as 10.0.0.0/8") from None
