"""What makes the demo and the tests independent of anything installed: a broker and a source of events."""
