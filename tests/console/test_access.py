"""Who may come in, what they may do, and what never lets anybody in."""

import hmac
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streamproc.console import tokenfile as tokens_module
from streamproc.console.access import LOCAL, Access, AccessRefused, is_loopback
from streamproc.console.tokenfile import ConsoleTokens, new_token
from streamproc.errors import ConfigError
from streamproc.settings.console import ConsoleSettings
from tests.support.consoleapi import basic, headers, tokens

ANYWHERE = "0.0.0.0"
PROXY = {"proxy_header": "X-User", "proxy_networks": ("10.0.0.0/8", "fd00::/8")}
OWN = {"host": "127.0.0.1:8081"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refused(access: Access, address: str = "192.0.2.1", **said: str) -> int:
    with pytest.raises(AccessRefused) as found:
        access.caller(headers(**said), address)
    return found.value.status


# On this machine only


def test_on_this_machine_everybody_may_come_in():
    """And look at everything; actions are a setting of their own."""
    caller, is_deliberate = Access(ConsoleSettings()).caller(headers(**OWN), "127.0.0.1")
    assert (caller.name, caller.is_operator, caller.sees_payloads, caller.csrf) == (LOCAL, False, True, "")
    assert not is_deliberate
    assert Access(ConsoleSettings(actions=True)).caller(headers(**OWN), "127.0.0.1")[0].is_operator


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost:8081", "LOCALHOST", "[::1]:8081", "[::1]", "127.0.0.1"])
def test_it_answers_to_this_machines_names(host):
    Access(ConsoleSettings()).caller(headers(host=host), "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8081",
        "127.0.0.1.evil.example",
        "localhost.",
        "",
        "localhost@evil.example",
        "[::2]",
    ],
)
def test_it_answers_to_no_other_name(host):
    """A page of somebody's whose name was made to point here would read everything (DNS rebinding)."""
    assert refused(Access(ConsoleSettings()), host=host) == 403


def test_it_answers_to_the_address_that_is_set():
    Access(ConsoleSettings(host="127.0.0.2")).caller(headers(host="127.0.0.2:8081"), "127.0.0.2")
    assert refused(Access(ConsoleSettings()), host="127.0.0.2:8081") == 403


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "console.example", "", "127.1", "::ffff:127.0.0.1"])
def test_elsewhere_it_does_not_start_without_tokens(host):
    """What is no loopback address for certain is none."""
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="STREAMPROC_CONSOLE__TOKENS_FILE"):
        Access(ConsoleSettings(host=host))


# Tokens


def test_a_token_lets_in_by_bearer_and_as_a_password(file):
    shown = tokens(file, ada="viewer")["ada"]
    access = Access(ConsoleSettings(host=ANYWHERE, tokens_file=file))
    caller, is_deliberate = access.caller(headers(**bearer(shown)), "192.0.2.1")
    assert (caller.name, is_deliberate) == ("ada", True)
    caller, is_deliberate = access.caller(headers(authorization=basic("anybody", shown)), "192.0.2.1")
    assert (caller.name, is_deliberate) == ("ada", False), "a browser sends a password along whoever asks it to"


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Digest {}",
        "{}",
        "Basic {}",
        "Basic %%%",
        "Basic \u00e9",
        "Basic /w==",
        "Bearer \u00e9",
        "Bearer " + "x" * 100_000,
    ],
)
def test_nothing_else_lets_in(file, shown):
    shown = shown.format(tokens(file, ada="viewer")["ada"])
    access = Access(ConsoleSettings(host=ANYWHERE, tokens_file=file))
    assert refused(access, authorization=shown) == 401
    assert refused(access) == 401


def test_a_password_without_a_user_is_a_token_and_a_user_is_none(file):
    shown = tokens(file, ada="viewer")["ada"]
    access = Access(ConsoleSettings(tokens_file=file))
    access.caller(headers(authorization=basic("", shown)), "127.0.0.1")
    assert refused(access, authorization=basic(shown, "")) == 401


