"""URLs below the base path, with ids escaped."""

from collections.abc import Sequence
from urllib.parse import urlencode

from streamproc.console.pages.assets import assets
from streamproc.console.qualifiers import Filter
from streamproc.runpage import in_path, page_of

Queried = str | int | None | Sequence[str]


class Links:
    """Makes URLs; `root` is the base path without a slash at its end."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def to(self, path: str, **query: Queried) -> str:
        """Return a page's URL, without empty parameters."""
        parameters = {name: value for name, value in query.items() if value not in (None, "", (), [])}
        encoded = urlencode(parameters, doseq=True, errors="replace")
        return f"{self.root}/{path}{'?' if encoded else ''}{encoded}"

    def run(self, run_id: str, **query: Queried) -> str:
        """Return the page of a run."""
        path, named = page_of(run_id)
        return self.to(path, **named, **query)

    def api_run(self, run_id: str) -> str:
        """Return the URL of a run in the API."""
        return self.to(f"api/v1/runs/{in_path(run_id)}")

    def runs(self, wanted: Filter, **query: Queried) -> str:
        """Return the list of the runs of a filter."""
        return self.to("runs", q=wanted.text(), **query)

    def only(self, **wanted: str) -> str:
        """Return the list of the runs with one value of one qualifier."""
        return self.runs(Filter(wanted={name: (value,) for name, value in wanted.items()}))

    def overdue(self, status: str) -> str:
        """Return the list of the runs of a status that are past a limit."""
        return self.runs(Filter(wanted={"status": (status,)}, flags=("overdue",)), sort="deadline")

    def letter(self, partition: int, offset: int) -> str:
        """Return the page of a dead letter."""
        return self.to(f"dead-letters/{partition}/{offset}")

    def asset(self, name: str) -> str:
        """Return a file's URL, with its tag."""
        return self.to(f"static/{name}", v=assets()[name].tag)
