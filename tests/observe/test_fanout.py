"""The fan-out leaves no call out."""

import inspect

import pytest

from streamproc.observe.fanout import Observers
from streamproc.runtime.observer import Observer

CALLS = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]


class Recorder:
    def __init__(self, into):
        self._into = into

    def __getattr__(self, name):
        return lambda *arguments: self._into.append((self, name, arguments))


@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_the_port_reaches_every_observer_in_order(name):
    seen = []
    first, second = Recorder(seen), Recorder(seen)
    arguments = tuple(range(len(inspect.signature(getattr(Observer, name)).parameters) - 1))
    getattr(Observers(first, second), name)(*arguments)
    assert seen == [(first, name, arguments), (second, name, arguments)]
