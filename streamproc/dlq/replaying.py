"""Sends letters back to their source, each exactly once, even if replays are interrupted, repeated or run concurrently.

A transaction contains the records of some letters and a receipt for each, so either both exist or neither. Only the
process that fenced a partition writes its receipts; so receipts that are read after fencing are complete.
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
"""Limit on consecutive failures on one partition."""


class LetterReplay:
    """One run of the command. To run again, make another."""

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
        # Committed with each transaction: it shows whether a failure was a fencing by another replay.
        self._owner = f"{socket.gethostname()} process {os.getpid()} {token_hex(4)}"
        self.replayed = 0
        self.finished = False

    @property
    def in_doubt(self) -> int:
        """The number of letters in a transaction with an unknown outcome."""
        return len(self._in_doubt)

    @property
    def by_another(self) -> int:
        """The number of letters that another command sent meanwhile: known once this replay has finished."""
        return self._plan.total - self.replayed if self.finished else 0

    @property
    def remaining(self) -> int:
        """The number of letters still to be sent, those in doubt among them."""
        return self._plan.total - self.replayed - self.by_another

    async def run(self) -> None:
        """Send back the letters of the plan. May be cancelled at any time; the current transaction is completed first.

        Raises TaskFenced where another replay took over, BrokerUnavailable after repeated failures of Kafka,
        ConfigError where a topic refuses a record.
        """
        if self._plan.pending:
            await ensure_topic(self._kafka, self._terms.names.receipts, self._terms.partitions)
        for partition in sorted(self._plan.pending):
            await self._persist(TopicPartition(self._terms.names.dead_letters, partition))
        self.finished = True

    async def _persist(self, source: TopicPartition) -> None:
        """Replay one partition. After a failure, start again by reading the receipts."""
        backoff, looked, before = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S), False, None
        while True:
            replayed_before = self.replayed
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
                if self.replayed > replayed_before:
                    backoff.succeeded()
                wait_s = backoff.failed()
                if backoff.failures >= MAX_FAILURES:
                    raise BrokerUnavailable(f"{backoff.failures} failures in a row, the last: {error}") from error
                # Long enough for a rival that fenced us to commit its name.
                await asyncio.sleep(wait_s)

    def _sort_out(self, error: ConfigError) -> None:
        """Go on letter by letter if one of several was refused; raises ConfigError once it is known which one."""
        if not self._in_doubt or (len(self._in_doubt) > 1 and self._at_once == 1):
            raise error  # The letters were not the cause.
        if len(self._in_doubt) == 1:
            letter = self._in_doubt[0]
            # A refused letter was not sent, so it is no longer in doubt.
            self._in_doubt = ()
            raise ConfigError(
                f"the letter {letter.place} of {self._terms.names.dead_letters} cannot be replayed: {error}; until "
                "that is mended name others by their places, or leave it out by other filters"
            ) from error
        self._at_once = 1

    async def _refuse_rival(self, source: TopicPartition, before: Committed | None) -> None:
        committed = await self._kafka.committed(source)
        if committed is not None and committed != before and committed.metadata != self._owner:
            raise TaskFenced(
                f"another `streamproc dlq replay` ({committed.metadata}) has taken over {source}: this one ends. "
                "Nothing was sent twice"
            )

    async def _work(self, source: TopicPartition) -> None:
        transactions = self._kafka.transactions(source)
        try:
            await transactions.fence()
            first, _ = await self._kafka.bounds(*source)
            await self._write(transactions, source, {}, first)
            receipts = await read_receipts(self._kafka, self._receipts(source.partition))
            self._settle(receipts)
            await self._withdraw(transactions, source, receipts, first)
            async with aclosing(self._batches(source, receipts)) as batches:
                async for batch in batches:
                    outputs = self._outputs(source.partition, batch)
                    await self._write(transactions, source, outputs, batch[-1].offset + 1, batch)
        finally:
            await transactions.close()

    def _settle(self, receipts: Receipts) -> None:
        """Count the letters that the transaction in doubt did replay, by their receipts."""
        if self._in_doubt:
            self._count(sum(receipts.of(letter) is not None for letter in self._in_doubt))

    async def _withdraw(
        self, transactions: Transactions, source: TopicPartition, receipts: Receipts, first: int
    ) -> None:
        """Withdraw the receipts of letters that retention removed; otherwise they would pile up for ever."""
        removed, now_ms, partition = receipts.before(first), self._now_ms(), source.partition
        for start in range(0, len(removed), WITHDRAWN_AT_ONCE):
            nulls = [withdrawn(partition, offset, now_ms) for offset in removed[start : start + WITHDRAWN_AT_ONCE]]
            await self._write(transactions, source, {self._receipts(partition): nulls}, first)

    async def _batches(self, source: TopicPartition, receipts: Receipts) -> AsyncGenerator[list[Letter], None]:
        """Yield the letters to be replayed, in batches for one transaction each.

        They end where the plan ended; otherwise a record that fails again at once would be replayed in a loop.
        """
        batch: list[Letter] = []
        size, end, admitted = 0, self._plan.ends[source.partition], self._terms.bounds.batch_bytes
        # The producer makes batches of PRODUCED_BYTES. If the topic admits less, send only as much as fits one batch.
        most = BATCH_BYTES if admitted >= PRODUCED_BYTES else admitted
        async with (
            aclosing(Originals(self._kafka)) as originals,
            aclosing(letters(self._kafka, source, self._terms.choice, end)) as fetches,
        ):
            async for fetched in fetches:
                for letter in fetched:
                    if (
                        not isinstance(letter, Letter)
                        or self._terms.judge(letter, receipts) is not LetterVerdict.REPLAY
                    ):
                        continue
                    verdict, whole = await self._terms.whole(originals, letter)
                    if verdict is not LetterVerdict.REPLAY:
                        continue
                    key, value, _, headers = whole.again()
                    letter_bytes = batch_bytes(key, value, headers)
                    if batch and (len(batch) >= min(self._at_once, BATCH_LETTERS) or size + letter_bytes > most):
                        yield batch
                        batch, size = [], 0
                    batch.append(whole)
                    size += letter_bytes
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
        """Write one transaction to its end even if cancelled (it has a deadline): half of one would be in doubt."""

        async def write() -> None:
            if batch:
                self._in_doubt = batch
            # Nobody reads from this offset; the metadata says which process wrote the transaction.
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
