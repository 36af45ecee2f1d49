"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version


def installed() -> str:
    """Return the version that is installed; `unknown` for a checkout on the path."""
    try:
        return version("streamproc")
    except PackageNotFoundError:
        return "unknown"
