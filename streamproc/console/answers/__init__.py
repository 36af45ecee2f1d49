"""The answers of the API, which the pages show."""
