"""What the runtime reports, as metrics, probes and logs. The only importer of prometheus_client; decides nothing."""
