"""Profiles that users define, as data: they are checked when loaded, and converted to the core's Profile.

The built-in profiles pass the same checks; a test proves it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from streamproc.codec.book import SchemaBook
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.lifecycle import Profile
from streamproc.core.profiles import PROFILES
from streamproc.core.shape import LIST, METADATA, REQUIRED, TARGETS, TIMES, TOKENS, TOOLS, Shape
from streamproc.errors import ConfigError, RecordRejected
from streamproc.schemafile import read_document
from streamproc.section import Section

OUTCOMES = ("succeeded", "failed", "cancelled", "expired", "incomplete")
ROLES = ("queued", "running", "waiting")
"""The roles that an open status may have in alerts and metrics."""
AVSC = ".avsc"
BUNDLED = tuple(schema for profile in PROFILES.values() for schema in profile.schemas)
"""Schemas of events that ship with streamproc."""
MAX_STATUSES = 100
RESERVED = ("new", "other")
"""Metric labels for no status, and for any other status."""
_STATUS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STEP = r"[^\s.\[\]]+(\[\])?"
"""JSON permits names that Avro does not, such as `run-id`."""
_PATH = re.compile(rf"{_STEP}(\.{_STEP})*")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Moves = dict[str, tuple[str, ...]]


class ProfileSettings(Section):
    """A producer's life cycle, and where its objects hold what is read. What is left out is that of `extends`."""

    extends: str | None = Field(None, description="A built-in profile to begin with.")
    initial: Paths | None = Field(None, description="The statuses with which a run begins.")
    queued: tuple[str, ...] | None = Field(None, description="Open statuses in which a run waits to be started.")
    running: tuple[str, ...] | None = Field(None, description="Open statuses in which it is worked on.")
    waiting: tuple[str, ...] | None = Field(None, description="Open statuses in which it waits for somebody else.")
    documented: Moves | None = Field(None, description="For each open status the ones that may follow.")
    accepted: Moves | None = Field(None, description="Those that may follow, too, but are flagged as unexpected.")
    outcomes: dict[str, str] | None = Field(None, description="For each terminal status its class.")
    reopened: Moves | None = Field(
        None, description="For terminal statuses that may be left: those with which a run begins again under its id."
    )
    ended_by: dict[str, str] | None = Field(None, description="For terminal statuses the time that ends a run.")
    limits_s: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        None, description="How long a run may stay in a status, by status, in seconds; 0: as long as it likes."
    )
    statuses: dict[str, str] | None = Field(None, description="What the producer writes, to statuses of this profile.")
    time_unit: Literal["s", "ms", "us", "ns"] | None = Field(None, description="The unit of times that are numbers.")
    paths: dict[str, Paths] | None = Field(None, description="For each target where it is, or several places to try.")
    schemas: tuple[str, ...] | None = Field(None, description="Avro schema files (.avsc), known without a registry.")


def made(name: str, settings: ProfileSettings) -> Profile:
    """Return the profile; raises ValueError, which lists all flaws."""
    if name in PROFILES:
        raise ValueError(f"profile {name} is built in: give yours another name, and extends = {name!r}")
    if settings.extends is not None and settings.extends not in PROFILES:
        raise ValueError(f"profile {name} extends {settings.extends}: there is {', '.join(PROFILES)}")
    profile = _made(name, settings, PROFILES.get(settings.extends or ""))
    faults = [*_flaws_of_names(name, settings), *flaws(profile)]
    if faults:
        raise ValueError(f"profile {name}: {'; '.join(faults)}")
    return profile


