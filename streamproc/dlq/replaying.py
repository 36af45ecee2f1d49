"""The replay: letters go back to their source, each once, whatever is interrupted, repeated or done at the same time.

A transaction holds the records of some letters and a receipt for each, so that either both are there or neither. Only
who has fenced a partition writes its receipts; read behind the fence they are complete.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from secrets import token_hex

from streamproc.backoff import Backoff
from streamproc.codec.message import Message
from streamproc.codec.sizes import batch_bytes
from streamproc.dlq.letter import Letter
from streamproc.dlq.originals import Originals
from streamproc.dlq.planning import LetterVerdict, ReplayPlan, ReplayTerms
from streamproc.dlq.receipts import Receipts, ensure_topic, read_receipts, receipt, withdrawn
from streamproc.dlq.scanning import letters
from streamproc.errors import BrokerUnavailable, ConfigError, TaskFenced, TaskInvalid
from streamproc.interrupts import to_its_end
from streamproc.runtime.config import BATCH_BYTES as PRODUCED_BYTES
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, Kafka, Outputs, TopicPartition, Transactions

BATCH_LETTERS = 500
BATCH_BYTES = 4_000_000
WITHDRAWN_AT_ONCE = 5_000
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 10.0
"""Somebody waits in front of the command: after MAX_FAILURES it says so and ends."""
MAX_FAILURES = 6
"""In a row, on one partition."""


class LetterReplay:
    """One run of the command. Not to be run again: make another."""

    def __init__(
        self,
        kafka: Kafka,
        terms: ReplayTerms,
        plan: ReplayPlan,
        clock: Callable[[], float],
        on_replayed: Callable[[int], None],
    ) -> None:
        self._kafka = kafka
        self._terms = terms
        self._plan = plan
        self._clock = clock
        self._on_replayed = on_replayed
        self._in_doubt: Sequence[Letter] = ()
        self._at_once = BATCH_LETTERS
        # Committed along with each transaction: tells a replay that was fenced from one whose transaction failed.
        self._owner = f"{socket.gethostname()} process {os.getpid()} {token_hex(4)}"
        self.replayed = 0
        self.finished = False

    @property
    def in_doubt(self) -> int:
        """How many letters were in a transaction whose outcome is not known."""
        return len(self._in_doubt)

    async def run(self) -> None:
        """Send back what the plan says; may be cancelled at any time, then the transaction in hand comes to its end.

        Raises TaskFenced where another replay took over, BrokerUnavailable where Kafka fails again and again,
        ConfigError where a topic does not admit what is sent.
        """
        if self._plan.pending:
            await ensure_topic(self._kafka, self._terms.names.receipts, self._terms.partitions)
        for partition in sorted(self._plan.pending):
            await self._persist(TopicPartition(self._terms.names.dead_letters, partition))
        self.finished = True

    async def _persist(self, source: TopicPartition) -> None:
        """Do one partition, from its receipts on again wherever a transaction's outcome is not known."""
        backoff, looked, before = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S), False, None
        while True:
            done = self.replayed
            try:
                if looked:
                    await self._refuse_rival(source, before)
                else:
                    before, looked = await self._kafka.committed(source), True
                await self._work(source)
                return
            except ConfigError as error:
                self._sort_out(error)
            except Denied:
                raise
            except (TaskInvalid, BrokerUnavailable) as error:
                if self.replayed > done:
                    backoff.succeeded()
                wait_s = backoff.failed()
                if backoff.failures >= MAX_FAILURES:
                    raise BrokerUnavailable(f"{backoff.failures} failures in a row, the last: {error}") from error
                # Long enough for a rival that has fenced us to say so.
                await asyncio.sleep(wait_s)

    def _sort_out(self, error: ConfigError) -> None:
        """Go on letter by letter where one of several is refused; raises ConfigError where it is known which."""
        if not self._in_doubt or (len(self._in_doubt) > 1 and self._at_once == 1):
            raise error  # It was not the letters that were refused.
        if len(self._in_doubt) == 1:
            letter = self._in_doubt[0]
            # It was refused, so it was not sent.
            self._in_doubt = ()
            raise ConfigError(
                f"the letter {letter.place} of {self._terms.names.dead_letters} cannot be replayed: {error}; until "
                "that is mended name others by their places, or leave it out by other filters"
            ) from error
        self._at_once = 1

    async def _refuse_rival(self, source: TopicPartition, before: Committed | None) -> None:
        found = await self._kafka.committed(source)
        if found is not None and found != before and found.metadata != self._owner:
            raise TaskFenced(
                f"another `streamproc dlq replay` ({found.metadata}) has taken over {source}: this one ends. Nothing "
                "was sent twice"
            )

    async def _work(self, source: TopicPartition) -> None:
        transactions = self._kafka.transactions(source)
        try:
            await transactions.fence()
            first, _ = await self._kafka.bounds(*source)
            await self._write(transactions, source, {}, first)
            known = await read_receipts(self._kafka, self._receipts(source.partition))
            self._settle(known)
            await self._withdraw(transactions, source, known, first)
            async with aclosing(self._batches(source, known)) as batches:
                async for batch in batches:
                    outputs = self._outputs(source.partition, batch)
                    await self._write(transactions, source, outputs, batch[-1].offset + 1, batch)
        finally:
            await transactions.close()

    def _settle(self, known: Receipts) -> None:
        """Count what turns out to have been replayed by the transaction that was in doubt."""
        if self._in_doubt:
            self._count(sum(known.of(letter) is not None for letter in self._in_doubt))

    async def _withdraw(self, transactions: Transactions, source: TopicPartition, known: Receipts, first: int) -> None:
        """Take back the receipts of letters that retention has removed: they would pile up for ever."""
        gone, now_ms, partition = known.before(first), self._now_ms(), source.partition
        for start in range(0, len(gone), WITHDRAWN_AT_ONCE):
            nulls = [withdrawn(partition, offset, now_ms) for offset in gone[start : start + WITHDRAWN_AT_ONCE]]
            await self._write(transactions, source, {self._receipts(partition): nulls}, first)

    async def _batches(self, source: TopicPartition, known: Receipts) -> AsyncGenerator[list[Letter], None]:
        """Yield the letters to be replayed, as many as one transaction takes.

        Up to where the plan looked, so that a record that fails again at once is not chased round and round.
        """
        batch: list[Letter] = []
        size, end, admitted = 0, self._plan.ends[source.partition], self._terms.bounds.batch_bytes
        # Records go in batches of PRODUCED_BYTES; where the topic admits less, so little is sent that it is one batch.
        most = BATCH_BYTES if admitted >= PRODUCED_BYTES else admitted
        async with (
            aclosing(Originals(self._kafka)) as originals,
            aclosing(letters(self._kafka, source, self._terms.choice, end)) as fetches,
        ):
            async for fetched in fetches:
                for found in fetched:
                    if not isinstance(found, Letter) or self._terms.judge(found, known) is not LetterVerdict.REPLAY:
                        continue
                    verdict, whole = await self._terms.whole(originals, found)
                    if verdict is not LetterVerdict.REPLAY:
                        continue
                    key, value, _, headers = whole.again()
                    taken = batch_bytes(key, value, headers)
                    if batch and (len(batch) >= min(self._at_once, BATCH_LETTERS) or size + taken > most):
                        yield batch
                        batch, size = [], 0
                    batch.append(whole)
                    size += taken
        if batch:
            yield batch

    async def _write(
        self,
        transactions: Transactions,
        source: TopicPartition,
        outputs: Outputs,
        offset: int,
        batch: Sequence[Letter] = (),
    ) -> None:
        """Write one transaction to its end, for which it has a deadline, even if cancelled: half of one is in doubt."""

        async def write() -> None:
            if batch:
                self._in_doubt = batch
            # Nobody reads by this offset; it is the metadata that says whose transaction it was.
            await transactions.commit(outputs, {source: Committed(offset, self._owner)})
            if batch:
                self._count(len(batch))

        await to_its_end(write())

    def _outputs(self, partition: int, batch: Sequence[Letter]) -> Outputs:
        outputs: dict[TopicPartition, list[Message]] = {}
        for letter in batch:
            outputs.setdefault(TopicPartition(self._terms.events, letter.source.partition), []).append(letter.again())
        now_ms = self._now_ms()
        outputs[self._receipts(partition)] = [receipt(letter, now_ms) for letter in batch]
        return outputs

    def _count(self, replayed: int) -> None:
        self._in_doubt = ()
        self.replayed += replayed
        self._on_replayed(replayed)

    def _receipts(self, partition: int) -> TopicPartition:
        return TopicPartition(self._terms.names.receipts, partition)

    def _now_ms(self) -> int:
        return int(self._clock() * 1_000)
