"""Shared by all HTTP clients and servers: settings of endpoints, sessions and log-ins, limits."""
