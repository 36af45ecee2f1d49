"""Trying it out: a source of simulated events, a broker to keep, and both around the service with figures that add up.

Knows the application from outside: serves it as `streamproc run` would, and reads its topics as any consumer would.
"""
