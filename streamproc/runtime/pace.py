"""How many records are decoded and folded in one go: as many as let heartbeats in on time. Pure."""

LEAST, MOST = 100, 2_000
MAX_S = 0.04
"""Of the event loop in one go, as far as the records before tell."""


class Pace:
    """Of one partition. Read natively, a record of Avro costs a tenth of one of JSON: it begins low and finds out."""

    def __init__(self) -> None:
        self.records = LEAST

    def took(self, records: int, seconds: float) -> None:
        """Take note of how long so many records took."""
        if seconds > MAX_S:
            self.records = max(LEAST, self.records // 2)
        elif records >= self.records and 2 * seconds < MAX_S:
            self.records = min(MOST, 2 * self.records)