def _made(name: str, own: ProfileSettings, base: Profile | None) -> Profile:
    def chosen(field: str, default: Any) -> Any:
        value = getattr(own, field)
        return value if value is not None else default if base is None else getattr(base, field)

    def moves(field: str) -> dict[str, frozenset[str]]:
        return {status: frozenset(to) for status, to in chosen(field, {}).items()}

    like = Shape(paths={}) if base is None else base.shape
    shape = Shape(
        paths={**like.paths, **(own.paths or {})},
        statuses=like.statuses if own.statuses is None else own.statuses,
        time_unit=own.time_unit or like.time_unit,
    )
    inherited = () if base is None else tuple(schema for schema in base.schemas if _fits(schema, shape))
    return Profile(
        name=name,
        initial=frozenset(chosen("initial", ())),
        queued=frozenset(chosen("queued", ())),
        running=frozenset(chosen("running", ())),
        waiting=frozenset(chosen("waiting", ())),
        documented=moves("documented"),
        accepted=moves("accepted"),
        outcomes=dict(chosen("outcomes", {})),
        ended_by=dict(chosen("ended_by", {})),
        limits_s=dict(chosen("limits_s", {})),
        reopened=moves("reopened"),
        shape=shape,
        schemas=inherited if own.schemas is None else own.schemas,
    )


def _fits(schema: str, shape: Shape) -> bool:
    """Tell whether a bundled schema can be read with the paths of this profile."""
    try:
        WriterSchema(load(schema).document, shape)
    except RecordRejected:
        return False
    return True


def flaws(profile: Profile) -> Iterator[str]:
    """Yield the flaws of a profile, each with what to change."""
    yield from _flaws_of_statuses(profile)
    yield from _flaws_of_paths(profile)


def _flaws_of_statuses(profile: Profile) -> Iterator[str]:
    opened, terminal = set(profile.documented), set(profile.outcomes)
    if len(opened | terminal) > MAX_STATUSES:
        yield f"it has more than {MAX_STATUSES} statuses: each is a label of metrics"
    if not profile.initial:
        yield "initial is missing: name the statuses with which a run begins"
    yield from _strangers("initial", profile.initial, opened, "no open status: name it in documented")
    for status in sorted(opened | terminal):
        if not _STATUS.fullmatch(status) or status in RESERVED:
            yield f"{status!r} is no name for a status: up to 64 letters, digits, _ and -, not {' or '.join(RESERVED)}"
    if not terminal:
        yield "no status is terminal: name them in outcomes"
    for status in sorted(terminal & (opened | set(profile.accepted))):
        yield f"{status} is terminal and has exits: take it out of outcomes, or out of documented and accepted"
    start = " or ".join(sorted(profile.initial))
    tables = (profile.documented, profile.accepted)
    named = {*profile.accepted, *(to for table in tables for exits in table.values() for to in exits)}
    for status in sorted(named - opened - terminal):
        yield f"{status} follows another status, but is neither open nor terminal: name it in documented or outcomes"
    for status in sorted((opened | terminal) - _reachable(profile)) if profile.initial else ():
        yield f"{status} cannot be reached from {start}: name it behind a status in documented or accepted"
    yield from _flaws_of_attempts(profile, opened | terminal, terminal)
    yield from _flaws_of_roles(profile, opened | terminal)
    for field in ROLES:
        yield from _strangers(field, getattr(profile, field), opened, "no open status")
    yield from _strangers("limits_s", profile.limits_s, opened, "no open status")
    yield from _strangers("ended_by", profile.ended_by, terminal, "no terminal status")
    yield from _strangers("statuses", profile.shape.statuses.values(), opened | terminal, "no status of this profile")
    yield from _strangers("outcomes", profile.outcomes.values(), set(OUTCOMES), f"no class: {', '.join(OUTCOMES)}")


def _flaws_of_names(name: str, settings: ProfileSettings) -> Iterator[str]:
    if not _STATUS.fullmatch(name):
        yield "its name is committed with every offset: up to 64 letters, digits, _ and -"
    for schema in settings.schemas or ():
        if not schema.endswith(AVSC) and schema not in BUNDLED:
            yield f"schemas names {schema!r}: write a file that ends in {AVSC}, or one of {', '.join(BUNDLED)}"


def _flaws_of_attempts(profile: Profile, known: set[str], terminal: set[str]) -> Iterator[str]:
    """Yield the flaws of `reopened`: statuses that cannot be left for a new attempt, and targets that do not exist."""
    yield from _strangers("reopened", profile.reopened, terminal, "no terminal status: only those end an attempt")
    for status, begins in sorted(profile.reopened.items()):
        yield from _strangers(f"reopened.{status}", begins, known, "no status of this profile")
        if status in begins:
            yield f"reopened.{status} names itself: a second {status} could not be told from a repeated event"


