"""Checks before anything is done: whether the user has the rights (it names all that lack), and the framing."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

import structlog

from streamproc.errors import BrokerUnavailable
from streamproc.interrupts import Interrupted, unless_stopped
from streamproc.rightsbook import INPUTS, ResourceNames, names, rights_of
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Gone, Kafka, Unreadable
from streamproc.runtime.reframing import framing_in
from streamproc.runtime.rights import Resource, Right
from streamproc.settings.service import Settings

ID = Resource.TRANSACTIONAL_ID
REFRAMING_S = 3.0
"""How long to look for the framing in use; the start does not depend on it."""
REFRAMED = "a consumer that knows one of the two only fails from here on"

log = structlog.get_logger(__name__)


async def refuse_lacking(kafka: Kafka, settings: Settings, *commands: str) -> None:
    """Raise Denied where the user lacks rights that commands of the rightsbook need, BrokerUnavailable."""
    if missing_rights := await lacking(kafka, settings, *commands):
        raise Denied(*missing_rights)


async def may_work(kafka: Kafka, settings: Settings, stop: asyncio.Event) -> bool:
    """Raise Denied if the service lacks a right it needs; log what else it lacks. False if `stop` was set before."""
    try:
        await unless_stopped(stop, refuse_lacking(kafka, settings, "run"), "the rights were looked at")
        why = await unless_stopped(stop, complaint(kafka, settings, asked_for(settings)), "all rights were looked at")
    except Interrupted:
        return False
    if why:
        log.error("rights are lacking for what the service goes on without", why=why)
    return True


async def lacking(kafka: Kafka, settings: Settings, *commands: str) -> Sequence[Right]:
    """Return the rights that the user lacks for these commands, as far as the broker tells; raises BrokerUnavailable.

    The right to create topics is not asked for: creating them shows it.
    """
    on = names(settings.application_id, settings.topic_names)
    wanted = list(dict.fromkeys(right for command in commands for right in rights_of(command, on)))
    asked = [each for right in wanted for each in (_ids(right, on) if right.resource is ID else [right])]
    missing_rights = {right._replace(asked="") for right in await kafka.lacking(asked)}
    return [right for right in wanted if right in missing_rights]


def asked_for(settings: Settings) -> Sequence[str]:
    """Return the optional tasks of the service under these settings: it runs without the rights to them."""
    push = {"Alertmanager": settings.alertmanager.urls, "a webhook": settings.webhook.url}
    return ["run: reports on instances", *(f"run: push to {name}" for name, url in push.items() if url)]


async def complaint(kafka: Kafka, settings: Settings, commands: Iterable[str]) -> str:
    """Describe the rights that the user lacks for these commands; empty if none, or if the broker does not answer."""
    try:
        missing_rights = await lacking(kafka, settings, *commands)
    except BrokerUnavailable:
        return ""
    return str(Denied(*missing_rights)) if missing_rights else ""


def _ids(right: Right, on: ResourceNames) -> list[Right]:
    """Return the right to some of the ids, as examples: it may be granted for single ids."""
    roles = INPUTS if right.name == f"{on.application_id}:" else ("dead_letters",)
    return [right._replace(asked=f"{right.name}{on.topics[role]}:0") for role in roles]


async def tell_reframing(settings: Settings, kafka: Kafka) -> None:
    """Warn if the outputs are about to be framed otherwise than the records in their topics."""
    # The one output topic that the service certainly may read.
    topic, now = settings.topic_names.state, settings.framing
    count = await kafka.partition_count(topic)
    # The worker meets the same errors, and handles them.
    with suppress(BrokerUnavailable, Gone, Unreadable, TimeoutError):
        async with asyncio.timeout(REFRAMING_S):
            before = await framing_in(kafka, topic, count)
        if before not in (None, now):
            # A framing that the settings name is intended.
            keep = f"; STREAMPROC_OUTPUTS__FRAMING={before} keeps it" if settings.outputs.framing == "auto" else ""
            advice = REFRAMED + keep
            log.warning("the outputs change their framing", topic=topic, before=before, now=now, advice=advice)
