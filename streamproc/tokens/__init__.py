"""Tokens that log in to Kafka: from a token endpoint, a file, or AWS; kept fresh for the whole process."""
