"""The pages of docs/reference, each made of the code."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.reference import alerts, commands, metrics, reasons, schemas, settings, topics

DIRECTORY = Path(__file__).parents[3] / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.text,
    "commands.md": commands.text,
    "topics.md": topics.text,
    "schemas.md": schemas.text,
    "metrics.md": metrics.text,
    "alerts.md": alerts.text,
    "reasons.md": reasons.text,
}
