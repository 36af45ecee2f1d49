"""Secrets from files: by variables, in the TOML file, from a directory."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from streamproc.errors import ConfigError
from streamproc.settings.describe import describe_all
from streamproc.settings.loading import load_settings
from streamproc.settings.service import PREFIX, Settings
from streamproc.settings.variables import secret_variables, variables

PASSWORD = "not-to-be-shown"
DIRECTORY = f"{PREFIX}SECRETS_DIR"
NAME = f"{PREFIX}KAFKA__SASL_PASSWORD"
TOKEN_URL = f"{PREFIX}KAFKA__OAUTH__TOKEN_URL"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka with a log in that lacks its password."""
    monkeypatch.setenv(f"{PREFIX}KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv(f"{PREFIX}KAFKA__SASL_USERNAME", "worker")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of secrets, empty yet."""
    place = tmp_path / "secrets"
    place.mkdir()
    monkeypatch.setenv(DIRECTORY, str(place))
    return place


def password(settings: Settings) -> str:
    assert settings.kafka.sasl_password is not None
    return settings.kafka.sasl_password.get_secret_value()


def secrets_of(section: type[BaseModel], prefix: str) -> set[str]:
    """Return the variables that hold secrets, by looking at the types."""
    found = set()
    for name, field in section.model_fields.items():
        kind, variable = field.annotation, prefix + name.upper()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= secrets_of(kind, f"{variable}__")
        elif "SecretStr" in str(kind):
            found.add(variable)
    return found


def test_every_secret_there_is_may_be_a_file() -> None:
    """None is left out, whatever section it is in."""
    secrets = secrets_of(Settings, PREFIX)
    assert {NAME, f"{PREFIX}REGISTRY__BEARER_TOKEN", f"{PREFIX}WEBHOOK__SECRET", f"{PREFIX}CONSOLE__TOKEN"} <= secrets
    assert set(secret_variables(Settings, PREFIX)) == secrets
    known = {*variables(Settings, PREFIX)}
    assert {f"{name}_FILE" for name in secrets} <= known


def test_what_sounds_like_a_secret_has_the_type_of_one() -> None:
    """Else it could be no file, and would be shown."""
    sounding = {
        name
        for name in variables(Settings, PREFIX)
        if name.endswith(("PASSWORD", "TOKEN", "SECRET", "_KEY", "KEY_PEM", "CERTIFICATE_PEM"))
    }
    assert sounding == {name for name in secrets_of(Settings, PREFIX) if not name.endswith("__URL")}


def test_no_url_shows_what_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query, user and password: each setting that is a URL refuses them, or `describe` leaves them out."""
    for name in variables(Settings, PREFIX):
        if not name.endswith(("URL", "URLS")):
            continue
        for url in (f"https://host.example/p?key={PASSWORD}&x=y", f"https://me:{PASSWORD}@host.example/p"):
            with monkeypatch.context() as patch:
                patch.setenv(name, url)
                _log_in_by_tokens(patch)
                if name != TOKEN_URL:
                    patch.setenv(TOKEN_URL, "https://issuer.example/token")
                try:
                    shown = json.dumps(describe_all(load_settings())["settings"])
                except ConfigError as error:
                    shown = str(error)
                    assert ("without a query" if "?" in url else "user") in shown
                else:
                    assert "https://host.example/" in shown
                assert PASSWORD not in shown


def test_a_url_in_a_label_is_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}KAFKA__SECURITY_PROTOCOL")
    monkeypatch.delenv(f"{PREFIX}KAFKA__SASL_USERNAME")
    monkeypatch.setenv(f"{PREFIX}ALERTMANAGER__LABELS", '{"see": "HTTPS://me:key@host/p?a=1", "why": "what? a@b"}')
    labels = describe_all(load_settings())["settings"]["alertmanager"]["labels"]
    assert labels == {"see": "HTTPS://**********@host/p?**********", "why": "what? a@b"}


def _log_in_by_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.delenv(f"{PREFIX}KAFKA__SASL_USERNAME")
    login = {"SASL_MECHANISM": "OAUTHBEARER", "OAUTH__CLIENT_ID": "me", "OAUTH__CLIENT_SECRET": PASSWORD}
    for name, value in login.items():
        patch.setenv(f"{PREFIX}KAFKA__{name}", value)


def test_a_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "password"))
    settings = load_settings()
    assert password(settings) == PASSWORD
    assert PASSWORD not in str(describe_all(settings))


def test_the_toml_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    config = tmp_path / "streamproc.toml"
    config.write_text(f'[kafka]\nsasl_password_file = "{tmp_path / "password"}"')
    assert password(load_settings(config)) == PASSWORD


@pytest.mark.parametrize("name", [NAME, NAME.lower()])
def test_a_directory_has_files_named_like_variables(directory: Path, name: str) -> None:
    """As Docker and Kubernetes mount them: these by links. A secret among them is followed, too."""
    (directory / "..data").mkdir()
    (directory / "..data" / name).write_text(f"{PASSWORD}\n")
    (directory / name).symlink_to(directory / "..data" / name)
    (directory / "keystore.p12").write_bytes(b"\xff")
    settings = load_settings()
    assert password(settings) == PASSWORD
    (directory / "..data" / name).write_text("renewed")
    assert settings.kafka.renewed().sasl_password == SecretStr("renewed")


def test_a_directory_may_have_other_settings_too(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name beside its password, say; variables go over it, and it goes over the TOML file."""
    monkeypatch.delenv(f"{PREFIX}KAFKA__SASL_USERNAME")
    (directory / f"{PREFIX}KAFKA__SASL_USERNAME").write_text("from-the-directory\n")
    (directory / NAME).write_text(PASSWORD)
    config = directory / "streamproc.toml"
    config.write_text('[kafka]\nsasl_username = "from-the-file"\nsession_timeout_ms = 5000')
    kafka = load_settings(config).kafka
    assert (kafka.sasl_username, kafka.session_timeout_ms) == ("from-the-directory", 5_000)
    monkeypatch.setenv(f"{PREFIX}KAFKA__SASL_USERNAME", "from-the-environment")
    assert load_settings(config).kafka.sasl_username == "from-the-environment"


@pytest.mark.parametrize("second", ["variable", "directory"])
def test_a_value_and_a_file_are_a_mistake(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """Wherever each is given: nobody can tell which one was meant."""
    monkeypatch.setenv(NAME, "typed")
    place = directory / NAME if second == "directory" else tmp_path / "password"
    place.write_text(PASSWORD)
    if second == "variable":
        monkeypatch.setenv(f"{NAME}_FILE", str(place))
    with pytest.raises(
        ConfigError, match=r"kafka .*both sasl_password and sasl_password_file \(.*\) are given"
    ) as caught:
        load_settings()
    assert "typed" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{PREFIX}KAFKA__SASL_PASSWORT", "there is no such setting: sasl_password?"),
        (f"{PREFIX}KAFKA_SASL_PASSWORD", f"did you mean {NAME}?"),
    ],
)
def test_a_misspelt_name_in_the_directory_is_reported(directory: Path, name: str, words: str) -> None:
    (directory / name).write_text(PASSWORD)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert words in str(caught.value)


def test_a_misspelt_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}KAFKA_SASL_PASSWORD_FILE", "/run/secrets/password")
    with pytest.raises(ConfigError, match=rf"did you mean {NAME}_FILE\?"):
        load_settings()


def test_a_directory_that_is_none_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"the directory of secrets .*nowhere cannot be read: No such file"):
        load_settings()


def test_only_the_environment_names_the_directory(tmp_path: Path) -> None:
    """It goes over the file that would name it."""
    config = tmp_path / "streamproc.toml"
    config.write_text('secrets_dir = "/run/secrets"\n[kafka]\nsasl_password = "x"')
    with pytest.raises(ConfigError, match=f"only {DIRECTORY} can name it"):
        load_settings(config)
