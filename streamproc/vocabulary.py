"""Closed vocabularies: enums of words that the service says, each with what it means."""

from enum import StrEnum
from typing import Self


class Vocabulary(StrEnum):
    """A closed set of words. It stands where the words are decided on; all others take it from there.

    A member is its word: a label, a header, a field of a record. `meaning`: a sentence of Markdown for whoever reads
    the word; docs/reference/reasons.md is made of them. A new member is one line here and the place that says it.
    Python 3.11 looks a member up by a call: what does so for each event binds it to a name of the module, once.
    """

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a member of its word and meaning."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member
