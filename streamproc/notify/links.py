"""The console page that an alert links to."""

from urllib.parse import urlencode

from streamproc import runpage


def page_of(console_url: str, run_id: str | None) -> str:
    """Return the page of an alert's run, or that of all alerts if it is about no run."""
    path, query = runpage.page_of(run_id) if run_id else ("alerts", {})
    return f"{console_url.rstrip('/')}/{path}{'?' if query else ''}{urlencode(query)}"
