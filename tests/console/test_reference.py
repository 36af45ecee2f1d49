"""docs/api.md says what the description says."""

from tests.console.reference import FILE, text


def test_the_reference_is_up_to_date():
    assert FILE.read_text() == text(), "run `python -m tests.console.reference`"


def test_every_link_leads_somewhere():
    words = text()
    headings = {line.removeprefix("## ").lower() for line in words.splitlines() if line.startswith("## ")}
    links = {part.partition(")")[0] for part in words.split("](#")[1:]}
    assert links
    assert links <= headings
