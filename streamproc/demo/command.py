"""The demo from beginning to end: a broker, its topics, a console, the session, and the summary."""

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack

from rich.console import Console

from streamproc import app
from streamproc.demo.beside import Beside, console_beside
from streamproc.demo.board import Board, quiet_logs
from streamproc.demo.broker import announcement, any_broker
from streamproc.demo.screens import LiveScreen, PlainScreen, Say, Screen
from streamproc.demo.session import DemoPlan, DemoSession
from streamproc.demo.source import refuse_other_profiles
from streamproc.demo.summary import DemoSummary, findings
from streamproc.demo.view import WIDTH
from streamproc.interrupts import stop_on_signal, unless_stopped
from streamproc.local.prometheus import LocalPrometheus, local_prometheus
from streamproc.settings.console import ConsoleSettings
from streamproc.settings.rules import DeadlineSettings, WindowSettings
from streamproc.settings.service import Settings
from streamproc.web.config import HttpSettings

SHORTER = 20
"""The limits of the statuses are shortened by this factor: nobody watches for as long as the real ones."""
VERDICTS_DIFFER = (
    "What each was found to be, below, goes by what came before it, so the kinds need not match: a duplicate may come "
    "after its run has moved on (stale), a late event may still fit (applied)."
)


async def run_demo(settings: Settings, plan: DemoPlan, out: Console, err: Console) -> DemoSummary:
    """Run the demo; return what it came to.

    Raises what LocalKafka, LocalPrometheus and `app.serve` raise, and Interrupted where it was stopped before it began.
    """
    refuse_other_profiles(settings)
    out.print(announcement(settings), markup=False, highlight=False, soft_wrap=True)
    plain = plan.plain or not out.is_terminal or out.is_dumb_terminal
    screen: Screen = PlainScreen(out) if plain else LiveScreen(out, settings.life_cycle)
    quiet_logs("console")

    def at_once() -> None:
        screen.restore()
        err.print("stopped at once; nothing was checked")

    with stop_on_signal(at_once) as stop:
        async with AsyncExitStack() as stack:
            with screen.preparing() as say:
                prometheus = await _prometheus(stack, say) if plan.prometheus else None
                ready = await stack.enter_async_context(any_broker(settings, stop, say))
                say("Creating the topics")
                await unless_stopped(stop, app.create(ready), "the topics were there")
                ready = _with_free_ports(_for_a_short_while(ready))
                console = await _console(stack, ready, plan, stop, say) if plan.console else None
            board = Board(ready.kafka.bootstrap_servers, ready.alerts.failure_outcomes)
            board.prometheus_url = prometheus.url if prometheus else ""
            if console:
                board.console_url = console.url
                console.on_end = board.lost_console
            try:
                summary = await DemoSession(ready, plan, board, stop, prometheus).run(screen)
            finally:
                for text in board.log:
                    err.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
            _report(out, summary, board, plan, ready)
            return summary


async def _prometheus(stack: AsyncExitStack, say: Say) -> LocalPrometheus:
    """Start Prometheus first: it takes a moment, and fails at once if it is not installed."""
    say("Starting Prometheus")
    prometheus = await stack.enter_async_context(local_prometheus())
    say(f"Prometheus is at {prometheus.url}")
    return prometheus


async def _console(stack: AsyncExitStack, settings: Settings, plan: DemoPlan, stop: asyncio.Event, say: Say) -> Beside:
    say("Starting the console")
    return await stack.enter_async_context(console_beside(settings, plan.config, stop, say))


def _report(out: Console, summary: DemoSummary, board: Board, plan: DemoPlan, settings: Settings) -> None:
    kinds: Counter[str] = Counter()
    for kind, count in board.sent.items():
        kinds[kind.partition(":")[0]] += count
    sent = ", ".join(f"{count:,} {'plain' if kind == 'event' else kind}" for kind, count in kinds.most_common())
    seed, width = plan.load.seed, out.width if out.is_terminal else max(out.width, WIDTH)
    out.print("\nWhat the service has found:", style="bold")
    out.print(findings(board, width), highlight=False, soft_wrap=True)
    out.print(f"\nSent with --seed {seed}, as they were made: {sent}.\n{VERDICTS_DIFFER}\n", highlight=False)
    out.print(summary.render(width), width=width)
    if board.console_url:
        out.print(f"\nThe console at {board.console_url} ends with the demo.", highlight=False, soft_wrap=True)
    if settings.topics.prefix:
        out.print(f"\nThe topics {settings.topics.prefix}* stay on {board.kafka}.", highlight=False, soft_wrap=True)


def _with_free_ports(settings: Settings) -> Settings:
    """Replace default ports that are taken by free ones; ports that were requested are kept."""
    sections: Mapping[str, HttpSettings | ConsoleSettings] = {"http": settings.http, "console": settings.console}
    taken = {
        name: section.model_copy(update={"port": 0})
        for name, section in sections.items()
        if "port" not in section.model_fields_set and not _is_free(section.host, section.port)
    }
    return settings.model_copy(update=taken)


def _for_a_short_while(settings: Settings) -> Settings:
    """Shorten windows and limits, so that some end while somebody watches, unless they were set."""
    limits = {status: limit // SHORTER for status, limit in settings.life_cycle.limits_s.items()}
    short = {
        "windows": WindowSettings(sizes_s=(5,), grace_s=2),
        "deadlines": DeadlineSettings(limits_s=limits, allowance_s=2),
    }
    given = {name for name in short if getattr(settings, name).model_fields_set}
    return settings.model_copy(update={name: section for name, section in short.items() if name not in given})


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True