def test_a_tokens_file_counts_on_this_machine_too(file):
    tokens(file, ada="viewer")
    assert refused(Access(ConsoleSettings(tokens_file=file)), "127.0.0.1", **OWN) == 401


@pytest.mark.parametrize("actions", [True, False])
def test_rights_are_those_of_the_line(file, actions):
    """The right to act counts only where the console does more than read, which by default it does not."""
    shown = tokens(file, ada="viewer", olga="viewer,operator", paul="payloads")
    access = Access(ConsoleSettings(tokens_file=file, actions=actions))
    callers = {name: access.caller(headers(**bearer(shown[name])), "")[0] for name in shown}
    assert {name for name, caller in callers.items() if caller.is_operator} == ({"olga"} if actions else set())
    assert {name for name, caller in callers.items() if caller.sees_payloads} == {"paul"}
    assert not ConsoleSettings().actions


def test_all_tokens_are_compared_in_constant_time(file, monkeypatch):
    """How long it takes tells neither which one it was nor how much of it was right."""
    shown = tokens(file, ada="viewer", bob="viewer", cleo="viewer")
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(tokens_module, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    file_ = ConsoleTokens(file)
    assert file_.whose(shown["ada"]).name == "ada"
    assert len(compared) == 3
    assert file_.whose("wrong") is None
    assert len(compared) == 6
    assert shown["ada"] not in str(compared)


def test_a_file_that_changes_counts_at_once(file):
    before = tokens(file, ada="viewer")["ada"]
    access = Access(ConsoleSettings(tokens_file=file))
    after = tokens(file, bob="viewer,payloads")["bob"]
    assert refused(access, **bearer(before)) == 401
    assert access.caller(headers(**bearer(after)), "")[0].sees_payloads


def test_comments_and_empty_lines_are_left_out(file):
    secret, line = new_token("ada", ["viewer"])
    file.write_text(f"# who may come in\r\n\r\n  {line}  # until June\r\n")
    assert ConsoleTokens(file).whose(secret).name == "ada"


@pytest.mark.parametrize(
    "line",
    [
        "ada viewer",
        "ada viewer sha256:" + "0" * 63,
        "ada viewer sha1:" + "0" * 64,
        "ada admin sha256:" + "0" * 64,
        "a/b viewer sha256:" + "0" * 64,
        "ada viewer sha256:" + "0" * 64 + " more",
        "\x00\xff",
    ],
)
def test_a_line_that_is_no_token_is_named(file, line):
    file.write_text(f"# first\n{line}\n")
    with pytest.raises(ConfigError, match="line 2 is not a token: NAME RIGHTS sha256:DIGEST"):
        ConsoleTokens(file)


def test_a_file_that_cannot_be_read_or_has_no_token_is_named(file):
    with pytest.raises(ConfigError, match="No such file"):
        ConsoleTokens(file)
    file.write_text("# none yet\n")
    with pytest.raises(ConfigError, match="streamproc console token NAME"):
        ConsoleTokens(file)


def test_a_line_that_breaks_later_lets_nobody_in_and_the_others_stay(file):
    """Whoever was taken out by the same change must not come in again."""
    gone = tokens(file, gone="viewer")["gone"]
    opened = ConsoleTokens(file)
    secret, line = new_token("ada", ["viewer"])
    file.write_text(f"bob viewer\n{line}\n")
    with capture_logs() as said:
        assert opened.whose(secret).name == "ada"
        assert opened.whose(gone) is None
    assert [(each["log_level"], each["line"]) for each in said] == [("warning", 1)], "once, and without the line"


def test_a_file_that_goes_away_lets_nobody_in_until_it_is_back(file):
    secret = tokens(file, ada="viewer")["ada"]
    opened = ConsoleTokens(file)
    aside = file.with_suffix(".aside")
    os.replace(file, aside)  # noqa: PTH105
    with capture_logs() as said:
        assert opened.whose(secret) is None
        assert opened.whose(secret) is None
    assert len(said) == 1
    os.replace(aside, file)  # noqa: PTH105
    assert opened.whose(secret).name == "ada"


def test_a_token_is_shown_once_and_not_kept(file):
    secret, line = new_token("ada", ["viewer", "operator"])
    assert secret not in line
    assert len(secret) >= 43, "256 bits: no need to slow down who guesses"
    with pytest.raises(ConfigError, match="letters, digits"):
        new_token("a b", ["viewer"])


# A proxy


def test_a_proxy_that_is_trusted_names_the_user():
    """From its addresses only; as IPv4 is written where the console listens on IPv6, too."""
    access = Access(ConsoleSettings(host=ANYWHERE, **PROXY, proxy_rights=("payloads",)))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        caller, is_deliberate = access.caller(headers(x_user="zo\u00eb".encode().decode("latin-1")), address)
        assert (caller.name, caller.is_operator, caller.sees_payloads) == ("zo\u00eb", False, True)
        assert not is_deliberate
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "::1", "127.0.0.1", "", "unix:"):
        assert refused(access, address, x_user="zoe") == 401
    assert refused(access, "10.1.2.3") == 401


