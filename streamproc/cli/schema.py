"""`streamproc schema`: parses, calls, reports."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from streamproc.cli.shell import AsJsonLines, Config, WrongUsage, out, run_async, settings_of, wrong_usage
from streamproc.errors import ConfigError, RecordRejected
from streamproc.escaping import escaped
from streamproc.exitcodes import ExitCode
from streamproc.printing import print_json

if TYPE_CHECKING:
    from streamproc.core.lifecycle import Profile
    from streamproc.registry.resolve import Document
    from streamproc.schemacheck import Report
    from streamproc.settings.service import Settings

References = Annotated[
    list[Path] | None, typer.Option("--reference", help="A schema file that FILEs refer to; may be repeated.")
]

schema_cli = typer.Typer(no_args_is_help=True, help="Check the schemas of producers.")


@schema_cli.callback()
def _schema() -> None:
    """Check the schemas of producers."""


@schema_cli.command()
def check(
    names: Annotated[list[str], typer.Argument(metavar="FILE|SUBJECT", help="Schema files, or registry subjects.")],
    version: Annotated[str, typer.Option(help="Of subjects: a number, or latest.")] = "latest",
    reference: References = None,
    as_json: AsJsonLines = False,
    config: Config = None,
) -> None:
    """Tell what the service would read of records of a schema.

    Exit code 1 if one cannot be used, 2 if one could not be checked: no such file or subject, no registry.

    A FILE is an Avro schema (.avsc) or an object container file. A SUBJECT is looked up, with its
    references, in the schema registry of the settings.
    """
    settings = settings_of(config)
    subjects = [name for name in dict.fromkeys(names) if not _is_file(name, settings)]
    if subjects and reference:
        raise WrongUsage(f"--reference is for files: of {subjects[0]} the registry has them")
    number = _version(version)
    referenced = _referenced(reference or ())
    asked = run_async(_asked(settings, subjects, number)) if subjects else {}
    codes = set[ExitCode]()
    for name in names:
        document = asked[name] if name in asked else _read(name, referenced)
        if isinstance(document, ConfigError):
            codes.add(ExitCode.WRONG_USAGE)
            print_json(out, _unchecked(name, document)) if as_json else _print_unchecked(name, document)
        else:
            report = _report(name, document, settings.life_cycle)
            codes |= {ExitCode.FAILED} if report.faults else set()
            print_json(out, _document(report)) if as_json else _print(report, settings.profile)
    if codes:
        raise typer.Exit(min(codes))


def _is_file(name: str, settings: "Settings") -> bool:
    from streamproc.schemafile import is_file

    if is_file(Path(name)) or name.endswith(".avsc"):
        return True
    if not settings.registry.url:
        raise WrongUsage(f"{name} is no file, and no registry is set to ask: give a file, or STREAMPROC_REGISTRY__URL")
    return False


def _referenced(paths: Iterable[Path]) -> list[Any]:
    from streamproc.schemafile import read_document

    try:
        return [read_document(path) for path in paths]
    except ConfigError as error:
        raise WrongUsage(f"--reference: {error}") from None


def _version(text: str) -> int | Literal["latest"]:
    if text == "latest":
        return "latest"
    if text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text):  # noqa: PLR2004  they are Java's ints
        return int(text)
    raise WrongUsage(f"--version {text}: give a number from 1 on, or latest")


async def _asked(settings: "Settings", subjects: list[str], version: int | Literal["latest"]) -> "dict[str, Document]":
    from streamproc.registry.client import RegistryClient
    from streamproc.registry.resolve import documents_of

    with wrong_usage(ConfigError):  # A certificate: no fault of the schemas.
        client = RegistryClient(settings.registry)
    async with client:
        return await documents_of(client, subjects, version)


def _read(name: str, referenced: list[Any]) -> Any:
    from streamproc.schemacheck import with_references
    from streamproc.schemafile import read_document

    try:
        return with_references(read_document(Path(name)), referenced)
    except ConfigError as error:
        return error


def _report(name: str, document: dict[str, Any] | list[Any] | RecordRejected, profile: "Profile") -> "Report":
    from streamproc.schemacheck import Report
    from streamproc.schemacheck import check as check_document

    if isinstance(document, RecordRejected):
        return Report(name, (str(document),))
    return check_document(name, document, profile)


def _unchecked(name: str, why: ConfigError) -> dict[str, Any]:
    return {"name": name, "checked": False, "error": str(why)}


def _document(report: "Report") -> dict[str, Any]:
    return {
        "name": report.name,
        "checked": True,
        "usable": not report.faults,
        "faults": report.faults,
        "found": dict(report.found),
        "notes": report.notes,
    }


def _print_unchecked(name: str, why: ConfigError) -> None:
    out.print(f"[bold red]{escape(escaped(name))}: could not be checked[/]", highlight=False, soft_wrap=True)
    out.print(f"  - {escape(escaped(str(why)))}", highlight=False, soft_wrap=True)


def _print(report: "Report", profile: str) -> None:
    name = escape(escaped(report.name))
    if report.faults:
        out.print(f"[bold red]{name}: cannot be used under profile {profile}[/]", highlight=False, soft_wrap=True)
        for fault in report.faults:
            out.print(f"  - {escape(escaped(fault))}", highlight=False, soft_wrap=True)
        return
    out.print(f"[bold green]{name}: can be used under profile {profile}[/]", highlight=False, soft_wrap=True)
    for target, where in report.found:
        out.print(f"  {target:18} {escape(escaped(where))}", highlight=False, soft_wrap=True)
    for note in report.notes:
        out.print(f"  {escape(note)}", highlight=False, soft_wrap=True)
