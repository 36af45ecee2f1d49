"""A local broker and a simulated source of events, so that demo and tests need nothing installed."""
