"""The job on Bytewax; run by `python -m bytewax.run bytewax_job -r directory`."""

import os

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from confluent_kafka import OFFSET_BEGINNING
from lifecycle import decode, encode, fold, headers

bootstrap, events, transitions, compression, _guarantee, _directory = os.environ["PEER_JOB"].split()


def keyed(message):
    """Return the run's id and what is folded."""
    event = decode(message.value)
    place = (message.topic, message.partition, message.offset)
    return event["id"], (event, message.value, message.timestamp[1], place)


def work(run, item):
    """Fold one event; return the run, and the transition or None."""
    event, value, timestamp, place = item
    after, transition = fold(run, event, value, timestamp, place)
    return (run if after is None else after), transition


def written(pair):
    """Return the record of a transition."""
    run_id, transition = pair
    return KafkaSinkMessage(key=run_id.encode(), value=encode(transition), headers=headers(transition))


flow = Dataflow("peer")
source = KafkaSource([bootstrap], [events], starting_offset=OFFSET_BEGINNING)
extra = {} if compression == "none" else {"compression.type": compression}
records = op.input("events", flow, source)
changes = op.stateful_map("fold", op.map("key", records, keyed), work)
there = op.filter("changed", changes, lambda pair: pair[1] is not None)
op.output("transitions", op.map("encode", there, written), KafkaSink([bootstrap], transitions, add_config=extra))
