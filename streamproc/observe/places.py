"""Partitions of several topics, written for people."""

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

from streamproc.runtime.ports import TopicPartition

SHOWN = 5
"""How many partitions of a topic a sentence names; it counts the rest."""


def by_topic(sources: Iterable[TopicPartition]) -> Mapping[str, list[int]]:
    """Return the partitions' numbers by topic, in order."""
    ordered = groupby(sorted(sources), lambda source: source.topic)
    return {topic: [source.partition for source in group] for topic, group in ordered}


def named(sources: Iterable[TopicPartition]) -> str:
    """Name the partitions in a sentence."""
    return " and ".join(f"{topic} {_numbers(numbers)}" for topic, numbers in by_topic(sources).items())


def _numbers(numbers: Collection[int]) -> str:
    shown, more = list(numbers)[:SHOWN], len(numbers) - SHOWN
    names = ", ".join(map(str, shown)) + (f" and {more} more" if more > 0 else "")
    return f"partition{'s' if len(numbers) > 1 else ''} {names}"
