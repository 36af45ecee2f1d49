"""Writes the pages of docs/reference: `python -m tests.docs.reference`."""

from tests.docs.reference.pages import DIRECTORY, PAGES

for name, text in PAGES.items():
    (DIRECTORY / name).write_text(text(), encoding="utf-8")
