"""What holds of payloads wherever they are: in memory as they came, sealed, on disk."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from streamproc.core.payloads import IN_HAND, InMemory, Payloads
from streamproc.store.block import MAX_PAYLOADS
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails
from streamproc.store.jobs import Deleting, DiskJob, Recalling, Rewriting, Sealing, Storing
from streamproc.store.sqlite import scratch
from streamproc.store.tiers import Tiers
from tests.support.disks import FakeDisk

JOBS = (
    Sealing,
    Rewriting,
    lambda tiers: Storing(tiers, 30_000, 60_000),
    lambda tiers: Deleting(tiers, list(tiers.freed)),
)
payloads = st.binary(max_size=40) | st.integers(0, 9).map(lambda each: bytes([each]) * 20_000)


def done(job: DiskJob, disk) -> None:
    """Do a job at once."""
    job.work(lambda: disk)
    job.settle()


class Alike(RuleBasedStateMachine):
    """Every implementation does as a plain dict does; jobs are begun and settled anywhere in between."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.plain: dict[int, bytes] = {}
        self.tiers, self.disk = Tiers(), FakeDisk()
        self.under_way: DiskJob | None = None

    @rule(target=numbers, payload=payloads)
    def add(self, payload):
        number = self.tiers.add(payload)
        assert number > max(self.plain, default=IN_HAND)
        self.plain[number] = payload
        return number

    @rule(target=numbers, count=st.integers(1, 3 * MAX_PAYLOADS))
    def add_many(self, count):
        for each in range(count):
            self.plain[self.tiers.add(b"%d" % each)] = b"%d" % each
        return max(self.plain)

    @rule(number=consumes(numbers))
    def drop(self, number):
        if self.plain.pop(number, None) is not None:
            self.tiers.drop(number)

    @rule(seed=st.integers(0, 99))
    def drop_many(self, seed):
        for number in random.Random(seed).sample(sorted(self.plain), len(self.plain) * 3 // 4):
            del self.plain[number]
            self.tiers.drop(number)

    @rule(number=numbers, other=payloads)
    def compare(self, number, other):
        if number in self.plain:
            assert self.tiers.equals(number, self.plain[number])
            assert self.tiers.equals(number, other) == (other == self.plain[number])

    @rule(make=st.sampled_from(JOBS))
    def begin(self, make):
        self.settle()
        self.under_way = make(self.tiers)
        self.under_way.work(lambda: self.disk)

    @rule()
    def settle(self):
        if self.under_way is not None:
            self.under_way.settle()
            self.under_way = None

    @rule(seed=st.integers(0, 99))
    def read(self, seed):
        asked = random.Random(seed).sample(sorted(self.plain), min(len(self.plain), 50))
        self.settle()
        done(Recalling(self.tiers, asked), self.disk)
        assert self.tiers.read(asked) == {number: self.plain[number] for number in asked}

    @invariant()
    def is_accounted_for(self):
        tiers = self.tiers
        live = len(tiers.young) + sum(block.live for block in tiers.blocks.values())
        assert live == len(self.plain)
        assert tiers.loaded_bytes == sum(len(block.data) for block in tiers.loaded.values())
        assert all((block.data is None) == (each not in tiers.loaded) for each, block in tiers.blocks.items())

    def teardown(self):
        self.settle()
        for number in self.plain:
            self.tiers.drop(number)
        done(Deleting(self.tiers, list(self.tiers.freed)), self.disk)
        assert not self.disk.blocks, "what nobody wants is deleted"
        assert self.tiers.memory_bytes == 0


TestTiers = Alike.TestCase
TestTiers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("make", [InMemory, Tiers])
@given(st.lists(payloads, min_size=1, max_size=20), st.data())
def test_what_is_kept_is_given_back_until_it_is_dropped(make: Callable[[], Payloads], values, data) -> None:
    kept = make()
    numbers = [kept.add(value) for value in values]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > IN_HAND
    dropped = data.draw(st.sets(st.sampled_from(numbers)))
    for number in dropped:
        kept.drop(number)
    rest = {number: value for number, value in zip(numbers, values, strict=True) if number not in dropped}
    assert kept.read(rest) == rest
    assert all(kept.equals(number, value) for number, value in rest.items())


def test_it_is_the_same_in_a_file() -> None:
    """Sealed, stored, dropped in part, rewritten, read."""
    tiers, disk = Tiers(), scratch()
    values = {tiers.add(b"%d" % each * 200): b"%d" % each * 200 for each in range(2_000)}
    while tiers.young:
        done(Sealing(tiers), disk)
    done(Storing(tiers, 1 << 30, 1 << 30), disk)
    assert tiers.memory_bytes == 0
    assert disk.size > 0
    for number in [number for number in values if number % 5]:
        del values[number]
        tiers.drop(number)
    before = len(tiers.blocks)
    done(Rewriting(tiers), disk)
    assert len(tiers.blocks) < before
    done(Storing(tiers, 1 << 30, 1 << 30), disk)
    done(Recalling(tiers, values), disk)
    assert tiers.read(values) == values
    disk.close()
    assert not disk.path.exists()


def _stored(disk: FakeDisk) -> tuple[Tiers, int]:
    tiers = Tiers()
    number = tiers.add(b"payload")
    done(Sealing(tiers), disk)
    done(Storing(tiers, 1, 1_000), disk)
    return tiers, number


@pytest.mark.parametrize("harm", [FakeDisk.tear, FakeDisk.clear])
def test_what_was_torn_or_lost_is_found_out_when_it_is_read(harm) -> None:
    disk = FakeDisk()
    tiers, number = _stored(disk)
    harm(disk)
    with pytest.raises(StoreDamaged):
        Recalling(tiers, [number]).work(lambda: disk)
    assert tiers.equals(number, b"payload"), "that takes no reading"


def test_what_a_disk_refuses_stays_in_memory() -> None:
    disk, tiers = FakeDisk(), Tiers()
    disk.refuses = True
    number = tiers.add(b"payload")
    done(Sealing(tiers), disk)
    job = Storing(tiers, 1, 1_000)
    with pytest.raises(DiskFails):
        job.work(lambda: disk)
    done(Recalling(tiers, [number]), disk)
    assert tiers.read([number]) == {number: b"payload"}
