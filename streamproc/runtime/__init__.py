"""Partition tasks, transactions and the consumer group. The only importer of aiokafka (in `aio`)."""
