"""What the words of the closed vocabularies mean. The code says which words there are: one without a meaning fails."""

from collections.abc import Iterable, Mapping

from tests.docs.reference.markdown import code, table

REASONS = {
    "bad_framing": "The value is neither JSON nor framed Avro.",
    "bad_run_id": "The run's id is missing, empty, too long, damaged, or neither a text nor a number.",
    "bad_status": "The same of the status.",
    "empty_value": "The record has no value.",
    "skipped": "An operator passed over it with `streamproc offsets skip`.",
    "too_complex": "It holds too many values.",
    "too_large": "It is larger than `kafka.max_record_bytes`.",
    "trailing_bytes": "There are more bytes behind the record.",
    "undecodable": "The bytes are not what their schema says, or no JSON.",
    "unfit_schema": "No record of this schema can be used: `streamproc schema check` says why.",
    "unknown_schema": "Neither streamproc nor a registry knows the schema; or JSON is not taken (`input.json`).",
    "unknown_status": "The profile does not have the status, and `input.unknown_statuses` is `reject`.",
}
FORMER_REASONS = {
    "bad_text": "A text was not valid; now it is taken, with the anomaly `text_damaged`.",
    "bad_time": "A time could not be read; now it is null, with the anomaly `time_unreadable`.",
}
ANOMALIES = {
    "future_timestamp": "The event's time is more than 5 minutes ahead of the clock: it is not believed.",
    "illegal": "The run had ended otherwise: verdict `illegal`, and an alert.",
    "key_absent": "The record has no key.",
    "key_mismatch": "The record's key is neither the run's id nor its thread's.",
    "metadata_over_limit": "There are more or longer metadata than APIs allow; they are kept as they came.",
    "name_over_limit": "A name, such as the model's, is longer than is taken: it is cut.",
    "old_timestamp": "The event's time is more than a day behind the clock.",
    "stale": "The event came too late to change the status: verdict `stale`.",
    "text_damaged": "A text holds what is no text: U+FFFD stands for it.",
    "time_unreadable": "A time is there and cannot be read: it is null.",
    "time_unset": "A time says by 0, or a negative number, that it is not set: it is null.",
    "timestamp_absent": "The Kafka timestamp is missing, or not in the years 2000 to 9999: the clock's is taken.",
    "tools_over_limit": "The run asks for more tools than are taken: the list is cut.",
    "two_partitions": "A run has events on two partitions: its producers key differently.",
    "unexpected_transition": "The profile accepts the change of status, but does not document it.",
    "unknown_status": "The profile does not have the status; it counts as active.",
    "value_unreadable": "Another value is there and cannot be read: it is null.",
}
VERDICTS = {
    "applied": "The state was written.",
    "duplicate": "The event told nothing new.",
    "stale": "The event came too late, or the life cycle has no such change.",
    "illegal": "The run had ended otherwise; there is an alert, too.",
}
VERDICT_REASONS = {
    "rewritten": ("applied", "Other content under the same status."),
    "completed": ("applied", "The run has ended; the event brought tokens or an error that were missing."),
    "repeated": ("duplicate", "The same object once more."),
    "no_news": ("duplicate", "The end was told again, with nothing that was missing."),
    "ended": ("stale", "The run has ended already."),
    "not_allowed": ("stale", "The life cycle has no such change of status."),
    "other_end": ("illegal", "The run has ended in another status."),
}
PAUSES = {
    "registry": "A schema id is not known, and a registry does not answer.",
    "rate": "There are more rejections of a cause in a minute than `dead_letters.max_per_minute`.",
    "rejections": "More of a minute's records were rejected than `dead_letters.stop_percent` allows.",
    "unreadable": "A batch of records cannot be read.",
    "output": "A partition of an output topic takes no records.",
    "state_full": "There is no room for payloads, in memory or on disk.",
    "denied": "A right in Kafka is lacking.",
}
CONNECTIONS = {
    "NoToken": "There is no token to log in with.",
    "LoginRefused": "The broker refuses the log in: user, password or token.",
    "MechanismOff": "The broker does not take `kafka.sasl_mechanism`.",
    "LoginNotTaken": "The port takes no log in: it is one without SASL.",
    "ClientCertificateExpired": "Our own certificate is past its end.",
    "ClientCertificateMissing": "The broker asks for a client certificate: set `kafka.ssl_certfile`.",
    "ClientCertificateRefused": "The broker does not accept our certificate.",
    "ServerCertificateExpired": "The broker's certificate is past its end.",
    "ServerCertificateUntrusted": "The broker's certificate is of no trusted authority: set `kafka.ssl_cafile`.",
    "HostNameMismatch": "The broker's certificate is of another host.",
    "TlsWanted": "The port asks for TLS: set `kafka.security_protocol`.",
    "NoTls": "The port does not speak TLS.",
    "TlsFails": "There is no version or cipher of TLS that both sides have.",
    "LoginWanted": "The port asks for a log in: set `kafka.security_protocol`.",
    "NotABroker": "What answers is no Kafka, or not for clients.",
    "NameUnresolved": "The host name cannot be resolved.",
    "HungUp": "The broker hangs up: it is stopping, or its log says why.",
    "Silent": "There is no answer: the broker hangs, or a firewall is between.",
    "NothingListens": "Nothing listens on the port.",
    "OutOfReach": "The network does not lead there.",
}
PUSHES = {
    "delivered": "The receiver took it.",
    "failed": "There was no answer, or one such as 503: it is tried again.",
    "refused": "The receiver will never take it: it is passed over.",
    "dropped": "It was given up: too old, or there were too many.",
}
REGISTRY = {
    "found": "The registry has it.",
    "not_found": "The registry says that there is none.",
    "failed": "There was no answer, or a refusal.",
}
TASKS = {
    "created": "The partition is assigned.",
    "fenced": "Whoever had the partition before can commit nothing more.",
    "restoring": "The state is read back.",
    "running": "Events are processed, or the partition is paused.",
    "suspended": "A transaction failed, or the partition was taken away: the state is kept for a while.",
    "closed": "The partition is somebody else's; such tasks are not counted.",
}
DROPPED = {
    "late": "It came after `windows.retention_s`.",
    "old": "It came a day or more after that.",
}
TOPICS = {
    "events": ("what producers write, one event a record", "run id or thread id"),
    "state": ("`RunState`, or a tombstone: the run is forgotten", "run id"),
    "transitions": ("`RunTransition`", "run id"),
    "verdicts": ("`RunVerdict`", "run id"),
    "dead_letters": ("the record as it came, with headers that say why", "as it came"),
    "measurements": ("sums of one commit; internal", "none"),
    "windows": ("state of a window; internal", "the window, or a condition on it"),
    "metrics": ("`RunMetrics`", '`["assistant_id","model"]`'),
    "alerts": ("`RunAlert`", "run id, else alert id"),
    "instances": ("`RunInstance`, or a tombstone: the instance stopped", "instance id"),
}


def listed(head: str, words: Iterable[str], meanings: Mapping[str, str]) -> str:
    """Return a table of words, in the code's order; all of them, and no other, must have a meaning."""
    known = [str(word) for word in words]
    same(known, meanings)
    return table((head, ""), [(code(word), meanings[word]) for word in known])


def same(words: Iterable[str], meanings: Iterable[str]) -> None:
    """Fail where there is a word without a meaning, or a meaning without a word."""
    odd = {*words} ^ {*meanings}
    assert not odd, f"tests/docs/reference/meanings.py and the code do not agree on {', '.join(sorted(odd))}"
