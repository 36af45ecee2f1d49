"""The three commands `dlq list`, `dlq show` and `dlq replay`: they read from Kafka and print."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.dlq import showing
from streamproc.dlq.choice import Choice, Place
from streamproc.dlq.documents import letter_document, replay_document, row_document
from streamproc.dlq.letter import Foreign, Letter
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.listing import LetterCounts, LetterListing
from streamproc.dlq.planning import LetterVerdict, ReplayPlan, ReplayTerms, survey, terms_of
from streamproc.dlq.progress import progress
from streamproc.dlq.receipts import Receipt, Receipts
from streamproc.dlq.replaying import LetterReplay
from streamproc.dlq.scanning import names_of, scan
from streamproc.errors import ConfigError
from streamproc.escaping import escaped
from streamproc.exitcodes import ExitCode
from streamproc.interrupts import Interrupted, stop_on_signal, unless_stopped
from streamproc.printing import Consoles, print_json, print_line, print_wide
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka

MAX_DUMP_BYTES = 1_024


class Payload(NamedTuple):
    """How a letter's value is shown. `whole`: not only its beginning; `out`: a file to write it to instead."""

    show: bool = False
    whole: bool = False
    out: Path | None = None


async def list_letters(
    kafka: Kafka, topics: TopicSettings, choice: Choice, listing: LetterListing, consoles: Consoles, *, as_json: bool
) -> None:
    """Print the newest letters and the totals; raises as `scan`."""
    others = LetterCounts()
    await scan(kafka, names_of(topics), choice, listing.add, others.add)
    out = consoles.out
    if as_json:
        for row in listing.rows():
            print_json(out, row_document(*row))
    else:
        if listing.letters:
            print_wide(out, showing.table(listing.rows()))
        for line in showing.totals(listing):
            print_line(out, line)
    if not listing.letters:
        _nothing_matches(consoles.err, others)
    if listing.foreign:
        print_line(consoles.err, showing.foreign(listing.foreign))


async def show_letter(
    kafka: Kafka, topics: TopicSettings, place: Place, payload: Payload, consoles: Consoles, *, as_json: bool = False
) -> None:
    """Print one letter; raises ConfigError where it is not there, and as `scan`."""
    letter, receipt = await _find(kafka, topics, place)
    most_bytes = None if payload.whole else MAX_DUMP_BYTES
    is_shown = payload.show and payload.out is None
    if as_json:
        print_json(consoles.out, letter_document(letter, receipt, show_value=is_shown, most_bytes=most_bytes))
    else:
        _print_details(consoles.out, letter, receipt)
        for line in showing.hex_dump(letter.value or b"", most_bytes) if is_shown else ():
            print_line(consoles.out, line)
    if payload.out is not None:
        _write(letter.value, payload.out)
        print_line(consoles.err, f"{payload.out}: {len(letter.value or b''):,} bytes")


def _print_details(out: Console, letter: Letter, receipt: Receipt | None) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in showing.details(letter, receipt):
        grid.add_row(Text(name), Text(value))
    print_wide(out, grid)


async def replay_letters(
    kafka: Kafka,
    topics: TopicSettings,
    choice: Choice,
    limits: ReplayLimits,
    consoles: Consoles,
    *,
    dry_run: bool,
    as_json: bool = False,
) -> int:
    """Send letters back, print a summary, and return the exit code.

    Raises as `survey` and `LetterReplay.run`; what was done until then is printed all the same.
    """
    shown, summarize = progress(consoles.err), _print_document if as_json else _summary
    with stop_on_signal(shown.close) as stop:
        try:
            shown.reading(topics.dead_letters)
            survey_ = _look(kafka, topics, choice, limits)
            terms, plan = await unless_stopped(stop, survey_, "anything was replayed")
            if not plan.counts:
                shown.close()
                _nothing_matches(consoles.err, plan.others)
            if dry_run:
                shown.close()
                summarize(consoles.out, terms, plan, None)
                _warnings(consoles.err, plan)
                return ExitCode.DONE
            _warnings(consoles.err, plan)
            shown.begin(plan.total)
            replay = LetterReplay(kafka, terms, plan, time.time, shown.advance)
            try:
                await unless_stopped(stop, replay.run(), "all was replayed")
            finally:
                shown.close()
                summarize(consoles.out, terms, plan, replay)
        except Interrupted as interrupted:
            print_line(consoles.err, f"{interrupted}: the same command goes on from there, and sends nothing twice")
            return ExitCode.INTERRUPTED
        finally:
            shown.close()
    return ExitCode.DONE


