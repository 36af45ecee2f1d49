"""The demo: a source of simulated events and a broker around the service, with figures that are checked at the end.

It uses the application from outside: it serves it like `streamproc run`, and reads its topics like any consumer.
"""
