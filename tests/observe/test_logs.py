"""Log lines: one each, to stderr, with nothing in them that could pass for another."""

import json
import logging
import re
from functools import partial

import pytest
import structlog

from streamproc.observe.logs import configure
from streamproc.observe.noise import Noise

ANSI = re.compile(r"\x1b\[\d*(;\d+)*m")


@pytest.fixture(autouse=True)
def restored():
    """Logging is global: give it back as it was."""
    root, aiokafka = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, levels = root.handlers[:], (root.level, aiokafka.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    aiokafka.setLevel(levels[1])
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys):
    """What was written to stderr since the last call; nothing may have gone to stdout."""

    def read():
        out, err = capsys.readouterr()
        assert out == ""
        return err.splitlines()

    return read


@pytest.fixture
def entries(lines):
    return lambda: [json.loads(line) for line in lines()]


def test_a_json_line_holds_the_event_and_its_context(entries):
    configure("info", "json")
    structlog.get_logger("streamproc.worker").info("assigned", partitions=[0, 1], topic="run-events")
    (entry,) = entries()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry.pop("timestamp"))
    assert entry == {
        "event": "assigned",
        "level": "info",
        "logger": "streamproc.worker",
        "partitions": [0, 1],
        "topic": "run-events",
    }


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"FORCE_COLOR": "1", "TERM": "xterm"}, True),
        ({"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ({"TERM": "xterm"}, False),
    ],
)
def test_a_line_for_people_is_coloured_where_everything_else_is(monkeypatch, lines, environment, coloured):
    """As rich has it; that what is captured here is no terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configure("info", "console")
    structlog.get_logger("streamproc.worker").info("assigned")
    (line,) = lines()
    assert bool(ANSI.search(line)) is coloured


def test_the_standard_librarys_loggers_come_out_alike(entries):
    configure("info", "json")
    logging.getLogger("some.library").warning("port %d", 8080)
    (entry,) = entries()
    assert (entry["event"], entry["level"], entry["logger"]) == ("port 8080", "warning", "some.library")


def test_the_console_shows_the_same(lines):
    configure("info", "console")
    structlog.get_logger("streamproc").info("assigned", topic="run-events")
    (line,) = lines()
    assert "assigned" in line
    assert "topic=run-events" in ANSI.sub("", line)


@pytest.mark.parametrize("fmt", ["json", "console"])
@pytest.mark.parametrize(
    "hostile",
    ["a\nb", "a\r\nb", "\x1b[2J\x1b[H", "a\x00b", "a\x7fb", "a\x9bb", "a\u2028b", "a\u202eb", "a\ud800b", "a\tb"],
    ids=ascii,
)
@pytest.mark.parametrize(
    "log",
    [
        lambda text: structlog.get_logger("x").info("event", value=text),
        lambda text: structlog.get_logger("x").info(text),
        lambda text: structlog.get_logger("x").info("event", value=[text, {text: (text,)}]),
        lambda text: structlog.get_logger("x").info("event", value=Exception(text)),
        lambda text: structlog.get_logger("x").info("event", value=text.encode("utf-8", "surrogatepass")),
        lambda text: structlog.get_logger("x").info("event", **{text: 1}),
        lambda text: logging.getLogger("x").info("event %s", text),
        lambda text: logging.getLogger(text).info("event"),
    ],
    ids=["value", "event", "nested", "exception", "bytes", "key", "stdlib", "logger"],
)
def test_control_characters_are_escaped(lines, fmt, hostile, log):
    configure("info", fmt)
    log(hostile)
    (line,) = lines()
    assert ANSI.sub("", line).isprintable()
    if fmt == "json":
        assert all(text.isprintable() for text in texts(json.loads(line)))


def texts(value):
    """Every text in a decoded log line: what reads the JSON must not find control characters either."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)


def fail(secret):
    local_payload = f"local {secret}"  # noqa: F841  what a traceback must not show
    raise ValueError("first\n2026-01-01T00:00:00Z [info ] forged\x1b[2J")


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_traceback_has_no_locals_and_no_line_that_starts_like_an_entry(capsys, fmt):
    configure("info", fmt)
    try:
        fail("payload")
    except ValueError:
        structlog.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed too")
    text = ANSI.sub("", capsys.readouterr().err)
    assert "Traceback" in text
    assert fmt == "json" or "\n      File " in text, "a person reads it line by line"
    assert "ValueError" in text
    assert "local payload" not in text
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01T00:00:00Z")]


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", logging.INFO), ("info", logging.WARNING), ("warning", logging.WARNING), ("error", logging.ERROR)],
)
def test_aiokafka_never_logs_its_debug_lines(entries, level, expected):
    """They show the SASL request, keys and values (DESIGN.md, hazards)."""
    configure(level, "json")
    for name in ("aiokafka", "aiokafka.conn", "aiokafka.consumer.fetcher"):
        logger = logging.getLogger(name)
        assert logger.getEffectiveLevel() == expected
        logger.debug("SaslAuthenticateRequest(b'secret')")
    assert entries() == []


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_awss_libraries_never_log_their_debug_lines(entries, level):
    """They show what signs a token, and a role's keys."""
    configure(level, "json")
    for name in ("botocore.auth", "botocore.parsers", "boto3", "urllib3.connectionpool", "aws_msk_iam_sasl_signer"):
        logging.getLogger(name).debug("X-Amz-Security-Token: secret")
    assert entries() == []


def test_the_level_holds_for_both_kinds_of_logger(entries):
    configure("WARNING", "json")
    structlog.get_logger("streamproc").info("quiet")
    logging.getLogger("uvicorn").info("quiet")
    structlog.get_logger("streamproc").warning("loud")
    assert [entry["event"] for entry in entries()] == ["loud"]


def test_configuring_again_replaces_what_was_there(entries):
    logger = structlog.get_logger("streamproc")
    configure("info", "console")
    configure("debug", "json")
    logger.debug("once")
    assert [entry["event"] for entry in entries()] == ["once"]


def test_an_outage_does_not_flood_the_log(entries):
    """Rule: another library's line comes once in a while; ours stand between them, each of them (noise.py)."""
    configure("info", "json")
    for node in range(200):
        logging.getLogger("aiokafka").error("Unable to request metadata from node with id %s: %s", node, "refused")
        structlog.get_logger("streamproc.observe.journal").warning("transaction failed", partition=node)
    said = entries()
    assert [entry["event"] for entry in said if entry["logger"] == "aiokafka"] == [
        "Unable to request metadata from node with id 0: refused"
    ]
    assert [entry["partition"] for entry in said if entry["logger"] != "aiokafka"] == list(range(200))


def test_what_was_left_out_is_counted_in_the_next_line(entries, monkeypatch):
    """Rule: `repeated: n` (noise.py)."""
    now = iter((0.0, 1.0, 2.0, 31.0))
    monkeypatch.setattr("streamproc.observe.logs.Noise", partial(Noise, clock=lambda: next(now)))
    configure("info", "json")
    for _ in range(4):
        logging.getLogger("aiokafka").error("Unable to update metadata from %s", [1])
    first, second = entries()
    assert "repeated" not in first
    assert second["repeated"] == 2
