"""The job on Quix Streams."""

import os
import sys

from lifecycle import decode, encode, fold, headers, pack, unpack
from quixstreams import Application
from quixstreams.context import message_context

bootstrap, events, transitions, compression, guarantee, directory = sys.argv[1:]

# Their defaults, the commit interval of 5 s among them, unless the environment says otherwise.
options = {"commit_interval": float(os.environ["COMMIT_S"])} if "COMMIT_S" in os.environ else {}
app = Application(
    broker_address=bootstrap,
    consumer_group="peer",
    auto_offset_reset="earliest",
    processing_guarantee=guarantee,
    state_dir=directory,
    auto_create_topics=True,
    producer_extra_config={} if compression == "none" else {"compression.type": compression},
    **options,
)
source = app.topic(events, value_deserializer="bytes", key_deserializer="bytes")
sink = app.topic(transitions, value_serializer="bytes", key_serializer="bytes")


def work(value, key, timestamp, _headers, state):
    """Fold one event; return the transition, or None."""
    context = message_context()
    event = decode(value)
    kept = state.get_bytes(event["id"])
    place = (context.topic, context.partition, context.offset)
    run, transition = fold(unpack(kept) if kept else None, event, value, timestamp, place)
    if run is not None:
        state.set_bytes(event["id"], pack(run))
    return transition


stream = app.dataframe(source).apply(work, stateful=True, metadata=True)
stream = stream.filter(lambda transition: transition is not None)
stream = stream.set_headers(lambda transition, *_: headers(transition))
# The key stays the event's, by which it keeps states as well.
stream.apply(encode).to_topic(sink)

app.run()
