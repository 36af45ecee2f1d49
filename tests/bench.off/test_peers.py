"""What the peers are given to do is what the service does, or comparing them would tell nothing."""

from streamproc.codec.arrival import Arrival
from streamproc.local.simulate import simulate
from tests.bench.peers import lifecycle
from tests.support.fake_kafka import Entry
from tests.support.oracle import replay

MANY = 4_000


def test_the_job_of_the_peers_makes_the_transitions_of_the_service():
    stream = list(simulate(seed=1, events=MANY, bad_ratio=0, illegal_ratio=0.01, late_ratio=0.05))
    records: list[Arrival] = [
        Entry(offset, event.key, event.value, event.timestamp_ms, (), "committed")
        for offset, event in enumerate(stream)
    ]
    runs, found = {}, []
    for record in records:
        event = lifecycle.decode(record.value)
        place = ("run-events", 0, record.offset)
        run, transition = lifecycle.fold(runs.get(event["id"]), event, record.value, record.timestamp, place)
        if run is not None:
            assert lifecycle.unpack(lifecycle.pack(run)) == run
            runs[event["id"]] = run
        if transition is not None:
            found.append((transition["run_id"], transition["from_status"], transition["to_status"], record.offset))
    assert found == replay(records, stream[-1].timestamp_ms).transitions
