"""A token in a file that somebody else renews, such as Kubernetes' projected service account tokens."""

import asyncio
import re
from pathlib import Path

from streamproc.runtime.tokens import TokenUnavailable

SETTING = "STREAMPROC_KAFKA__OAUTH__TOKEN_FILE"
MAX_BYTES = 262_144


class TokenFile:
    """Reads the file each time."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def token(self) -> str:
        """Return what is in the file by now; raises TokenUnavailable."""
        return await asyncio.to_thread(self._read)

    def refused(self, token: str) -> None:
        """Do nothing: the file is read again anyway."""

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise TokenUnavailable(f"{SETTING}={self._path} cannot be read: {error.strerror}") from None
        token = content.decode("ascii", "replace").strip()
        if len(content) > MAX_BYTES or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise TokenUnavailable(f"{SETTING}={self._path} has no token in it: printable ASCII without blanks")
        return token
