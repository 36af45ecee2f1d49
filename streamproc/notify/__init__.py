"""Push: run alerts to Alertmanagers and to a webhook, from run-alerts, beside the pipeline and never in its way."""
