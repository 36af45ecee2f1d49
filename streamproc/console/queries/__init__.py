"""Queries of the read model: functions of a connection, whose snapshot lasts for one call only."""
