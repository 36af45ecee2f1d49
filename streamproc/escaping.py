"""Text that somebody else made, so that it cannot forge a line of its own or steer a terminal."""


def escaped(text: str) -> str:
    """Replace whatever is not printable, line breaks and marks of writing direction among it, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def escaped_lines(text: str, separator: str = "\n") -> str:
    """Do so line by line: for text of several lines that we made ourselves."""
    return separator.join(map(escaped, text.split("\n")))


def escaped_bytes(value: bytes, most_chars: int) -> str:
    """Show bytes as text, those that are no UTF-8 as hexadecimal escapes; the result is cut after `most_chars`."""
    text = escaped(value[:most_chars].decode("utf-8", "backslashreplace"))
    return text if len(text) <= most_chars and len(value) <= most_chars else f"{text[:most_chars]}…"
