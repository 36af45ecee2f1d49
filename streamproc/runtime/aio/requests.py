"""How many requests this process has sent, by the name of their API in Kafka's documentation."""

from collections import Counter

NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    17: "SaslHandshake",
    18: "ApiVersions",
    19: "CreateTopics",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    32: "DescribeConfigs",
    36: "SaslAuthenticate",
}
OTHER = "other"

sent: Counter[str] = Counter()
"""By name; it only grows."""


def count(api_key: int) -> None:
    """Take note of a request."""
    sent[NAMES.get(api_key, OTHER)] += 1
