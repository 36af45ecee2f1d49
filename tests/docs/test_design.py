"""DESIGN.md names nothing that the code does not have, and no message of the code names a README."""

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from streamproc.settings.service import Settings
from tests.docs.pages import ROOT
from tests.support.source import parsed

DESIGN = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
BASES = tuple(ROOT / base for base in (".", "streamproc", "streamproc/runtime", "streamproc/console/pages"))
"""Where a path in DESIGN.md may begin."""
FOREIGN = frozenset(
    (
        "committed()",
        "connections.max.reauth.ms",
        "describe_topics",
        "encode_into",
        "error_transaction",
        "getmany",
        "max_poll_interval_ms",
        "sasl.oauthbearer.jwt.validator.class",
        "send_batch",
        "task.cancelling()",
    )
)
"""Names of Kafka's, aiokafka's and Python's."""
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"\.?\w[\w-]*(?:/[\w.-]+)*(?:/|\.(?:py|rs|md|jsonl|toml|yml))")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
NAME = re.compile(r"[A-Za-z]\w*_\w+|(?:[A-Z][a-z0-9]+){2,}")
"""snake_case of several words, or CamelCase; what is one word may be a word of the language."""

Names = Mapping[str, frozenset[str]]


@cache
def defined() -> Names:
    """Return what each module and each class has, by its own name; all names and texts of the code under ""."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for place in ("streamproc", "tests"):
        for path in (ROOT / place).rglob("*.py"):
            tree = parsed(path)
            module = path.parent.name if path.name == "__init__.py" else path.stem
            found[module] |= {name for node in tree.body for name in _bound(node)}
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    found[node.name] |= {name for part in ast.walk(node) for name in _bound(part)}
                found[""] |= {*_bound(node), *_texts(node)} if path != Path(__file__) else set()
    return {owner: frozenset(names) for owner, names in found.items()}


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds: of a function, a class, a variable, an attribute, an argument."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def unknown(text: str) -> list[str]:
    """Return what a text has in backticks that looks like code of ours, and is not there."""
    return [span for span in SPAN.findall(text) if span not in FOREIGN and not _is_there(span)]


def _is_there(span: str) -> bool:
    if PATH.fullmatch(span):
        is_bare = "/" not in span
        return any((base / span).exists() for base in BASES) or (is_bare and any(ROOT.rglob(f"streamproc/**/{span}")))
    if DOTTED.fullmatch(span):
        owner, name = span.split(".")[-2:]
        return name in defined().get(owner, ()) or span in defined()[""] or _is_setting(span)
    return not NAME.fullmatch(span) or span in defined()[""] or span.startswith("STREAMPROC_") or _is_field(span)


def _is_setting(span: str) -> bool:
    section, _, name = span.partition(".")
    return section in Settings.model_fields and name in _fields(section)


def _fields(section: str) -> Collection[str]:
    return getattr(type(Settings.model_fields[section].default), "model_fields", {})


def _is_field(span: str) -> bool:
    """Whether it is a setting, whichever section has it."""
    return any(_is_setting(f"{section}.{span}") for section in Settings.model_fields)


def test_design_names_only_what_is_there() -> None:
    """A path begins at the root, in the package or its runtime; a name is of a module, a class, or a setting."""
    assert unknown(DESIGN) == []


@pytest.mark.parametrize(
    "wrong", ["runtime/standing.py", "gone.py", "step.leap", "Stage.load", "refuse_mute", "kafka.gone_s", "FoldStages"]
)
def test_a_wrong_name_is_found(wrong: str) -> None:
    """Of each form."""
    assert unknown(f"as `{wrong}` and `core/step.py` do, by `step.step` and `State.merge`") == [wrong]


def messages() -> Iterator[tuple[Path, str]]:
    """Yield the texts in the package that are no docstrings."""
    for path in sorted((ROOT / "streamproc").rglob("*.py")):
        tree = parsed(path)
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        yield from ((path, text) for node in ast.walk(tree) if id(node) not in alone for text in _texts(node))


def test_no_message_names_a_readme() -> None:
    """It is a door: what a message explains is in docs/, under a heading that the message names."""
    assert [(path.name, text) for path, text in messages() if "README" in text] == []
