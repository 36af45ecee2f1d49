"""All settings in one place: environment (`STREAMPROC_…`, `__` between levels), secrets' files, one TOML file.

Only what is above the settings sees them whole; the layers below get their own section.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamproc.codec.framing import Framing
from streamproc.core.lifecycle import Profile
from streamproc.core.profiles import PROFILES
from streamproc.core.rules import Rules
from streamproc.core.windowstate import WindowRules
from streamproc.credentials.directory import SecretsDirectory
from streamproc.errors import KNOWN_REASONS, RejectionReason
from streamproc.instances.config import InstanceSettings
from streamproc.native import OFF, wanted
from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.observe.config import MetricsSettings
from streamproc.registry.config import OutputSettings, RegistrySettings, framing_flaws, framing_in_force
from streamproc.runtime.config import (
    CommitSettings,
    DeadLetterSettings,
    KafkaSettings,
    StateSettings,
    TopicSettings,
)
from streamproc.section import Section
from streamproc.settings.console import ConsoleSettings
from streamproc.settings.input import InputSettings, in_force, input_flaws
from streamproc.settings.profiles import AVSC, ProfileSettings, made
from streamproc.settings.rules import (
    AlertSettings,
    DeadlineSettings,
    RetentionSettings,
    WindowSettings,
    flaws,
    rules,
    window_rules,
)
from streamproc.settings.variables import secret_variables
from streamproc.web.config import HttpSettings

PREFIX = "STREAMPROC_"
SECRETS_DIR = "STREAMPROC_SECRETS_DIR"
TEST_PREFIX = "STREAMPROC_TEST_"
"""Variables of the test suite; not settings."""


class VerdictSettings(Section):
    """What became of the events that changed no status."""

    enabled: bool = Field(default=True, description="Whether each one has a record in run-verdicts.")


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least severe line that is logged."
    )
    format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")
    payloads: bool = Field(default=False, description="Whether the first bytes of rejected records are logged.")


class _Toml(TomlConfigSettingsSource):
    """The TOML file. Paths in it are relative to the file, not to the working directory."""

    def __call__(self) -> dict[str, Any]:
        settings = super().__call__()
        profiles = settings.get("profiles")
        for profile in profiles.values() if isinstance(profiles, dict) else ():
            if isinstance(profile, dict) and isinstance(profile.get("schemas"), list):
                profile["schemas"] = [self._beside(name) for name in profile["schemas"]]
        return settings

    def _beside(self, name: Any) -> Any:
        return str(Path(self.toml_file_path).parent / name) if isinstance(name, str) and name.endswith(AVSC) else name  # type: ignore[arg-type]


class Settings(BaseSettings):
    """The whole of it."""

    looks_around: ClassVar[bool] = True
    """Whether the environment and the directory of secrets count."""
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    application_id: str = Field(
        "streamproc",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="The consumer group, and the prefix of the transactional ids. A new one begins anew.",
    )
    profile: str = Field(
        "assistants",
        description="The life cycle of the runs: `assistants`, `responses`, `langgraph`, or one of your own.",
    )
    profiles: dict[str, ProfileSettings] = Field({}, description="Life cycles of your own, by name.")
    input: InputSettings = InputSettings()
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    commit: CommitSettings = CommitSettings()
    state: StateSettings = StateSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    verdicts: VerdictSettings = VerdictSettings()
    instances: InstanceSettings = InstanceSettings()
    retention: RetentionSettings = RetentionSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    windows: WindowSettings = WindowSettings()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    webhook: WebhookSettings = WebhookSettings()
    registry: RegistrySettings = RegistrySettings()
    outputs: OutputSettings = OutputSettings()
    http: HttpSettings = HttpSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: LogSettings = LogSettings()
    native: Literal["auto", "off"] = Field("auto", description="The native codec; chosen by the environment only.")

    secrets_dir: str | None = Field(
        None, description="A directory of files named like variables; chosen by the environment only."
    )

    @field_validator("profiles")
    @classmethod
    def _sound_profiles(cls, profiles: dict[str, ProfileSettings]) -> dict[str, ProfileSettings]:
        for name, profile in profiles.items():
            made(name, profile)
        return profiles

    @field_validator("native")
    @classmethod
    def _as_the_environment_says(cls, native: str) -> str:
        if cls.looks_around and (native == OFF) != (wanted() == OFF):
            raise ValueError(f"only {PREFIX}NATIVE can say so: the codec is chosen before a file is read")
        return native

    @field_validator("secrets_dir")
    @classmethod
    def _named_by_the_environment(cls, directory: str | None) -> str | None:
        if cls.looks_around and directory != os.environ.get(SECRETS_DIR):
            raise ValueError(f"only {SECRETS_DIR} can name it: it goes over a file")
        return directory

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        names = [*PROFILES, *self.profiles]
        if self.profile not in names:
            message = f"{PREFIX}PROFILE is {self.profile!r}; there is: {', '.join(names)}"
            raise ValueError(message)
        faults = [
            *flaws(self.life_cycle, self.deadlines, self.windows, self.alerts),
            *self._unknown_causes(),
            *input_flaws(self._own_profile, self.input),
            *framing_flaws(self.outputs, self.registry),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _unknown_causes(self) -> list[str]:
        """Name limited causes that do not exist: their limits would never take effect.

        Nor do limits on former causes; but those are accepted, as an update must not keep the service from starting.
        """
        unknown = sorted(self.dead_letters.max_per_minute_of.keys() - KNOWN_REASONS)
        known = ", ".join(RejectionReason)
        return [
            f"dead_letters.max_per_minute_of: no record is rejected as {cause}; there is: {known}" for cause in unknown
        ]

    @cached_property
    def life_cycle(self) -> Profile:
        """The effective profile: with the statuses as the settings of the input map them."""
        return in_force(self._own_profile, self.input)

    @property
    def _own_profile(self) -> Profile:
        """The built-in profile, or the user's own."""
        return PROFILES[self.profile] if self.profile in PROFILES else made(self.profile, self.profiles[self.profile])

    @cached_property
    def topic_names(self) -> TopicSettings:
        """The topics with their prefix, None for those that are not used."""
        unused = [role for role in ("verdicts", "instances") if not getattr(self, role).enabled]
        return self.topics.named().model_copy(update=dict.fromkeys(unused))

    @property
    def framing(self) -> Framing:
        """How the outputs are framed."""
        return framing_in_force(self.outputs, self.registry)

    def rules(self) -> Rules:
        """Return the rules for the fold of a run."""
        return rules(self.life_cycle, self.retention, self.deadlines, self.windows)

    def window_rules(self) -> WindowRules:
        """Return the rules of the windows."""
        return window_rules(self.topic_names.events, self.windows, self.alerts)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave out .env files: three sources are enough."""
        if not cls.looks_around:
            return init_settings, _Toml(settings_cls)
        directory = os.environ.get(SECRETS_DIR)
        names = secret_variables(cls, PREFIX)
        secrets = [SecretsDirectory(file_secret_settings, Path(directory), names)] if directory else []
        return init_settings, env_settings, *secrets, _Toml(settings_cls)
