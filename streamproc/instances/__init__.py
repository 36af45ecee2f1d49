"""The reports of an instance about itself in run-instances: beside the pipeline and never in its way."""
