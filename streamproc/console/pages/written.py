"""How numbers, times and foreign text are written."""

from typing import Any

from markupsafe import Markup, escape

from streamproc.console.qualifiers import span as whole_span
from streamproc.core.model import MAX_TIME_MS, MIN_TIME_MS
from streamproc.escaping import escaped
from streamproc.times import instant

MAX_TITLE_CHARS = 1_000
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NONE = "\N{EN DASH}"
NOTHING = Markup('<span class="none">{}</span>').format(NONE)
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
KIBI = 1_024


def inert(value: Any) -> Any:
    """Return text so that it can only be shown. Jinja2 asks this of each value, and escapes the markup itself."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return escaped(value)


def verbatim(text: str) -> Markup:
    """Return text for an attribute that a script or a form reads: as it is, but for the markup.

    HTML has no NUL; a carriage return is kept only as a reference.
    """
    return escape(text).replace("\r", Markup("&#13;"))


def foreign(text: str | None, most_chars: int = 60) -> Markup:
    """Return a producer's text: escaped, isolated from the text around it, and cut; the title has the whole of it."""
    if not text:
        return NOTHING
    if len(text) <= most_chars:
        return _isolated(escaped(text))
    more = "" if len(text) <= MAX_TITLE_CHARS else f"… ({len(text):,} characters)"
    return _isolated(f"{escaped(text[: most_chars - 1])}…", f"{escaped(text[:MAX_TITLE_CHARS])}{more}")


def middle(text: str, most_chars: int = 26) -> Markup:
    """Return an id cut in the middle: ids differ at both ends."""
    shown = escaped(text[:MAX_TITLE_CHARS])
    if len(shown) <= most_chars:
        return _isolated(shown)
    tail = most_chars // 3
    return _isolated(f"{shown[: most_chars - tail - 1]}…{shown[-tail:]}", shown)


def _isolated(shown: str, title: str = "") -> Markup:
    about = f' title="{escape(title)}"' if title else ""
    return Markup(f"<bdi{about}>{escape(shown)}</bdi>")


def number(value: float | None) -> str:
    """Write a number with thousands separators; below 100 with one decimal unless it is whole."""
    if value is None:
        return NONE
    return f"{value:,.1f}" if value % 1 and abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004


def short(value: float) -> str:
    """Write a large number with its unit: 8.3 M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= 10 * size or (unit != "k" and value >= size):
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Write a fraction as percent."""
    return NONE if value is None else f"{value * 100:.1f} %"


def size(count: int) -> str:
    """Write a number of bytes."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIBI or unit == "GiB":
            return f"{value:,.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"  # noqa: PLR2004
        value /= KIBI
    raise AssertionError


def span(milliseconds: float) -> str:
    """Write a time span in its two largest units."""
    rest = abs(int(milliseconds))
    if rest < SECOND:
        return f"{rest} ms"
    if rest < MINUTE:
        return f"{rest // SECOND}s"
    if rest < HOUR:
        return f"{rest // MINUTE}m {rest % MINUTE // SECOND:02}s" if rest < 10 * MINUTE else f"{rest // MINUTE}m"
    if rest < DAY:
        return f"{rest // HOUR}h {rest % HOUR // MINUTE:02}m"
    return f"{rest // DAY}d {rest % DAY // HOUR}h"


def limit(milliseconds: float) -> str:
    """Write a time span from a setting in the largest unit of which it is a whole multiple."""
    return whole_span(int(milliseconds)) if milliseconds >= SECOND else span(milliseconds)


def stamp(time_ms: int, now_ms: int, *, exact: bool = False) -> str:
    """Write a time in UTC, without the day if it is today, without the year if it is this year."""
    iso, today = instant(time_ms), instant(now_ms)
    day, clock = iso[:10], iso[11 : 23 if exact else 19]
    if day == today[:10]:
        return clock
    return f"{int(day[8:])} {MONTHS[int(day[5:7]) - 1]} {clock}" if day[:4] == today[:4] else f"{day} {clock}"


def moment(time_ms: int | None, now_ms: int, *, exact: bool = False) -> Markup:
    """Write a time in UTC; the script converts it to the reader's choice. `exact`: with milliseconds."""
    if time_ms is None:
        return NOTHING
    if not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
        return Markup("<span>{}</span>").format(time_ms)
    return _time(instant(time_ms), "exact" if exact else "", stamp(time_ms, now_ms, exact=exact))


def age(time_ms: int | None, now_ms: int) -> Markup:
    """Write how long ago a time is; the script keeps counting."""
    if time_ms is None or not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
        return moment(time_ms, now_ms)
    return _time(instant(time_ms), "age", span(max(0, now_ms - time_ms)))


def left(time_ms: int | None, now_ms: int) -> Markup:
    """Write how long it is until a time, or how long it has passed; the script keeps counting."""
    if time_ms is None or not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
        return moment(time_ms, now_ms)
    if time_ms <= now_ms:
        return _time(instant(time_ms), "left", f"over by {span(now_ms - time_ms)}", ' class="over"')
    return _time(instant(time_ms), "left", f"in {span(time_ms - now_ms)}")


def _time(iso: str, kind: str, shown: str, more: str = "") -> Markup:
    """Return the element that the script updates. Its arguments need no escaping: none comes from a producer."""
    return Markup(f'<time datetime="{iso}" data-as="{kind}" title="{iso}"{more}>{shown}</time>')
