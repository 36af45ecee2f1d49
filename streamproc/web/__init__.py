"""What every HTTP client here has in common: where a server is, how to log in, what never happens on the way."""
