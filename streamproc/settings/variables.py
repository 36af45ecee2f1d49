"""The names of the settings' variables: all that exist, and the likely one for a misspelt name."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from streamproc.credentials.files import SUFFIX
from streamproc.section import Section


def variables(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the variable names of a section and its subsections, also those that name the file of a secret."""
    for name, field in section.model_fields.items():
        variable, kind = prefix + (field.alias or name).upper(), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from variables(kind, f"{variable}__")
        else:
            yield variable
    yield from (prefix + name.upper() for name in _secret_files(section))


def secret_variables(section: type[BaseModel], prefix: str) -> list[str]:
    """Return the names of the variables whose value may be in a file instead."""
    known = {*variables(section, prefix)}
    return [name for name in known if name + SUFFIX.upper() in known]


def with_meant(variable: str, section: type[BaseModel], prefix: str) -> str:
    """Return a variable's name with the likely intended one: one underscore instead of two is the usual mistake."""
    known = {name.replace("_", ""): name for name in variables(section, prefix)}
    near = get_close_matches(variable.upper().replace("_", ""), known, 1, cutoff=0.8)
    return f"{variable} (did you mean {known[near[0]]}?)" if near else variable


def explained(error: ValidationError, section: type[BaseModel], prefix: str) -> str:
    """Describe the errors without the values, which may be secrets."""
    lines = []
    for flaw in error.errors(include_input=False, include_url=False):
        path = [str(part) for part in flaw["loc"]]
        message = flaw["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
        if flaw["type"] == "extra_forbidden":
            message = f"there is no such setting{_meant(path, section)}"
        where = f"{'.'.join(path)} ({prefix}{'__'.join(path).upper()}): " if path else ""
        lines.append(f"  - {where}{message}")
    return "these settings are wrong:\n" + "\n".join(lines)


def unparsed(error: SettingsError, prefix: str) -> str:
    """Name the variable that is not JSON, where a table or a list needs JSON."""
    match = re.search(r'field "(\w+)"', str(error))
    return f"{prefix}{match[1].upper() if match else ''}…: a variable of this name is to be JSON, and is not"


def _meant(path: list[str], settings: type[BaseModel]) -> str:
    """Return the setting of the same section whose name is nearest to the unknown one."""
    section: Any = settings
    for part in path[:-1]:
        field = section.model_fields.get(part) if isinstance(section, type) and issubclass(section, BaseModel) else None
        section = None if field is None else field.annotation
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return ""
    known = [field.alias or name for name, field in section.model_fields.items()]
    near = get_close_matches(path[-1], [*known, *_secret_files(section)], 1)
    return f": {near[0]}?" if near else ""


def _secret_files(section: type[BaseModel]) -> list[str]:
    return [name + SUFFIX for name in section.secrets()] if issubclass(section, Section) else []
