"""docs/api.md, made of the API's description: `python -m tests.console.reference` writes it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamproc.console.api.openapi import description

FILE = Path(__file__).parents[2] / "docs" / "api.md"
PREFIX = "/api/v1"
HEAD = """# The console's API

Made by `python -m tests.console.reference` of the description that the console serves at `{prefix}/openapi.json`:
change that, not this. {about}

- Times are Unix milliseconds, where the type does not say seconds; `?` behind a type: it may be null.
- Lists come in pages: `next` is the `cursor` of the page behind, null at the end. `format=csv` or `ndjson`: all pages.
- Errors are `application/problem+json` (RFC 9457): {statuses}.
- Where the console wants a token: `Authorization: Bearer …`, or as the password of HTTP's log in.
"""


def text() -> str:
    """Return the whole file."""
    said = description([], PREFIX)
    schemas = said["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in said["paths"].items()
        for method, operation in methods.items()
    ]
    problems = {
        int(status): response["description"]
        for *_, operation in operations
        for status, response in operation["responses"].items()
        if status != "200"
    }
    statuses = "; ".join(
        f"{status} {about[0].lower()}{about[1:].rstrip('.')}" for status, about in sorted(problems.items())
    )
    about = said["info"]["description"]
    parts = [HEAD.format(prefix=PREFIX, about=about, statuses=statuses)]
    parts += [_operation(method, path, operation) for method, path, operation in operations]
    parts.append("# What answers hold\n")
    parts += [_schema(name, schemas[name]) for name in sorted(schemas)]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    content = operation["responses"]["200"]["content"]
    answer = content.get("application/json", {}).get("schema")
    lines = [f"## {method} {PREFIX}{path}", "", f"{operation['summary']} {_answer(answer)}".rstrip(), ""]
    if body := operation.get("requestBody"):
        [asked] = body["content"]["application/json"]["schema"]["allOf"]
        lines += [f"Body: {_type(asked)}.", ""]
    if parameters := operation["parameters"]:
        lines += ["| parameter | | |", "|---|---|---|"]
        lines += [f"| `{each['name']}` | {_domain(each)} | {_cell(each['description'])} |" for each in parameters]
        lines.append("")
    return "\n".join(lines)


def _answer(schema: Mapping[str, Any] | None) -> str:
    return "" if schema is None else f"Answer: {_type(schema)}."


def _domain(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    one = schema.get("items", schema)
    words = [", ".join(f"`{value}`" for value in one["enum"]) if "enum" in one else one["type"]]
    if one["type"] == "integer":
        words.append(f"{one['minimum']:,} to {one['maximum']:,}")
    words += [f"default `{schema['default']}`"] if "default" in schema else []
    words += ["may be repeated"] if schema["type"] == "array" else []
    words += ["header"] if parameter["in"] == "header" else []
    return "; ".join(words)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    fields = schema["properties"].items()
    return "\n".join(
        [
            f"## {name}",
            "",
            *_paragraphs(schema.get("description", "")),
            "| field | |",
            "|---|---|",
            *(f"| `{field}` | {_type(each)} |" for field, each in fields),
            "",
        ]
    )


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield " ".join(paragraph.split())
            yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf"):
        named = [_type(each) for each in options if each.get("type") != "null"]
        return " or ".join(named) + ("?" if len(named) < len(options) else "")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        return f"by name: {_type(schema.get('additionalProperties') or {})}"
    unit = re.sub(r"^Unix ", "", schema.get("description", ""))
    return f"{schema.get('type', 'any JSON')}{f', {unit}' if unit else ''}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    FILE.write_text(text())
