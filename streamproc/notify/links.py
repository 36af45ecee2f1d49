"""Where an alert leads: to its run's page in the console."""

from urllib.parse import quote


def page_of(console_url: str, run_id: str | None) -> str:
    """Return the page of an alert's run; where it is about none, that of all alerts."""
    root = console_url.rstrip("/")
    if not run_id:
        return f"{root}/alerts"
    if run_id in {".", ".."}:  # Browsers resolve these in a path, however they are written.
        return f"{root}/runs/?id={run_id}"
    return f"{root}/runs/{quote(run_id, safe='', errors='replace')}"
