"""The tables and their version. Raise the version with each change: files of another version are rebuilt."""

from collections.abc import Iterator, Sequence

VERSION = 2

RUNS = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL,
    status TEXT NOT NULL,
    since INTEGER NOT NULL,
    assistant TEXT,
    model TEXT,
    thread TEXT,
    error TEXT,
    ends_first INTEGER,
    illegal INTEGER NOT NULL,
    place INTEGER NOT NULL,
    packed BLOB NOT NULL
    {metadata}
)
"""
"""`ends_first`: when the run's first limit is over; `place`: the offset of its state; `packed`: a Run without event."""

# Few, because each takes a tenth of the time for writing. They end in `since`, which gives the order of the lists.
INDICES = (
    "CREATE INDEX runs_since ON runs (since)",
    "CREATE INDEX runs_status ON runs (status, since)",
    "CREATE INDEX runs_assistant ON runs (assistant, since) WHERE assistant IS NOT NULL",
    "CREATE INDEX runs_model ON runs (model, since) WHERE model IS NOT NULL",
    "CREATE INDEX runs_thread ON runs (thread, since) WHERE thread IS NOT NULL",
    "CREATE INDEX runs_error ON runs (error, since) WHERE error IS NOT NULL",
    "CREATE INDEX runs_ends_first ON runs (ends_first) WHERE ends_first IS NOT NULL",
    "CREATE INDEX runs_illegal ON runs (since) WHERE illegal",
)

OTHERS = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # The next offset of each partition, and a checksum of the record before it, which detects a topic made anew.
    """CREATE TABLE positions (
        topic TEXT, partition INTEGER, next INTEGER NOT NULL, last INTEGER, print INTEGER,
        PRIMARY KEY (topic, partition)
    ) WITHOUT ROWID""",
    # The topics that were read, where the broker gives ids: a topic made anew has another id.
    "CREATE TABLE topics (topic TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID",
    # How many runs have a value. Updated by differences, because COUNT and DISTINCT would look at every run.
    "CREATE TABLE facets (name TEXT, value TEXT, runs INTEGER NOT NULL, PRIMARY KEY (name, value)) WITHOUT ROWID",
    # The key is the place of the record, so that rows are appended; `kind`: entries.StepKind.
    """CREATE TABLE steps (
        kind INTEGER, partition INTEGER, offset INTEGER, run_id TEXT, at INTEGER NOT NULL, recorded INTEGER NOT NULL,
        packed BLOB NOT NULL,
        PRIMARY KEY (kind, partition, offset)
    ) WITHOUT ROWID""",
    "CREATE INDEX steps_run ON steps (run_id, at) WHERE run_id IS NOT NULL",
    # What happened in each 10 s of event time.
    """CREATE TABLE rates (
        start INTEGER PRIMARY KEY, transitions INTEGER NOT NULL, created INTEGER NOT NULL, succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL, ended INTEGER NOT NULL
    )""",
    """CREATE TABLE alerts (
        alert_id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, run_id TEXT, assistant TEXT,
        decided INTEGER NOT NULL, ends INTEGER, fired INTEGER, resolved INTEGER, packed BLOB NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX alerts_decided ON alerts (decided)",
    "CREATE INDEX alerts_firing ON alerts (decided) WHERE state = 'firing'",
    "CREATE INDEX alerts_run ON alerts (run_id) WHERE run_id IS NOT NULL",
    """CREATE TABLE letters (
        partition INTEGER, offset INTEGER, written INTEGER NOT NULL, reason TEXT NOT NULL, schema TEXT NOT NULL,
        topic TEXT NOT NULL, source INTEGER NOT NULL, run_id TEXT, replayed INTEGER, packed BLOB NOT NULL,
        PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID""",
    "CREATE INDEX letters_written ON letters (written, partition, offset)",
    "CREATE INDEX letters_run ON letters (run_id) WHERE run_id IS NOT NULL",
    """CREATE TABLE letter_groups (
        reason TEXT, schema TEXT, topic TEXT, source INTEGER, letters INTEGER NOT NULL, open INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (reason, schema, topic, source)
    ) WITHOUT ROWID""",
    """CREATE TABLE windows (
        size INTEGER, assistant TEXT, model TEXT, start INTEGER, revision INTEGER NOT NULL, packed BLOB NOT NULL,
        PRIMARY KEY (size, assistant, model, start)
    ) WITHOUT ROWID""",
    "CREATE INDEX windows_start ON windows (start)",
    "CREATE TABLE sums (size INTEGER, start INTEGER, packed BLOB NOT NULL, PRIMARY KEY (size, start)) WITHOUT ROWID",
    "CREATE TABLE instances (instance_id TEXT PRIMARY KEY, packed BLOB NOT NULL, before BLOB) WITHOUT ROWID",
)


def metadata_column(number: int) -> str:
    """Return the name of the column of a metadata key, by its number in the setting."""
    return f"meta{number}"


def statements(index_metadata: Sequence[str]) -> Iterator[str]:
    """Yield the SQL statements that make an empty read model."""
    columns = [metadata_column(number) for number in range(len(index_metadata))]
    yield RUNS.format(metadata="".join(f", {column} TEXT" for column in columns))
    yield from INDICES
    yield from (
        f"CREATE INDEX runs_{column} ON runs ({column}, since) WHERE {column} IS NOT NULL" for column in columns
    )
    yield from OTHERS
