"""The job on Faust (faust-streaming)."""

import os
import sys

import faust
from lifecycle import decode, encode, fold, headers, pack, unpack

bootstrap, events, transitions, compression, guarantee, directory = os.environ["PEER_JOB"].split()

app = faust.App(
    "peer",
    broker=f"kafka://{bootstrap}",
    datadir=directory,
    store="memory://",
    value_serializer="raw",
    key_serializer="raw",
    consumer_auto_offset_reset="earliest",
    processing_guarantee=guarantee,
    producer_compression_type=None if compression == "none" else compression,
    topic_partitions=int(os.environ["PEER_PARTITIONS"]),
    topic_replication_factor=1,
    topic_disable_leader=True,
    web_enabled=False,
)
source = app.topic(events, value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw")
sink = app.topic(transitions, value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw")
runs = app.Table("runs", key_type=bytes, value_type=bytes)


@app.agent(source)
async def work(stream):
    """Fold each event, and send what came of it."""
    async for record in stream.events():
        message = record.message
        event = decode(record.value)
        key = event["id"].encode()
        kept = runs.get(key)
        place = (message.topic, message.partition, message.offset)
        timestamp = round(message.timestamp * 1000)
        run, transition = fold(unpack(kept) if kept else None, event, record.value, timestamp, place)
        if run is not None:
            runs[key] = pack(run)
        if transition is not None:
            await sink.send(key=key, value=encode(transition), headers=headers(transition), partition=message.partition)


if __name__ == "__main__":
    sys.argv = ["faust_job", "worker", "-l", "warn"]
    app.main()