async def _look(
    kafka: Kafka, topics: TopicSettings, choice: Choice, limits: ReplayLimits
) -> tuple[ReplayTerms, ReplayPlan]:
    terms = await terms_of(kafka, topics, choice, limits, int(time.time() * 1_000))
    return terms, await survey(kafka, terms)


async def _find(kafka: Kafka, topics: TopicSettings, place: Place) -> tuple[Letter, Receipt | None]:
    matches: list[tuple[Letter, Receipt | None]] = []

    def take(letter: Letter | Foreign, receipts: Receipts) -> None:
        if isinstance(letter, Foreign):
            raise ConfigError(
                f"{letter.place} of {topics.dead_letters} is not a dead letter of streamproc, another program wrote "
                f"it: {letter.flaw}"
            )
        matches.append((letter, receipts.of(letter)))

    await scan(kafka, names_of(topics), Choice(places=frozenset([place])), take)
    if not matches:
        raise ConfigError(
            f"there is no dead letter at partition {place[0]}, offset {place[1]} of {topics.dead_letters} (retention "
            "may have deleted it): `streamproc dlq list` shows those that exist"
        )
    return matches[0]


def _write(value: bytes | None, path: Path) -> None:
    """Write a value to a new file that only its owner can read; raises ConfigError."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            f"--out {path} cannot be created: {error.strerror}. Name a new file in a directory that exists and that "
            "you may write to"
        ) from None
    try:
        with os.fdopen(number, "wb") as file:
            file.write(value or b"")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"--out {path} cannot be written: {error.strerror}. Name a file on another disk") from None


def _nothing_matches(err: Console, others: LetterCounts) -> None:
    """Print which other letters there are, if any."""
    if others.reasons:
        for line in showing.nothing_matches(others):
            print_line(err, line)


def _warnings(err: Console, plan: ReplayPlan) -> None:
    for line in showing.warnings(plan.unmended, plan.nothing_at):
        print_line(err, line)


def _print_document(out: Console, _: ReplayTerms, plan: ReplayPlan, replay: LetterReplay | None) -> None:
    print_json(out, replay_document(plan, replay))


def _summary(out: Console, terms: ReplayTerms, plan: ReplayPlan, replay: LetterReplay | None) -> None:
    """Print what was replayed (where `replay` is None: what would be), and what was left."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column(overflow="fold")
    if replay is None:
        grid.add_row(
            "would be replayed", f"{plan.total:,}", Text("; ".join(showing.by(plan.chosen)) if plan.total else "")
        )
    else:
        grid.add_row("replayed", f"{replay.replayed:,}", "")
        if replay.by_another:
            grid.add_row("replayed by another command meanwhile", f"{replay.by_another:,}", "")
        if replay.remaining:
            doubt = f"up to {replay.in_doubt:,} of them may have been sent: the next replay finds out"
            grid.add_row("still to be replayed", f"{replay.remaining:,}", doubt if replay.in_doubt else "")
    if before := plan.counts[LetterVerdict.REPLAYED]:
        grid.add_row(LetterVerdict.REPLAYED.told, f"{before:,}", "")
    for verdict, count, which in plan.left():
        limit = f" ({terms.limits.attempts:,})" if verdict is LetterVerdict.EXHAUSTED else ""
        grid.add_row(verdict.told + limit, f"{count:,}", Text(escaped(which)))
    print_wide(out, grid)
