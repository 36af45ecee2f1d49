"""Secrets and certificates: read from files, read again when the files change, never shown."""
