"""Everything that a value holds, so that two moments of it can be compared: private parts, order and all."""

from types import FunctionType, MappingProxyType
from typing import Any

from msgspec import Struct


def contents(value: Any) -> Any:
    """Return a value as nested tuples that share nothing with it. It must not contain itself."""
    if isinstance(value, Struct):
        return type(value), tuple(contents(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, (dict, MappingProxyType)):
        return type(value), tuple((contents(key), contents(each)) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(contents, value))
    if isinstance(value, (set, frozenset)):
        return type(value), frozenset(map(contents, value))
    if hasattr(value, "__dict__") and not isinstance(value, (type, FunctionType)):
        return type(value), contents(vars(value))
    return value
