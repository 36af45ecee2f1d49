"""The command line: each module parses, calls and reports, and decides nothing else."""
