"""The settings of the rules: retention, deadlines, windows, alerts; and their conversion to the core's rules."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import gcd
from typing import Annotated, Self

from pydantic import Field, model_validator

from streamproc.core.alerts import Severity
from streamproc.core.conditions import WindowCondition
from streamproc.core.costs import MILLION, CostRules
from streamproc.core.deadlines import Deadlines
from streamproc.core.failures import FailureRules
from streamproc.core.lifecycle import Profile
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.windowstate import WindowRules
from streamproc.section import Section

Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Ratio = Annotated[float, Field(gt=0, le=1)]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=6)]


class RetentionSettings(Section):
    """How long a run is remembered, in seconds (rules.md 17)."""

    terminal_s: int = Field(86_400, ge=1, description="How long after its end.")
    open_s: int = Field(604_800, ge=1, description="How long after its last event, where it has not ended.")


class DeadlineSettings(Section):
    """How long a run may take, in seconds; 0: as long as it likes. Limits not named are the profile's."""

    allowance_s: Seconds = Field(
        30, description="How long after a deadline an alert waits, for an end that is only late."
    )
    overdue: bool = Field(default=True, description="Whether a run past its expires_at is told about.")
    limits_s: dict[str, Seconds] = Field({}, description="How long a run may stay in a status, by status.")
    assistants: dict[str, dict[str, Seconds]] = Field(
        {}, description="The same for single assistants, by assistant and status; goes before limits_s."
    )


class WindowSettings(Section):
    """How run-metrics are summed. Times in seconds."""

    sizes_s: tuple[Annotated[int, Field(ge=1, le=86_400)], ...] = Field(
        (60,), min_length=1, max_length=10, description="Sizes of the windows; each event counts in one of each size."
    )
    grace_s: Seconds = Field(30, description="How late an event may come for a window's first revision.")
    retention_s: Seconds = Field(
        3_600, description="How late for a further revision; what comes later is counted and dropped."
    )
    max_groups: int = Field(
        5_000, ge=1, description="Assistants and models that a partition tells apart in a window; the rest is `other`."
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.sizes_s)) < len(self.sizes_s):
            message = "sizes_s names a size twice"
            raise ValueError(message)
        return self


class TokenPrices(Section):
    """What a million tokens of a model cost, by their type."""

    prompt: Price
    completion: Price


class AlertSettings(Section):
    """Which alerts about rates, costs and silence are sent. Times in seconds."""

    failure_rate_warning: Ratio = Field(
        0.1, description="Share of a window's ended runs that failed, from which on a warning fires."
    )
    failure_rate_critical: Ratio = Field(0.3, description="The same for a critical alert.")
    failure_rate_min_ended: int = Field(
        20, ge=1, description="Ended runs in a window below which its failure rate raises no alert."
    )
    failure_rate_window_s: int | None = Field(
        None, description="Which windows the rate is of: one of windows.sizes_s. Unset: the smallest."
    )
    failure_outcomes: frozenset[str] = Field(frozenset(("failed",)), description="Which ends count as failures.")
    cost_budget: Price | None = Field(
        None, gt=0, description="What an assistant may spend on a model in a window; more is told. Unset: as it likes."
    )
    cost_prices: dict[str, TokenPrices] = Field(
        {},
        description="What a million tokens cost, by model: `prompt` and `completion`, in the budget's currency; `*`: "
        "those of all models that are not named.",
    )
    cost_window_s: int | None = Field(
        None, description="Which windows the budget is of: one of windows.sizes_s. Unset: the smallest."
    )
    silence_s: Seconds = Field(600, description="Without an event for so long, the stream is silent; 0: never.")


def rules(
    profile: Profile, retention: RetentionSettings, deadlines: DeadlineSettings, windows: WindowSettings
) -> Rules:
    """Return the rules for the fold of a run."""
    return Rules(
        profile,
        Retention(retention.terminal_s * 1000, retention.open_s * 1000),
        Deadlines(
            allowance_ms=deadlines.allowance_s * 1000,
            overdue=deadlines.overdue,
            limits=_milliseconds({**profile.limits_s, **_spelt(deadlines.limits_s, profile)}),
            assistants={name: _milliseconds(_spelt(limits, profile)) for name, limits in deadlines.assistants.items()},
        ),
        gcd(*windows.sizes_s) * 1000,
        windows.max_groups,
    )


def window_rules(stream: str, windows: WindowSettings, alerts: AlertSettings) -> WindowRules:
    """Return the rules of the windows; `stream` names the input. The number of sources is set at run time."""
    return WindowRules(
        sources=0,
        stream=stream,
        sizes_ms=tuple(size * 1000 for size in windows.sizes_s),
        grace_ms=windows.grace_s * 1000,
        retention_ms=windows.retention_s * 1000,
        silence_ms=alerts.silence_s * 1000,
        conditions=tuple(_conditions(windows, alerts)),
    )


def _conditions(windows: WindowSettings, alerts: AlertSettings) -> Iterator[WindowCondition]:
    """Yield the conditions on the windows."""
    yield FailureRules(
        window_ms=(alerts.failure_rate_window_s or min(windows.sizes_s)) * 1000,
        thresholds=(
            (Severity.WARNING, alerts.failure_rate_warning),
            (Severity.CRITICAL, alerts.failure_rate_critical),
        ),
        min_ended=alerts.failure_rate_min_ended,
        outcomes=alerts.failure_outcomes,
    )
    if alerts.cost_budget is not None:
        yield CostRules(
            budget=int(alerts.cost_budget * MILLION),
            prices={
                model: {kind: int(price * MILLION) for kind, price in prices}
                for model, prices in alerts.cost_prices.items()
            },
            window_ms=(alerts.cost_window_s or min(windows.sizes_s)) * 1000,
        )


def flaws(profile: Profile, deadlines: DeadlineSettings, windows: WindowSettings, alerts: AlertSettings) -> list[str]:
    """Return the flaws of these settings in combination."""
    faults = []
    limits = (deadlines.limits_s, *deadlines.assistants.values())
    named = {status for each in limits for status in _spelt(each, profile)}
    unknown = sorted(named - set(profile.documented))
    if unknown:
        may = ", ".join(profile.documented)
        faults.append(f"deadlines names {', '.join(unknown)}: a deadline may be set for {may}")
    sizes = ", ".join(map(str, windows.sizes_s))
    faults += [
        f"alerts.{name} must be one of windows.sizes_s: {sizes}"
        for name in ("failure_rate_window_s", "cost_window_s")
        if getattr(alerts, name) not in (None, *windows.sizes_s)
    ]
    if alerts.cost_budget is not None and not alerts.cost_prices:
        faults.append("alerts.cost_budget needs prices: set alerts.cost_prices for each model, or for all under `*`")
    outcomes = set(profile.outcomes.values())
    if "failure_outcomes" in alerts.model_fields_set and not alerts.failure_outcomes <= outcomes:
        faults.append(f"alerts.failure_outcomes may hold {', '.join(sorted(outcomes))}")
    if alerts.failure_rate_critical < alerts.failure_rate_warning:
        faults.append("alerts.failure_rate_critical is below failure_rate_warning")
    return faults


def _spelt(limits: Mapping[str, int], profile: Profile) -> dict[str, int]:
    """Return limits by the statuses' own spelling: names of environment variables have no case."""
    own = {status.casefold(): status for status in profile.documented}
    return {
        name if name in profile.documented else own.get(name.casefold(), name): limit for name, limit in limits.items()
    }


def _milliseconds(limits: Mapping[str, int]) -> dict[str, int]:
    return {status: seconds * 1000 for status, seconds in limits.items()}
