"""Bytes to core values and back. Knows Avro and the framings; knows neither Kafka clients nor the rules about runs."""
