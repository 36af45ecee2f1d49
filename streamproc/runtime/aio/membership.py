"""Where we stand in the group: heartbeats that say which instance we are, and what to do where another one says so too.

Kafka gives a group instance id to whoever joins with it last, and fences who had it before. Both going on would take it
from each other for ever. So one of the two ends: the newcomer, or who has slept through its session meanwhile.

A member whose coordinator went away while it joined can be fenced by itself: Kafka carried out a join whose answer got
lost, or a join of the process before it, once the coordinator is there again. A coordinator that has just taken over
may also know older members than the one before it. So the member joins again, as a newcomer: once for each answer that
was lost lately, and once after its start, each time as often as it takes within SETTLES_S. Another process would go on
to fence it.
"""

import asyncio
import time
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
    UnknownMemberIdError,
)
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest

from streamproc.errors import ConfigError
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import FencedInstanceIdError, error_of
from streamproc.runtime.aio.coordinators import MOVED
from streamproc.runtime.aio.wire import Heartbeat, HeartbeatResponse3
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Member

log = structlog.get_logger(__name__)

OF_JOINS = CoordinatorLoadInProgressError, RequestTimedOutError
"""Errors that aiokafka expects of a join only: of a heartbeat or a sync they would end the consumer."""
MAX_LOST = 3
"""The most lost answers that count: of two processes that joined again for each one neither would end for long."""
SETTLES_S = 5.0
"""For a coordinator that has just come back. An incumbent is disturbed for as long by a newcomer that has its id."""
ACKNOWLEDGED_S = 5.0
"""For the answer to a heartbeat: a coordinator that is silent for longer is looked for anew."""


class Membership:
    """The membership of one consumer, whose requests to the coordinator go through here.

    `refused`: why this process must not be a member any more, None for as long as it may.
    """

    def __init__(self, consumer: AIOKafkaConsumer, client: Client, settings: KafkaSettings, group_id: str) -> None:
        self._coordinator: Any = consumer._coordinator  # noqa: SLF001  aiokafka shows neither generation nor heartbeat
        self._ask = self._coordinator._send_req  # noqa: SLF001
        self._coordinator._send_req = self._asked  # noqa: SLF001
        self._client = client
        self._settings = settings
        self._group_id = group_id
        # By the wall clock: the monotonic one stands still with a machine that sleeps.
        self._since: float | None = None
        self._acknowledged = 0.0
        self._lost = 1  # Answers, in the last session: the process before us may have lost one.
        self._lost_at = time.time()
        self._fenced_as = ""
        self._fenced_at = 0.0  # The first of those fences that count as one.
        self.refused: ConfigError | None = None

    @property
    def member(self) -> Member:
        """Our membership as of now."""
        return Member(self._coordinator.generation, self._coordinator.member_id, self._settings.group_instance_id)

    def joined(self) -> None:
        """Take note of an assignment."""
        self._acknowledged = time.time()
        self._since = self._since or self._acknowledged

    async def confirmed(self) -> bool:
        """Send a heartbeat now and tell whether the current generation is ours."""
        coordinator = self._coordinator
        is_member = coordinator.coordinator_id is not None and coordinator.generation >= 0
        if not is_member or coordinator._rejoin_needed_fut.done():  # noqa: SLF001
            return False
        try:
            acknowledged = bool(await coordinator._do_heartbeat())  # noqa: SLF001
        except KafkaError:
            return False
        return acknowledged and not coordinator._rejoin_needed_fut.done()  # noqa: SLF001

    async def _asked(self, request: Any) -> Any:
        """Return the coordinator's answer, in the place of aiokafka's own method; raises KafkaError."""
        if self.refused is not None and isinstance(request, JoinGroupRequest):
            raise KafkaError("not again: it would fence who is in our place")
        sent_as = self._coordinator.member_id
        try:
            is_beat = isinstance(request, HeartbeatRequest)
            response = await (self._beat() if is_beat else self._ask(request))
        except KafkaError:
            self._lose()
            raise
        if is_beat and not response.error_code:
            self._acknowledged = time.time()
            if abs(self._acknowledged - self._lost_at) > self._settings.session_timeout_ms / 1000:
                self._lost = 0
        return self._heard(request, response, sent_as)

    def _lose(self) -> None:
        self._lost, self._lost_at = min(self._lost + 1, MAX_LOST), time.time()

    async def _beat(self) -> Any:
        try:
            async with asyncio.timeout(ACKNOWLEDGED_S):
                return await self._ask(Heartbeat(self._group_id, self.member))
        except TimeoutError:
            self._client.forget(self._coordinator.coordinator_id, ConnectionGroup.COORDINATION)
            self._coordinator.coordinator_dead()
            raise RequestTimedOutError from None

    def _heard(self, request: Any, response: Any, sent_as: str) -> Any:
        """Return the answer, one about fencing as what makes aiokafka join again in a new place.

        So too a heartbeat's about a right that was taken away: aiokafka's heartbeats would end for good. An error that
        is not expected of the request becomes that of a coordinator that moved: it is looked up again.
        """
        if isinstance(response, HeartbeatResponse3) and response.error_code == GroupAuthorizationFailedError.errno:
            response.error_code = UnknownMemberIdError.errno
        error_code = getattr(response, "error_code", 0)
        error = error_of(error_code)
        if isinstance(error, (*MOVED, *OF_JOINS)):
            self._lose()
        if isinstance(error, OF_JOINS) and not isinstance(request, JoinGroupRequest):
            response.error_code = NotCoordinatorForGroupError.errno
        if error_code == FencedInstanceIdError.errno:
            self._fenced(sent_as)
            response.error_code = UnknownMemberIdError.errno
        return response

    def _fenced(self, member_id: str) -> None:
        """Decide whether to join again. `refused` is set where not."""
        if member_id and member_id == self._fenced_as:
            return  # The answer to another request of the same member: heartbeats and joins overlap.
        self._fenced_as = member_id
        if self._goes_on():
            return
        now = time.time()
        if abs(now - self._fenced_at) > SETTLES_S:
            if not self._lost:
                self.refused = self._refusal()
                return
            self._lost, self._fenced_at = self._lost - 1, now
        self._since = None
        log.info("the coordinator fenced this member: it joins again", instance_id=self._settings.group_instance_id)

    def _refusal(self) -> ConfigError:
        return ConfigError(
            f"another process uses the group instance id {self._settings.group_instance_id} in the group "
            f"{self._group_id}: give each its own (STREAMPROC_KAFKA__GROUP_INSTANCE_ID)"
        )

    def _goes_on(self) -> bool:
        """Tell whether it is the other one that is new; it hears of it by its next heartbeat."""
        now, session_s = time.time(), self._settings.session_timeout_ms / 1000
        return self._since is not None and now - self._since > session_s and now - self._acknowledged <= session_s
