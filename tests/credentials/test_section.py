"""Every secret setting may be in a file, by its type alone; from there it can be read again."""

import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from streamproc.credentials.files import MAX_BYTES
from streamproc.errors import ConfigError
from streamproc.section import Section


class Login(Section):
    """A secret with a rule, one that must be there, one whose file is a setting of its own."""

    user: str = "somebody"
    secret: SecretStr | None = Field(None, min_length=4)
    required: SecretStr = SecretStr("there")
    token: SecretStr | None = None
    token_file: str | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret, as an editor leaves it."""
    path = tmp_path / "secret"
    path.write_text("from a file\n")
    return path


@pytest.mark.parametrize(
    ("text", "secret"),
    [("word", "word"), ("word\n", "word"), ("word\r\n", "word"), ("word\n\n", "word\n"), (" a word ", " a word ")],
)
def test_one_line_break_at_the_end_is_none_of_the_secret(file: Path, text: str, secret: str) -> None:
    """Blanks may be part of a password."""
    file.write_bytes(text.encode())
    login = Login(secret_file=file)
    assert login.secret.get_secret_value() == secret
    assert login.secret_files == {"secret": str(file)}


def test_a_secret_is_found_by_its_type(file: Path) -> None:
    """And only a secret; where the file's name is a setting by itself, that is what it stays."""
    assert Login.secrets() == ("secret", "required")
    assert Login(required_file=file).required.get_secret_value() == "from a file"
    assert Login(token_file="/elsewhere").secret_files == {}
    with pytest.raises(ValidationError, match="user_file"):
        Login(user_file=file)


def test_a_value_and_a_file_are_a_mistake_that_names_both(file: Path) -> None:
    with pytest.raises(ValidationError, match=r"both secret and secret_file \(.*\) are given") as caught:
        Login(secret="typed", secret_file=file)
    assert "typed" not in str(caught.value.errors(include_input=False))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"secret_file \(.*\): there is no such file"),
        (b"", "that file is empty"),
        (b"\n", "that file is empty"),
        (b"\xff", "is no UTF-8"),
        (b"x" * (MAX_BYTES + 1), "more than"),
        (b"abc", "at least 4"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file: Path, content: bytes | None, words: str) -> None:
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValidationError, match=words):
        Login(secret_file=file)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe would be empty the next time, and opening it waits for whoever writes."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="no regular file"):
        Login(secret_file=tmp_path / "pipe")
    with pytest.raises(ValidationError, match="a directory"):
        Login(secret_file=tmp_path)


def test_a_renewed_section_has_what_the_files_say_now(file: Path) -> None:
    """All else stays as it is, also what was changed since."""
    login = Login(secret_file=file, required="as it was").model_copy(update={"user": "another"})
    assert login.renewed() == login
    file.write_text("something new")
    renewed = login.renewed()
    assert renewed.secret.get_secret_value() == "something new"
    assert (renewed.user, renewed.required.get_secret_value()) == ("another", "as it was")
    file.write_text("once more")
    assert renewed.renewed().secret.get_secret_value() == "once more"


def test_a_renewed_secret_keeps_the_rules(file: Path) -> None:
    """What is wrong is said with the setting, and without the secret."""
    login = Login(secret_file=file)
    file.write_text("abc")
    with pytest.raises(ConfigError, match=r"^secret: .*at least 4") as caught:
        login.renewed()
    assert "abc" not in str(caught.value)
    file.unlink()
    with pytest.raises(ConfigError, match=r"^secret_file \(.*\): there is no such file$"):
        login.renewed()


def test_without_files_nothing_is_read() -> None:
    login = Login(secret="typed")
    assert login.renewed() is login
