"""The built-in life cycles, and the shapes of their producers' objects."""

from collections.abc import Mapping
from types import MappingProxyType

from streamproc.core.lifecycle import Profile
from streamproc.core.shape import METADATA, REQUIRED, TIMES, TOKENS, Shape, same_names


def _table(**rows: str) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({status: frozenset(row.split()) for status, row in rows.items()})


ASSISTANTS = Profile(
    name="assistants",
    initial=frozenset(("queued",)),
    queued=frozenset(("queued",)),
    running=frozenset(("in_progress",)),
    waiting=frozenset(("requires_action",)),
    documented=_table(
        queued="in_progress",
        in_progress="requires_action completed incomplete failed cancelling expired",
        requires_action="queued expired",
        cancelling="cancelled",
    ),
    accepted=_table(
        queued="failed cancelling cancelled expired requires_action completed incomplete",
        in_progress="cancelled",
        requires_action="in_progress cancelling cancelled failed",
        cancelling="completed failed expired incomplete",
    ),
    outcomes=MappingProxyType(
        {
            "completed": "succeeded",
            "incomplete": "incomplete",
            "failed": "failed",
            "cancelled": "cancelled",
            "expired": "expired",
        }
    ),
    ended_by=MappingProxyType(
        {
            "completed": "completed_at",
            "incomplete": "completed_at",
            "failed": "failed_at",
            "cancelled": "cancelled_at",
        }
    ),
    limits_s=MappingProxyType({"queued": 300, "in_progress": 900, "requires_action": 600, "cancelling": 300}),
    shape=Shape(
        paths=same_names(
            *REQUIRED,
            "thread_id",
            "assistant_id",
            "model",
            *TIMES,
            METADATA,
            **{name: f"usage.{name}" for name in TOKENS},
            error_code="last_error.code",
            required_tools="required_action.submit_tool_outputs.tool_calls[].function.name",
        )
    ),
    schemas=("run_object_v1", "run_object_v1_5", "run_object_v2", "run_object_v2_1"),
)

_LATER = "completed failed incomplete cancelled"

RESPONSES = Profile(
    name="responses",
    initial=frozenset(("queued", "in_progress")),  # `in_progress` if it runs in the foreground.
    queued=frozenset(("queued",)),
    running=frozenset(("in_progress",)),
    waiting=frozenset(),
    documented=_table(queued="in_progress", in_progress=_LATER),
    accepted=_table(queued=_LATER, in_progress=""),
    outcomes=MappingProxyType(
        {"completed": "succeeded", "incomplete": "incomplete", "failed": "failed", "cancelled": "cancelled"}
    ),
    ended_by=MappingProxyType({"completed": "completed_at"}),
    limits_s=MappingProxyType({"queued": 300, "in_progress": 1_800}),
    shape=Shape(
        paths=MappingProxyType(
            {
                **same_names(*REQUIRED, "model", "created_at", "completed_at", METADATA),
                # Responses have neither threads nor assistants: what came in their place are conversations and prompts.
                "thread_id": ("conversation.id",),
                "assistant_id": ("prompt.id",),
                "prompt_tokens": ("usage.input_tokens",),
                "completion_tokens": ("usage.output_tokens",),
                "total_tokens": ("usage.total_tokens",),
                "error_code": ("error.code",),
            }
        )
    ),
    schemas=("response",),
)

LANGGRAPH = Profile(
    name="langgraph",
    initial=frozenset(("pending",)),
    queued=frozenset(("pending",)),
    running=frozenset(("running",)),
    waiting=frozenset(("interrupted",)),
    documented=_table(pending="running", running="success error timeout interrupted", interrupted="pending running"),
    accepted=_table(pending="interrupted success error timeout", running="", interrupted="success error timeout"),
    outcomes=MappingProxyType({"success": "succeeded", "error": "failed", "timeout": "expired"}),
    # The Run object has one time beside its creation: that of its last change.
    ended_by=MappingProxyType(dict.fromkeys(("success", "error", "timeout"), "completed_at")),
    # None for interrupted: a resumed run may go on under another id, and the first would count as stuck for ever.
    limits_s=MappingProxyType({"pending": 300, "running": 3_600}),
    shape=Shape(
        paths=MappingProxyType(
            {
                **same_names("status", "thread_id", "assistant_id", "created_at"),
                "id": ("run_id",),
                "completed_at": ("updated_at",),
            }
        )
    ),
    schemas=("langgraph_run",),
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (ASSISTANTS, RESPONSES, LANGGRAPH)}
)
"""The built-in profiles; users define more in the settings."""
