"""What this installation would do, as one document: settings without secrets, codec, topics, schemas, life cycle."""

import re
from typing import Any

from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.lifecycle import Profile
from streamproc.native import CODEC
from streamproc.registry.link import OUTPUTS
from streamproc.runtime.topics import ROLES
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings

HIDDEN = "**********"
"""As pydantic shows a secret."""
URL = re.compile("https?://", re.IGNORECASE)
USER_INFO, QUERY = re.compile(r"(?<=//)[^/?#]*@"), re.compile(r"(?<=\?).+", re.DOTALL)


def describe_all(settings: Settings) -> dict[str, Any]:
    """Return the document; secrets show as asterisks, and so does what may be one in a URL."""
    topics, profile = settings.topic_names.by_role(), settings.life_cycle
    return {
        "settings": _bare(settings.model_dump(mode="json", by_alias=True)),
        "codec": CODEC._asdict(),
        "topics": {role: {"name": name, "config": dict(ROLES[role].config)} for role, name in topics.items()},
        "schemas": {
            "input": {schema.label: _about(schema) for schema in book_of(profile)},
            "output": {load(name).label: load(name).document["name"] for name in OUTPUTS},
        },
        "life_cycle": _life_cycle(profile),
    }


def _bare(value: Any) -> Any:
    """Return settings without the user info and the queries of their URLs: they may hold a key."""
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, str) and URL.match(value):
        return QUERY.sub(HIDDEN, USER_INFO.sub(f"{HIDDEN}@", value))
    return value


def _about(schema: WriterSchema) -> str:
    doc = schema.document.get("doc") if isinstance(schema.document, dict) else None
    return str(doc or schema.tree.name)


def _life_cycle(profile: Profile) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "initial": sorted(profile.initial),
        "documented": {status: sorted(to) for status, to in profile.documented.items()},
        "also_accepted": {status: sorted(to) for status, to in profile.accepted.items()},
        "terminal": dict(profile.outcomes),
        "reopened": {status: sorted(to) for status, to in profile.reopened.items()},
        "limits_s": dict(profile.limits_s),
        "queued": sorted(profile.queued),
        "running": sorted(profile.running),
        "waiting": sorted(profile.waiting),
        "ended_by": dict(profile.ended_by),
        "statuses": dict(profile.shape.statuses),
        "time_unit": profile.shape.time_unit,
        "paths": {target: list(paths) for target, paths in profile.shape.paths.items()},
    }
