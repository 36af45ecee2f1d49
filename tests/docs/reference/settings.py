"""docs/reference/settings.md: every setting, by section."""

import json
import types
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streamproc.section import Section
from streamproc.settings.profiles import ProfileSettings
from streamproc.settings.rules import TokenPrices
from streamproc.settings.service import PREFIX, Settings
from tests.docs.reference.markdown import code, codes, page, paragraphs, table

INTRODUCTION = """\
A setting has two names: a variable of the environment, and a key of the TOML file that `--config` names. Variables
go over the file. Names that are not known are an error. Lists and tables in a variable are JSON, URLs also with
commas between them; an entry of a table may also have a variable of its own, such as
`STREAMPROC_DEADLINES__LIMITS_S__QUEUED`.

Every **secret** may be in a file instead: `…_FILE` names it (`STREAMPROC_KAFKA__SASL_PASSWORD_FILE`, in TOML
`sasl_password_file`), or it is a file named like the variable in the directory `STREAMPROC_SECRETS_DIR`.

`streamproc describe` prints the settings in force, without the secrets."""
OF_PROFILES = """\
Under the name of the profile, such as `[profiles.jobs]`: see [Profiles](../profiles.md). In a variable,
`STREAMPROC_PROFILES` is the JSON of all of them."""
UNITS = {"_ms": "milliseconds", "_s": "seconds", "_bytes": "bytes", "_percent": "percent"}
NAMES = {
    bool: "`true` or `false`",
    int: "integer",
    float: "number",
    Decimal: "number",
    str: "text",
    SecretStr: "text, **secret**",
    Path: "file",
    ProfileSettings: "section",
    TokenPrices: "table",
}
HEADS = ("key", "variable", "type", "default", "")


class Group:
    """The settings of one section that are no sections themselves. `path`: the section's, empty at the first level."""

    def __init__(self, path: tuple[str, ...], section: type[BaseModel]) -> None:
        self.path = path
        self.section = section
        self.fields = {name: field for name, field in section.model_fields.items() if _below(field) is None}


def groups(section: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Group]:
    """Yield the sections, each with those below behind it; the user's profiles last."""
    yield Group(path, section)
    for name, field in section.model_fields.items():
        if (below := _below(field)) is not None:
            yield from groups(below, (*path, name))
    if section is Settings:
        yield Group(("profiles", "<name>"), ProfileSettings)


def text() -> str:
    """Return the page."""
    return page("Settings", "the settings' own descriptions", INTRODUCTION, *map(_group, groups()))


def _group(group: Group) -> str:
    about = "Keys before the first section of the file." if not group.path else paragraphs(group.section.__doc__ or "")
    if group.section is ProfileSettings:
        about += f"\n\n{OF_PROFILES}"
    title = code(f"[{'.'.join(group.path)}]") if group.path else "At the first level"
    rows = [_row(group, name, field) for name, field in group.fields.items()]
    shown = [column for column, head in enumerate(HEADS) if head != "variable" or group.section is not ProfileSettings]
    cells = [[row[column] for column in shown] for row in rows]
    return f"## {title}\n\n{about}\n\n{table([HEADS[column] for column in shown], cells)}"


def _row(group: Group, name: str, field: FieldInfo) -> tuple[str, ...]:
    key = field.alias or name
    variable = PREFIX + "__".join((*group.path, key)).upper()
    secret = issubclass(group.section, Section) and name in group.section.secrets()
    assert secret == (SecretStr in (field.annotation, *get_args(field.annotation)))
    return code(key), code(variable), _domain(key, field), _default(field), field.description or ""


def _below(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _domain(key: str, field: FieldInfo) -> str:
    unit = next((unit for suffix, unit in UNITS.items() if key.endswith(suffix)), None)
    return ", ".join(part for part in (_kind(field.annotation), unit, *_limits(field)) if part)


def _kind(kind: Any) -> str:
    origin, within = get_origin(kind), get_args(kind)
    if origin is Annotated:
        said = _kind(within[0])
    elif origin is Literal:
        said = codes(within)
    elif origin in (Union, types.UnionType):
        said = " or ".join(_kind(each) for each in within if each is not type(None))
    elif origin in (tuple, frozenset):
        said = f"list of {_plural(within[0])}"
    elif origin is dict:
        said = f"table of {_plural(within[1])}"
    else:
        said = NAMES[kind]
    return said


def _plural(kind: Any) -> str:
    first, of, rest = _kind(kind).partition(" of ")
    return first if first.startswith("`") else f"{first}s{of}{rest}"


def _limits(field: FieldInfo) -> Iterator[str]:
    """Yield the bounds of numbers, and of lengths."""
    found = {
        name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)
    }
    low = f"at least {found['ge']:,}" if "ge" in found else f"above {found['gt']:,}" if "gt" in found else ""
    high = f"at most {found['le']:,}" if "le" in found else f"below {found['lt']:,}" if "lt" in found else ""
    if "ge" in found and "le" in found:
        yield f"{found['ge']:,} to {found['le']:,}"
    else:
        yield from (bound for bound in (low, high) if bound)


def _default(field: FieldInfo) -> str:
    value = field.default
    assert value is not PydanticUndefined
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, frozenset | tuple):
        return code(json.dumps(sorted(value)))
    return code(f"{value:g}" if isinstance(value, float) else value)
