"""Where payloads are once they have left the runs' view: in memory, compressed, and beyond that on disk."""
