"""The read model: what the output topics say, in one SQLite file that is disposable."""
