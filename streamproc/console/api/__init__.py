"""The HTTP API of the console: what may be asked, how it is answered, and its description by OpenAPI."""
