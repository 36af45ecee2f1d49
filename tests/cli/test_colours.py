"""NO_COLOR, TERM and FORCE_COLOR: in results, errors, help and usage errors."""

import re

import pytest

from tests.support.clirun import environment, run
from tests.support.commands import in_terminal

STYLE = re.compile(r"\x1b\[[\d;]*m")
HELP, WRONG, REFUSED = ["dlq", "--help"], ["flyy"], ["rights", "nobody"]


def in_colours(arguments, **more):
    with in_terminal(environment(**more), *arguments) as (_, read):
        return bool(STYLE.search(read(None)))


@pytest.mark.parametrize("arguments", [HELP, WRONG, REFUSED], ids=" ".join)
def test_a_terminal_has_colours_unless_told_otherwise(arguments):
    """https://no-color.org; whatever is bold or dim is plain then, too."""
    assert in_colours(arguments)
    assert not in_colours(arguments, NO_COLOR="1")
    assert not in_colours(arguments, TERM="dumb")


def test_a_pipe_has_none_unless_they_are_asked_for():
    for arguments in (HELP, REFUSED):
        plain, forced = run(arguments), run(arguments, FORCE_COLOR="1")
        assert not STYLE.search(plain.stdout + plain.stderr)
        assert STYLE.search(forced.stdout + forced.stderr)


@pytest.mark.parametrize("arguments", [["describe"], ["rights", "run", "--json"]], ids=" ".join)
def test_json_is_never_coloured(arguments):
    """FORCE_COLOR is often set where programs read the output."""
    assert "\x1b" not in run(arguments, FORCE_COLOR="1").stdout
