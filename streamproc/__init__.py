"""streamproc: run status events in, latest state and transitions out, exactly once."""
