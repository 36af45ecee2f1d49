"""What an instance may say of itself."""

from streamproc.codec.instances import Instance, Partition

REPORTED_AT = 1_717_200_000_000
INSTANCE = Instance(
    instance_id="host-7-abc",
    version="1.2.3",
    host="host",
    application_id="app",
    profile="assistants",
    started_at=REPORTED_AT - 60_000,
    reported_at=REPORTED_AT,
    interval_ms=5_000,
    status="paused",
    message="run-events partition 1 waiting: somebody has to look",
    ready=False,
    cpu_seconds=1.5,
    memory_bytes=128 << 20,
    partitions=[
        Partition(
            topic="run-events", partition=0, state="running", since=REPORTED_AT - 50_000, lag_records=0, lag_seconds=0.0
        ),
        Partition(
            topic="run-events",
            partition=1,
            state="running",
            reason="rejections",
            detail="somebody has to look",
            since=REPORTED_AT - 1_000,
            lag_records=7,
            lag_seconds=2.5,
            offset=41,
            last_commit_at=REPORTED_AT - 2_000,
        ),
        Partition(topic="run-events", partition=2, state="restoring", restore_remaining=10, restore_total=90),
    ],
)
