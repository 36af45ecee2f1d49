"""Completion in a shell: what typer's scripts ask for, and what they get."""

import subprocess
import sys

import pytest

from tests.support.clirun import environment, run


def completed(words: str) -> list[str]:
    count = len(words.split()) - (not words.endswith(" "))
    result = run([], _STREAMPROC_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("streamproc d", ["describe", "demo", "dlq"]),
        ("streamproc offsets ", ["show", "skip", "resume", "reset"]),
        ("streamproc dlq replay --dr", ["--dry-run"]),
        ("streamproc tail dead", ["dead-letters"]),
    ],
)
def test_bash_completes_commands_options_and_values(words, found):
    assert completed(words) == found


def test_zsh_and_fish_tell_what_each_command_is_for():
    words = {"_TYPER_COMPLETE_ARGS": "streamproc dlq ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    zsh = run([], _STREAMPROC_COMPLETE="complete_zsh", **words).stdout
    assert '"replay":"Send the records of dead letters' in zsh
    fish = run([], _STREAMPROC_COMPLETE="complete_fish", **words).stdout
    assert "replay\tSend the records of dead letters" in fish


@pytest.mark.parametrize(
    ("shell", "word"),
    [("bash", "complete -o default -F"), ("zsh", "#compdef streamproc"), ("fish", "complete --command")],
)
def test_the_script_of_a_shell_is_printed_where_none_is_running(shell, word):
    """Docs: operating.md, for packages and images."""
    result = run([], _STREAMPROC_COMPLETE=f"source_{shell}")
    assert result.returncode == 0
    assert word in result.stdout


def test_it_is_installed_for_the_shell_that_asks(tmp_path):
    """Found by typer among the parents of the process: here bash, whose home is another."""
    script = f"{sys.executable} -m streamproc --install-completion; exit $?"
    command = ["bash", "--norc", "-c", script]
    result = subprocess.run(command, env=environment(HOME=str(tmp_path)), capture_output=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "bash_completions" in (tmp_path / ".bashrc").read_text()
