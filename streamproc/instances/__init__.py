"""What an instance says of itself, in run-instances: beside the pipeline and never in its way."""