def _flaws_of_roles(profile: Profile, known: set[str]) -> Iterator[str]:
    """Yield statuses with several roles, and mappings that hide a status."""
    roles = Counter(status for field in ROLES for status in getattr(profile, field))
    for status in sorted(status for status, count in roles.items() if count > 1):
        yield f"{status} is in more than one of {', '.join(ROLES)}"
    for raw, status in sorted(profile.shape.statuses.items()):
        if not raw:
            yield f"statuses maps an empty text to {status}: a run without a status is no run"
        elif raw in known and raw != status:
            yield f"statuses maps {raw} to {status}, but {raw} is a status itself, which no run could then have"


def _strangers(field: str, names: Iterable[str], known: set[str], what: str) -> Iterator[str]:
    for name in sorted(set(names) - known):
        yield f"{field} names {name}, which is {what}"


def _reachable(profile: Profile) -> set[str]:
    """Return the statuses that a run can reach: by documented or accepted moves, or in a further attempt."""
    reached, todo = set[str](), [*profile.initial]
    while todo:
        status = todo.pop()
        if status not in reached:
            reached.add(status)
            for table in (profile.documented, profile.accepted, profile.reopened):
                todo += table.get(status, ())
    return reached


def _flaws_of_paths(profile: Profile) -> Iterator[str]:
    paths: Mapping[str, tuple[str, ...]] = profile.shape.paths
    for target in REQUIRED:
        if target not in paths:
            yield f"paths.{target} is missing: a run is nothing without it"
    yield from _strangers("paths", paths, set(TARGETS), f"no target: {', '.join(TARGETS)}")
    for target, each in paths.items():
        for path in each:
            if not _PATH.fullmatch(path):
                yield f"paths.{target} is {path!r}: write names with dots between them, [] behind a list"
            elif path.count(LIST) != (target == TOOLS):
                yield f"paths.{target} is {path!r}: [] stands once in {TOOLS}, and nowhere else"
        if len(set(each)) < len(each):
            yield f"paths.{target} names a place twice"
        if target in (TOOLS, METADATA) and len(each) > 1:
            yield f"paths.{target} has several places: it may have one"
    yield from _flaws_of_ends(profile)
    yield from _conflicts(paths)


def _conflicts(paths: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield contradictory paths: a record cannot be a value, nor can a value have two kinds."""
    kinds = {path: kind_of(target) for target, each in paths.items() for path in each}
    for target, each in paths.items():
        for path in each:
            if any(other.startswith((f"{path}.", f"{path}[]")) for other in kinds):
                yield f"paths.{target} is {path}: other paths lead through it, so it cannot be a value"
            elif kinds[path] != kind_of(target):
                yield f"paths.{target} is {path}, which serves a target of another kind"


def kind_of(target: str) -> str:
    """Return the kind of a target's values: targets of one kind may share a path."""
    return "time" if target in TIMES else "count" if target in TOKENS else METADATA if target == METADATA else "text"


def _flaws_of_ends(profile: Profile) -> Iterator[str]:
    for status, time in profile.ended_by.items():
        if time not in TIMES:
            yield f"ended_by.{status} is {time}: it must be one of {', '.join(TIMES)}"
        elif time not in profile.shape.paths:
            yield f"ended_by.{status} is {time}, for which there is no path: add paths.{time}"


def book_of(profile: Profile, **options: Any) -> SchemaBook:
    """Return the book of a profile's schemas: those that ship, and files; `options` as SchemaBook has them.

    Raises ConfigError for a file that holds no schema, or one that cannot be used.
    """
    schemas = [_schema(name, profile) for name in profile.schemas]
    return SchemaBook(schemas, profile.shape, **options)


def _schema(name: str, profile: Profile) -> WriterSchema:
    try:
        return WriterSchema(read_document(Path(name)) if name.endswith(AVSC) else load(name).document, profile.shape)
    except ConfigError as error:
        raise ConfigError(f"profile {profile.name}: the schema {error}") from None
    except RecordRejected as error:
        raise ConfigError(f"profile {profile.name}: the schema {name}: {error}") from None
