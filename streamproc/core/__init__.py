"""The rules about runs. Pure: no Kafka, Avro, clock, logger or async in here."""
