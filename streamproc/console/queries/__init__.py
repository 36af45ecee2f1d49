"""Questions to the read model: each a function of a connection, which holds its snapshot no longer than that."""