@pytest.mark.parametrize("name", ["", "a\tb", "a\x7fb", "\u202ea".encode().decode("latin-1"), "x" * 257])
def test_a_proxys_user_has_a_name_that_can_be_logged(name):
    assert refused(Access(ConsoleSettings(host=ANYWHERE, **PROXY)), "10.1.2.3", x_user=name) == 403


def test_two_users_are_none():
    """A proxy that adds its header to the client's, instead of replacing it, must not let the client choose."""
    access = Access(ConsoleSettings(host=ANYWHERE, **PROXY))
    two = type(headers())(raw=[(b"x-user", b"root"), (b"x-user", b"zoe")])
    with pytest.raises(AccessRefused) as found:
        access.caller(two, "10.1.2.3")
    assert found.value.status == 403


def test_tokens_count_beside_a_proxy(file):
    shown = tokens(file, ada="viewer")["ada"]
    access = Access(ConsoleSettings(host=ANYWHERE, tokens_file=file, **PROXY))
    assert access.caller(headers(**bearer(shown)), "192.0.2.1")[0].name == "ada"
    assert access.caller(headers(x_user="zoe", authorization="Basic other"), "10.0.0.1")[0].name == "zoe"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"proxy_header": "X-User"}, "go together"),
        ({"proxy_networks": ("10.0.0.0/8",)}, "go together"),
        ({"proxy_header": "X-User", "proxy_networks": ("10.0.0.0/8", "proxy")}, "'proxy' is not a network"),
    ],
)
def test_half_a_proxy_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        Access(ConsoleSettings(**settings))


# Actions


def test_an_action_takes_what_only_our_pages_have(file):
    """By caller, and only until the console's next start."""
    shown = tokens(file, olga="operator", otto="operator")
    access = Access(ConsoleSettings(tokens_file=file, actions=True))
    olga, otto = (access.caller(headers(**bearer(shown[name])), "")[0] for name in ("olga", "otto"))
    assert access.allows(olga, headers(x_csrf_token=olga.csrf))
    for wrong in ("", otto.csrf, olga.csrf[:-1], "\u00e9"):
        assert not access.allows(olga, headers(x_csrf_token=wrong))
    assert not access.allows(olga, headers())
    later = Access(ConsoleSettings(tokens_file=file, actions=True))
    assert not later.allows(olga, headers(x_csrf_token=olga.csrf))


@pytest.mark.parametrize(
    ("tokens_file", "proxy", "expected"),
    [
        (False, {}, [[]]),
        (True, {}, [["bearer"], ["basic"]]),
        (False, PROXY, [[]]),
        (True, PROXY, [[], ["bearer"], ["basic"]]),
    ],
)
def test_the_description_says_how_to_come_in(file, tokens_file, proxy, expected):
    tokens(file, ada="viewer")
    access = Access(ConsoleSettings(tokens_file=file if tokens_file else None, **proxy))
    assert [list(way) for way in access.security] == expected
