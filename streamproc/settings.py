"""All settings in one place: from the environment (`STREAMPROC_…`, `__` between levels) over one TOML file.

Only `app`, `demo` and `cli` see them whole; the layers below get their own section.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamproc.core.lifecycle import PROFILES
from streamproc.core.rules import Rules
from streamproc.core.windowstate import WindowRules
from streamproc.errors import ConfigError
from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.observe.config import MetricsSettings
from streamproc.rulebook import (
    AlertSettings,
    DeadlineSettings,
    RetentionSettings,
    WindowSettings,
    flaws,
    rules,
    window_rules,
)
from streamproc.runtime.config import CommitSettings, KafkaSettings, Section, TopicSettings

PREFIX = "STREAMPROC_"
TEST_PREFIX = "STREAMPROC_TEST_"
"""Variables of the test suite; not settings."""


class HttpSettings(Section):
    """Where /metrics and the probes listen. Port 0: any free one."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """The whole of it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    application_id: str = Field("streamproc", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    profile: str = "assistants"
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    commit: CommitSettings = CommitSettings()
    retention: RetentionSettings = RetentionSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    windows: WindowSettings = WindowSettings()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    webhook: WebhookSettings = WebhookSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, name: str) -> str:
        if name not in PROFILES:
            message = f"there is no profile {name!r}; there is: {', '.join(PROFILES)}"
            raise ValueError(message)
        return name

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        found = flaws(PROFILES[self.profile], self.deadlines, self.windows, self.alerts)
        if found:
            raise ValueError("; ".join(found))
        return self

    def rules(self) -> Rules:
        """Return what the fold of a run goes by."""
        return rules(PROFILES[self.profile], self.retention, self.deadlines, self.windows)

    def window_rules(self) -> WindowRules:
        """Return what the windows go by."""
        return window_rules(self.topics.named().events, self.windows, self.alerts)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave out .env files and secret directories: two places are enough to look in."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings; raises ConfigError that names each wrong one and says what it must be."""
    _refuse_unknown_variables()
    if config is not None and not config.is_file():
        message = f"--config {config}: there is no such file"
        raise ConfigError(message)
    source = type("Settings", (Settings,), {"model_config": {**Settings.model_config, "toml_file": config}})
    try:
        settings: Settings = source()
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except ValueError as error:
        # A TOML syntax error, or a section given as something that is no section.
        message = f"the settings cannot be read: {error}"
        raise ConfigError(message) from None
    return settings


def _refuse_unknown_variables() -> None:
    """Report misspelt names: pydantic-settings overlooks a variable whose first level it does not know."""
    known = set(Settings.model_fields)
    unknown = [
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and not name.startswith(TEST_PREFIX)
        and name.removeprefix(PREFIX).lower().split("__")[0] not in known
    ]
    if unknown:
        message = f"unknown settings in the environment: {', '.join(sorted(unknown))}. Known at the first level: "
        raise ConfigError(message + ", ".join(PREFIX + name.upper() for name in Settings.model_fields))


def _explain(error: ValidationError) -> str:
    """Say what is wrong without the values, which may be secrets."""
    lines = []
    for flaw in error.errors(include_input=False, include_url=False):
        path = [str(part) for part in flaw["loc"]]
        hint = " (unknown setting)" if flaw["type"] == "extra_forbidden" else ""
        lines.append(f"  - {PREFIX}{'__'.join(path).upper()}: {flaw['msg']}{hint}")
    return "these settings are wrong:\n" + "\n".join(lines)
