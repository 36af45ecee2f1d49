"""A token in a file that another program renews, such as Kubernetes' projected service account tokens."""

import asyncio
import re

from streamproc.credentials.files import content
from streamproc.errors import ConfigError
from streamproc.runtime.tokens import TokenUnavailable

SETTING = "STREAMPROC_KAFKA__OAUTH__TOKEN_FILE"
MAX_BYTES = 262_144


class TokenFile:
    """Reads the file each time."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self) -> str:
        """Return the token now in the file; raises TokenUnavailable."""
        return await asyncio.to_thread(self._read)

    def refused(self, token: str) -> None:
        """Do nothing: the file is read again anyway."""

    def _read(self) -> str:
        try:
            found = content(SETTING, self._path)
        except ConfigError as error:
            raise TokenUnavailable(str(error)) from None
        token = found.decode("ascii", "replace").strip()
        if len(found) > MAX_BYTES or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise TokenUnavailable(f"{SETTING} ({self._path}) has no token in it: printable ASCII without blanks")
        return token
