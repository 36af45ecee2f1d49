"""Secrets and certificates: read from files, read again once these have changed, never shown."""
