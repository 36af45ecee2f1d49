"""What this installation would do, as one document: settings without secrets, topics, schemas, life-cycle table."""

from typing import Any

from streamproc.codec.schemas import bundled_book, load
from streamproc.core.lifecycle import PROFILES, Profile
from streamproc.runtime.topics import ROLES
from streamproc.settings import Settings

OUTPUTS = ("run_transition", "run_state", "run_metrics", "run_alert")


def describe_all(settings: Settings) -> dict[str, Any]:
    """Return the document; secrets show as asterisks."""
    topics = settings.topics.named()
    return {
        "settings": settings.model_dump(mode="json"),
        "topics": {role: {"name": getattr(topics, role), "config": dict(ROLES[role].config)} for role in ROLES},
        "schemas": {
            "input": {schema.label: schema.document["doc"] for schema in bundled_book()},
            "output": {load(name).label: load(name).document["name"] for name in OUTPUTS},
        },
        "life_cycle": _life_cycle(PROFILES[settings.profile]),
    }


def _life_cycle(profile: Profile) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "initial": profile.initial,
        "documented": {status: sorted(to) for status, to in profile.documented.items()},
        "also_accepted": {status: sorted(to) for status, to in profile.accepted.items()},
        "terminal": dict(profile.outcomes),
        "limits_s": dict(profile.limits_s),
    }
