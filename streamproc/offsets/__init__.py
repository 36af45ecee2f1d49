"""The committed offsets of the service's inputs, looked at and moved by an operator, each with the state it needs."""
